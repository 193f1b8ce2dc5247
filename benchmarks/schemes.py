"""Converts a model with every scheme, as it is and rewritten to be hard to quantize, and judges each saved file.

    python benchmarks/schemes.py --data PHOTOGRAPHS --output docs/results/schemes

The model is the demo's. Its twin computes the same function with channels that are up to 64 times larger or smaller
than each other (`tests/twin.py`). Each is converted by the installed command, calibrated on `--calibration` (the demo's
photographs where it is not given), and the saved file is run on every photograph of `--data`, a folder of class
folders, in ExecuTorch, in Core ML on a Mac, and in the evaluator of Core ML packages elsewhere. What was measured is
kept in OUTPUT.json, so that an interrupted run goes on where it stopped; the table is written to OUTPUT.md.
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

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from tests.twin import make_twin
from volo_edge import artifact, calibration, checkpoint
from volo_edge.calibration.images import find_images, stream
from volo_edge.converters.targets import TARGETS
from volo_edge.preprocess import Preprocessing
from volo_edge.quantize.schemes import SCHEMES
from volo_edge.validate import metrics
from volo_edge.validate.reference import float_logits

COLUMNS = (
    "scheme",
    "file",
    "MB",
    "top-1 %",
    "drop",
    "agrees %",
    "SNR dB",
    "twin: drop",
    "twin: agrees %",
    "twin: SNR dB",
)


def main() -> None:
    """Convert and judge what was not yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=calibration.DEMO_VALIDATION)
    parser.add_argument("--calibration", type=Path, default=calibration.DEMO_CALIBRATION)
    parser.add_argument("--schemes", nargs="*", default=list(SCHEMES))
    parser.add_argument("--output", type=Path, default=Path("schemes"))
    args = parser.parse_args()

    loaded = checkpoint.load()
    preprocessing = Preprocessing.from_crop(loaded.model.architecture.image_size, loaded.variant.crop_pct)
    images = find_images(args.data, need_classes=True)
    batches = list(track(stream(images, preprocessing, 100), "reading", total=-(-len(images) // 100)))
    inputs = np.concatenate([batch.inputs for batch in batches])
    labels = np.array(images.labels)
    reference = np.concatenate([float_logits(loaded.model, batch.inputs, preprocessing) for batch in batches])
    path = args.output.with_suffix(".json")
    found: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    float_top1 = float((reference.argmax(1) == labels).mean())

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "twin.safetensors")
        make_twin(loaded.model)
        save_file({name: tensor.contiguous() for name, tensor in loaded.model.state_dict().items()}, weights)
        for scheme in args.schemes:
            for target in ("executorch", "coreml"):
                if not set(TARGETS[target].backends[:1]) & set(SCHEMES[scheme].backends):
                    continue
                for twin in (False, True):
                    name = f"{target} {scheme}{' twin' if twin else ''}"
                    if name in found:
                        continue
                    output = Path(folder, "artifact")
                    command = [Path(sys.executable).with_name("volo-edge"), "convert", "--force", "--output", output]
                    command += ["--target", target, "--quantize", scheme, "--calibration", args.calibration]
                    command += ["--model", loaded.variant.name, "--weights", weights] if twin else []
                    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
                    found[name] = judge(output, inputs, labels, reference, name)
                    result = {"photographs": len(images), "float_top1": float_top1, "results": found}
                    path.write_text(json.dumps(result, indent=2) + "\n")
                    print(name, found[name], flush=True)
    table = markdown(found)
    args.output.with_suffix(".md").write_text(table)
    print(table)


def judge(
    folder: Path, inputs: NDArray[np.float32], labels: NDArray[np.int64], reference: metrics.Logits, name: str
) -> dict[str, Any]:
    """The saved file of an artifact on all `inputs` (N, 3, H, W)."""
    read = artifact.read(folder)
    runner = TARGETS[read.manifest.target].module("run").load(read.model_path)
    parts = np.array_split(inputs, max(1, len(inputs) // 50))
    logits = np.concatenate([runner.run(part) for part in track(parts, name)])
    right, float_right = (answers.argmax(1) == labels for answers in (logits, reference))
    return {
        "bytes": read.manifest.files["model"].bytes,
        "delegate_calls": read.manifest.graph.delegate_calls,
        "undelegated_ops": len(read.manifest.graph.undelegated_ops),
        "runtime": runner.runtime,
        "top1": float(right.mean()),
        "drop_points": 100 * float(float_right.mean() - right.mean()),
        "agreement": metrics.top1_agreement(logits, reference),
        "snr_db": metrics.snr_db(logits, reference),
    }


def markdown(found: dict[str, Any]) -> str:
    """The results as a table."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    for name, one in found.items():
        if name.endswith(" twin"):
            continue
        target, scheme = name.split()
        other = found.get(f"{name} twin")
        cells = [scheme, TARGETS[target].file, f"{one['bytes'] / 1e6:.2f}", f"{100 * one['top1']:.2f}"]
        for which in (one, other):
            cells += (
                [f"{which['drop_points']:+.2f}", f"{100 * which['agreement']:.2f}", f"{which['snr_db']:.1f}"]
                if which
                else ["", "", ""]
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
