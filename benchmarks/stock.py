"""What the stock tools do with a VOLO that was not decomposed: the reason this project exists, measured.

    python benchmarks/stock.py volo_d1_224

Lowers the float reference, unfold and fold included, with ExecuTorch's own XNNPACK recipe and loads the result, and
converts it with coremltools; prints what each does. Weights are noise, filled by name.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from tests.weights import named_weights
from volo_edge.model import VOLO
from volo_edge.variants import VARIANTS


def lowered(model: VOLO, path: Path) -> tuple[float, int]:
    """Seconds that ExecuTorch's own recipe takes to write the model to `path`, and the delegate calls it makes."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    images = torch.zeros(1, 3, *model.architecture.image_size)
    program = torch.export.export(model, (images,), strict=False)
    start = time.monotonic()
    made = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    path.write_bytes(made.buffer)
    calls = sum("delegate" in str(node.target) for node in made.exported_program().graph.nodes)
    return time.monotonic() - start, calls


def executorch(model: VOLO, images: torch.Tensor, path: Path) -> str:
    """How the stock ExecuTorch path ends."""
    from executorch.runtime import Runtime

    seconds, calls = lowered(model, path)
    ended = f"lowers in {seconds:.0f} s into {calls} delegate calls; "
    try:
        Runtime.get().load_program(str(path)).load_method("forward").execute([images])
    except RuntimeError as error:
        return ended + f"fails when it runs: {error}"
    return ended + "runs"


def coreml(model: VOLO, images: torch.Tensor) -> str:
    """How the stock Core ML path ends."""
    import coremltools as ct

    program = torch.export.export(model, (images,), strict=False).run_decompositions({})
    try:
        ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    except Exception as error:  # whatever it says is the answer
        return f"refused: {str(error).strip().splitlines()[-1]}"
    return "converts"


def main() -> None:
    """Try the model named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="volo_d1_224")
    name = parser.parse_args().model
    model = named_weights(VOLO(VARIANTS[name].architecture)).requires_grad_(False)
    images = torch.zeros(1, 3, *VARIANTS[name].architecture.image_size)
    with tempfile.TemporaryDirectory() as folder:
        answers = {
            "ExecuTorch": executorch(model, images, Path(folder, "model.pte")),
            "coremltools": coreml(model, images),
        }
    for tool, answer in answers.items():
        print(f"{name}  {tool}: {answer}")


if __name__ == "__main__":
    main()
