"""Writes an edge VOLO as a Core ML package: an ML program with an image input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from converters.targets import Choice
from volo_edge.decompose import CHANNELS_FIRST, EdgeVOLO

LAYOUT = CHANNELS_FIRST


def lower(edge: EdgeVOLO, choice: Choice, path: Path) -> dict[str, str]:
    """Write `edge` to the folder `path`; nothing stays outside a Core ML program, so the answer is {}.

    The input `image` is RGB of the model's size, the output `logits` (1, num_classes).
    """
    import coremltools as ct

    height, width = edge.architecture.image_size
    program = torch.export.export(edge, (torch.zeros(1, 3, height, width),), strict=False)
    model = ct.convert(
        program.run_decompositions({}),  # coremltools takes ATen, torch exports its training dialect
        convert_to="mlprogram",
        inputs=[ct.ImageType("image", shape=(1, 3, height, width), color_layout=ct.colorlayout.RGB)],
        outputs=[ct.TensorType("logits", dtype=np.float32)],
        compute_precision=ct.precision.FLOAT16 if choice.scheme.name == "fp16" else ct.precision.FLOAT32,
        minimum_deployment_target=getattr(ct.target, f"iOS{choice.minimum_ios}"),
        skip_model_load=True,
    )
    model.save(str(path))
    for file in path.rglob("*"):  # coremltools leaves them readable to their owner only
        file.chmod(0o755 if file.is_dir() else 0o644)
    path.chmod(0o755)
    return {}
