"""Converts every published VOLO and measures it: parity of the saved file, seconds, peak memory, size.

    python benchmarks/variants.py --target executorch --output docs/results/variants-executorch.json

Each is converted as `conversion.py` says. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.conversion import convert, memory, write_weights
from volo_edge.variants import VARIANTS

COLUMNS = (
    "model",
    "scheme",
    "MB",
    "delegate calls",
    "outside",
    "relative error",
    "SNR dB",
    "top-1 agrees",
    "s",
    "peak MB",
    "peak / weights",
)


def measure(name: str, target: str, scheme: str, folder: Path) -> dict[str, object]:
    """The figures of one conversion."""
    weights = folder / f"{name}.safetensors"
    write_weights(name, weights)
    made, said = convert(name, scheme, weights, folder / name, target)
    weights.unlink()
    manifest = said["manifest"]
    return made | {
        "target": target,
        "graph": {key: manifest["graph"][key] for key in ("delegate_calls", "undelegated_ops")},
        "parity": manifest["parity"],
        "lowering_seconds": said["lowering_seconds"],
    }


def row(result: dict) -> str:
    """One line of the Markdown table."""
    parity, graph = result["parity"][0], result["graph"]
    ran = parity["passed"] is not None
    cells = (
        result["model"],
        result["scheme"],
        f"{result['file_bytes'] / 1e6:.1f}",
        "" if graph["delegate_calls"] is None else graph["delegate_calls"],
        len(graph["undelegated_ops"]),
        f"{parity['relative_error']:.1e}" if ran else "not run",
        f"{parity['snr_db']:.0f}" if ran else "",
        f"{parity['top1_agreement']:.0%} of {parity['images']}" if ran else "",
        f"{result['seconds']:.0f}",
        f"{result['peak_bytes'] / 1e6:.0f}",
        f"{memory(result):.1f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure the models named on the command line, all published ones otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=[name for name, v in VARIANTS.items() if v.checkpoint])
    parser.add_argument("--target", default="executorch")
    parser.add_argument("--quantize", nargs="+", default=["fp32"])
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    results = []
    for name, scheme in itertools.product(args.models, args.quantize):
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(name, args.target, scheme, Path(folder)))
        print(row(results[-1]), flush=True)
        if args.output:
            machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
            args.output.parent.mkdir(parents=True, exist_ok=True)
            args.output.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
