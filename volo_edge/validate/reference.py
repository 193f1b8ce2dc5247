"""The float model's own answers, which everything else is held against."""

from __future__ import annotations

import numpy as np
import torch

from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing, normalize
from volo_edge.validate.metrics import Logits


def float_logits(model: VOLO, images: Logits, preprocessing: Preprocessing) -> Logits:
    """Logits (B, num_classes) of `images`, float32 (B, C, H, W) in 0..255."""
    with torch.inference_mode():
        return np.asarray(model(normalize(torch.from_numpy(images), preprocessing)))
