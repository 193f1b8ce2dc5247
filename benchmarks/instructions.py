"""ARM64 instructions of every XNNPACK scheme on every processor, beside this machine's milliseconds.

    python benchmarks/instructions.py volo_cifar10 volo_d1_224 --output docs/results/instructions

Converts each model (see `conversion.py`; few photographs, because instructions do not depend on the weights) and has
`volo-edge inspect --profile --runtime arm64` count. What was counted is kept in OUTPUT.json, so that an interrupted run
goes on where it stopped; the tables are written to OUTPUT.md. About a minute of processor time for each scheme and
processor of VOLO-D1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.conversion import COMMAND, convert, write_weights
from volo_edge.converters.executorch.arm64.processors import USUAL
from volo_edge.quantize.schemes import SCHEMES

XNNPACK = tuple(name for name, scheme in SCHEMES.items() if "xnnpack" in scheme.backends)


def main() -> None:
    """Count what was not yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--schemes", nargs="*", default=XNNPACK)
    parser.add_argument("--processors", nargs="*", default=USUAL)
    parser.add_argument("--output", type=Path, default=Path("instructions"))
    args = parser.parse_args()
    kept = args.output.with_suffix(".json")
    found: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    for model in args.models:
        for scheme in args.schemes:
            known = found.setdefault(model, {}).get(scheme, {"parts": [{"instructions": {}}]})
            missing = [name for name in args.processors if name not in known["parts"][0]["instructions"]]
            if missing:
                found[model][scheme] = _together(known, _counted(model, scheme, missing))
                kept.write_text(json.dumps(found, indent=1) + "\n")
    args.output.with_suffix(".md").write_text("\n".join(table(name, schemes) for name, schemes in found.items()))


def _counted(model: str, scheme: str, processors: list[str]) -> dict[str, Any]:
    """What `inspect --json` says of the profile, one thread."""
    print(f"{model} {scheme}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as place:
        weights, artifact = Path(place) / "weights.safetensors", Path(place) / "artifact"
        write_weights(model, weights)
        convert(model, scheme, weights, artifact, photographs=8)
        asked = [COMMAND, "inspect", str(artifact), "--profile", "--threads", "1", "--json", "--runtime", "arm64"]
        ended = subprocess.run([*asked, "--arm64-cpu", ",".join(processors)], stdout=subprocess.PIPE, check=True)
    profile: dict[str, Any] = json.loads(ended.stdout)["profile"]
    return profile


def _together(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more`, with what was `known` of other processors."""
    for part, earlier in zip(more["parts"], known["parts"], strict=False):
        part["instructions"] = earlier["instructions"] | part["instructions"]
    more["instructions"] = known.get("instructions", {}) | more["instructions"]
    return more


def table(model: str, schemes: dict[str, Any]) -> str:
    """Millions of instructions by scheme, then each scheme's by kind of part on each processor, in Markdown."""
    processors = list(next(iter(schemes.values()))["parts"][0]["instructions"])
    lines = [
        f"### {model}",
        "",
        f"| scheme | x86-64 ms | {' | '.join(processors)} |",
        f"|---|{'---:|' * (1 + len(processors))}",
    ]
    for scheme, profile in schemes.items():
        totals = (f"{1e-6 * _total(profile, name):.1f}" for name in processors)
        lines.append(f"| {scheme} | {profile['milliseconds']:.2f} | {' | '.join(totals)} |")
    kinds = list(dict.fromkeys(part["kind"] for profile in schemes.values() for part in profile["parts"]))
    lines += ["", f"| scheme | processor | {' | '.join(kinds)} |", f"|---|---|{'---:|' * len(kinds)}"]
    for scheme, profile in schemes.items():
        for name in processors:
            counts = dict.fromkeys(kinds, 0.0)
            for part in profile["parts"]:
                counts[part["kind"]] += 1e-6 * part["count"] * part["instructions"][name]
            lines.append(f"| {scheme} | {name} | {' | '.join(f'{count:.1f}' for count in counts.values())} |")
    return "\n".join([*lines, ""])


def _total(profile: dict[str, Any], processor: str) -> int:
    """Of the file where it was counted whole, else of its parts together."""
    together = sum(part["count"] * part["instructions"][processor] for part in profile["parts"])
    return int(profile["instructions"].get(processor, together))


if __name__ == "__main__":
    main()
