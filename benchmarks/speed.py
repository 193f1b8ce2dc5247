"""The speed that is aimed at, measured from scratch: files, conversion and the command line. `make benchmark` runs it.

    python benchmarks/speed.py [volo_d1_224] [--output docs/results/speed.json]

Converts the model (see `conversion.py`) to single precision and to the 8-bit schemes, times the files with `volo-edge
benchmark` beside every other runtime that is installed (`pip install 'volo-edge[bench,litert]'` for all), lowers the
model that was not decomposed with ExecuTorch's own recipe, and times the commands that a person waits for. Prints a
table of ratios, each of one run on one machine, with what they should be at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.conversion import COMMAND, convert, memory, write_weights
from benchmarks.stock import lowered
from tests.weights import named_weights
from volo_edge.benchmark.measure import paired
from volo_edge.benchmark.request import PEERS
from volo_edge.model import VOLO
from volo_edge.variants import VARIANTS

INT8 = ("int8-dynamic", "int8-hybrid", "int8-static")
ROUNDS = ("--rounds", "15", "--runs", "5")  # short turns: a round is over before the machine's speed changes
QUICK = (("--help",), ("models",), ("schemes",), ("convert", "--target", "corel"))


def waited(arguments: tuple[str, ...]) -> float:
    """Seconds that a command takes, the median of five."""
    times = []
    for _ in range(5):
        start = time.monotonic()
        subprocess.run([COMMAND, *arguments], capture_output=True, check=False)
        times.append(time.monotonic() - start)
    return median(times)


def main() -> None:
    """Measure all of it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="volo_d1_224")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        weights = folder / "weights.safetensors"
        write_weights(args.model, weights)
        schemes = ("fp32", *INT8)
        artifacts = [folder / scheme for scheme in schemes]
        for scheme, output in zip(schemes, artifacts, strict=True):
            made, said = convert(args.model, scheme, weights, output)
            found[f"{scheme}_lowering_seconds"] = said["lowering_seconds"]
            found[f"{scheme}_peak"] = memory(made)
        # only now: on Linux a process's peak, as a child reports it, is at least that of the one that started it
        model = named_weights(VOLO(VARIANTS[args.model].architecture))
        found["stock_lowering_seconds"] = lowered(model.requires_grad_(False), folder / "stock.pte")[0]
        del model
        asked = [COMMAND, "benchmark", *map(str, artifacts), "--weights", str(weights), "--json", *ROUNDS]
        installed = [name for name, peer in PEERS.items() if not peer.missing]
        asked += ["--against", ",".join(installed), "--output", str(folder / "benchmark")]
        found |= json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)["benchmark"]
    found["commands"] = {" ".join(arguments): waited(arguments) for arguments in QUICK}
    if args.output:
        args.output.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """Ratios, and what they should be at most, in Markdown."""
    turns = {one["name"]: one["turns"] for one in found["timed"]}
    int8 = min(INT8, key=lambda name: paired(turns[name], turns["fp32"]))
    rows = [
        ("fp32 / OpenVINO fp32", ratio(turns, "fp32", "openvino"), 0.75),
        (f"{int8} / OpenVINO NNCF int8", ratio(turns, int8, "openvino-int8"), 0.60),
        ("fp32 / ONNX Runtime fp32", ratio(turns, "fp32", "onnxruntime"), 0.65),
        ("fp32 / eager", ratio(turns, "fp32", "eager"), 0.30),
        ("lowering / stock lowering", found["fp32_lowering_seconds"] / found["stock_lowering_seconds"], 0.50),
        ("peak memory of convert / float weights", found["fp32_peak"], 5.0),
        ("slowest of the quick commands, s", max(found["commands"].values()), 0.50),
    ]
    lines = ["| contender | ms | spread | error |", "|---|---:|---:|---:|"]
    for one in found["timed"]:
        spread = f"{min(one['turns']):.1f} to {max(one['turns']):.1f}"
        lines.append(f"| {one['name']} | {one['milliseconds']:.1f} | {spread} | {one['relative_error']:.0e} |")
    lines += [f"| {name} | | refused: {why} | |" for name, why in found["refused"].items()]
    lines += ["", "| ratio | measured | at most |", "|---|---:|---:|"]
    lines += [f"| {what} | {'' if value is None else f'{value:.2f}'} | {most:.2f} |" for what, value, most in rows]
    return "\n".join(lines)


def ratio(turns: dict[str, list[float]], ours: str, theirs: str) -> float | None:
    """Of two contenders; None where the peer did not run."""
    return paired(turns[ours], turns[theirs]) if theirs in turns else None


if __name__ == "__main__":
    main()
