"""The float model's own answers, which everything else is held against."""

from __future__ import annotations

import numpy as np
import torch

from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing, normalize
from volo_edge.validate.metrics import Logits


def float_logits(model: VOLO, images: Logits, preprocessing: Preprocessing) -> Logits:
    """Logits (B, num_classes) of `images`, float32 (B, C, H, W) in 0..255; RequestError where they are no numbers."""
    with torch.inference_mode():
        return finite(np.asarray(model(normalize(torch.from_numpy(images), preprocessing))))


def finite(logits: Logits) -> Logits:
    """The float model's `logits`; RequestError where they are no numbers, against which nothing can be held."""
    if not np.isfinite(logits).all():
        raise RequestError("the float model's answers are no numbers: see its weights, and --mean and --std")
    return logits
