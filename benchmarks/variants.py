"""Converts every published VOLO and measures it: parity of the saved file, seconds, peak memory, size.

    python benchmarks/variants.py --target executorch --output docs/results/variants-executorch.json

Published weights are not needed for these figures: each tensor is filled from its own name with unit-gain noise (as
the tests' oracles are), which leaves shapes, operators, time and rounding as they are. The photographs are real. Each
conversion runs the installed command in a process of its own. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from safetensors.torch import save_file

import calibration
from tests.weights import named_weights
from volo_edge.model import VOLO
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
    model = named_weights(VOLO(VARIANTS[name].architecture))
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, weights)
    weight_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    del model
    output = folder / name
    command = [str(Path(sys.executable).with_name("volo-edge")), "convert", "--json", "--model", name]
    command += ["--weights", str(weights), "--target", target, "--quantize", scheme, "--output", str(output)]
    command += ["--calibration", str(calibration.DEMO_CALIBRATION)]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    weights.unlink()
    if status:
        raise SystemExit(f"{name}: volo-edge ended with {os.waitstatus_to_exitcode(status)}")
    result = json.loads(printed)
    manifest = result["manifest"]
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "model": name,
        "target": target,
        "scheme": scheme,
        "parameters": manifest["model"]["parameters"],
        "file_bytes": manifest["files"]["model"]["bytes"],
        "graph": {key: manifest["graph"][key] for key in ("delegate_calls", "undelegated_ops", "macs")},
        "parity": manifest["parity"],
        "seconds": seconds,
        "lowering_seconds": result["lowering_seconds"],
        "peak_bytes": peak,
        "weight_bytes": weight_bytes,
    }


def row(result: dict) -> str:
    """One line of the Markdown table."""
    parity, graph = result["parity"], result["graph"]
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
        f"{result['peak_bytes'] / result['weight_bytes']:.1f}",
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
