"""Writes `data/timm_trained.json`: what timm makes of photographs and models that were trained in other ways.

`python -m tests.make_timm_oracles > tests/data/timm_trained.json`, where timm, torchvision and a Pillow before 13 are
installed (which resizes columns first, whatever the shape). No test needs them. Photographs and weights are rebuilt
from seeds and names, so only answers are stored: the SHA-256 of the pixels (H, W, C) that timm's evaluation transform
makes, and the logits of timm's model for them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.weights import fill

VOLO = {"layers": (1, 1, 1), "embed_dims": (24, 48, 48), "num_heads": (2, 4, 4), "stem_hidden_dim": 8, "num_classes": 5}

# The model's own arguments, and what is configured for its photographs; the rest is the usual.
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "mean of the tokens": {"global_pool": "avg"},
    "mean of the tokens, no auxiliary head": {"global_pool": "avg", "use_aux_head": False},
    "mean and deviation 0.5": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "bilinear": {"interpolation": "bilinear"},
    "squash": {"crop_mode": "squash"},
    "squash, bilinear, smaller crop": {"crop_mode": "squash", "interpolation": "bilinear", "crop_pct": 0.875},
    "larger crop": {"crop_pct": 1.15},
    "grey": {"in_chans": 1, "mean": [0.45], "std": [0.23]},
    "grey, bilinear": {"in_chans": 1, "mean": [0.45], "std": [0.23], "interpolation": "bilinear"},
    "oblong": {"img_size": [64, 96]},
    "oblong, upright": {"img_size": [96, 64], "crop_pct": 0.9},
    "oblong, bilinear": {"img_size": [64, 96], "interpolation": "bilinear"},
    "oblong, squash": {"img_size": [64, 96], "crop_mode": "squash"},
}
PHOTOGRAPHS = ((90, 120), (131, 77), (64, 64), (40, 33), (300, 211), (260, 90), (207, 2))
USUAL = {
    "img_size": [64, 64],
    "in_chans": 3,
    "global_pool": "token",
    "use_aux_head": True,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "crop_pct": 0.96,
    "crop_mode": "center",
    "interpolation": "bicubic",
}


def photograph(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Noise of several scales, (H, W, 3)."""
    generator = np.random.RandomState(size[0])
    coarse = generator.randint(0, 128, (-(-size[0] // 16), -(-size[1] // 16), 3)).repeat(16, 0).repeat(16, 1)
    return (coarse[: size[0], : size[1]] + generator.randint(0, 128, (*size, 3))).astype(np.uint8)


def answers(case: dict[str, Any]) -> dict[str, Any]:
    """What timm makes of the photographs in one case."""
    import timm.data  # type: ignore[import-not-found]
    import timm.models.volo  # type: ignore[import-not-found]

    said = USUAL | case
    own = {name: said[name] for name in ("in_chans", "global_pool", "use_aux_head")}
    model = timm.models.volo.VOLO(**VOLO, **own, img_size=tuple(said["img_size"])).eval()
    state = {
        name: torch.from_numpy(fill(name, tuple(tensor.shape))) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    options = {name: said[name] for name in ("crop_pct", "crop_mode", "interpolation", "mean", "std")}
    size = (said["in_chans"], *said["img_size"])
    tensors, hashes = [], []
    for photo in map(photograph, PHOTOGRAPHS):
        image = Image.fromarray(photo).convert("RGB" if said["in_chans"] == 3 else "L")
        levels = timm.data.create_transform(size, is_training=False, normalize=False, **options)(image)
        hashes.append(hashlib.sha256(levels.permute(1, 2, 0).contiguous().numpy().tobytes()).hexdigest())
        tensors.append(timm.data.create_transform(size, is_training=False, **options)(image))
    with torch.no_grad():
        logits = model(torch.stack(tensors))
    return {"pixels": hashes, "logits": [[float(f"{v:.7g}") for v in row] for row in logits.tolist()]}


def main() -> None:
    import timm

    made = {
        "timm": timm.__version__,
        "pillow": PIL.__version__,
        "cases": {name: answers(case) for name, case in CASES.items()},
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main()
