"""Writes an exported edge VOLO as a Core ML package: an ML program with an image input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch.export import ExportedProgram

from converters.targets import Choice


def lower(program: ExportedProgram, choice: Choice, path: Path) -> dict[str, str]:
    """Write `program` to the folder `path`; nothing stays outside a Core ML program, so the answer is {}.

    The input `image` is RGB of the model's size, the output `logits` (1, num_classes).
    """
    import coremltools as ct

    import converters.coreml.dequantize  # noqa: F401 registers how torchao's weights are read

    (images,), _ = program.example_inputs
    model = ct.convert(
        program.run_decompositions({}),  # coremltools takes ATen, torch exports its training dialect
        convert_to="mlprogram",
        inputs=[ct.ImageType("image", shape=tuple(images.shape), color_layout=ct.colorlayout.RGB)],
        outputs=[ct.TensorType("logits", dtype=np.float32)],
        compute_precision=getattr(ct.precision, choice.scheme.compute.upper()),
        minimum_deployment_target=getattr(ct.target, f"iOS{choice.minimum_ios}"),
        skip_model_load=True,
    )
    model.save(str(path))
    for file in path.rglob("*"):  # coremltools leaves them readable to their owner only
        file.chmod(0o755 if file.is_dir() else 0o644)
    path.chmod(0o755)
    return {}
