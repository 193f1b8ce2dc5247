"""Models trained in other ways, from checkpoint to logits, held against timm's own transforms and model."""

from __future__ import annotations

import hashlib
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.exactness import logits_of
from tests.make_timm_oracles import CASES, PHOTOGRAPHS, USUAL, VOLO, photograph
from tests.weights import named_weights
from volo_edge import checkpoint, model
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.preprocess import normalize, prepare, to_input
from volo_edge.trained import ModelRequest
from volo_edge.validate.metrics import relative_error
from volo_edge.variants import Architecture

ORACLES = json.loads((Path(__file__).parent / "data" / "timm_trained.json").read_text())["cases"]


def saved(path: Path, said: dict[str, Any]) -> Path:
    """The checkpoint that timm's training script would save of such a model; only the arguments say how it is."""
    sizes: dict[str, Any] = {name: tuple(value) if isinstance(value, tuple) else value for name, value in VOLO.items()}
    architecture = Architecture(
        **sizes,
        mlp_ratios=(3.0, 3.0, 3.0),
        image_size=tuple(said["img_size"]),
        in_chans=said["in_chans"],
        aux_head=said["use_aux_head"],
    )
    arguments = Namespace(
        gp=said["global_pool"],
        num_heads=VOLO["num_heads"],
        **{name: said[name] for name in ("mean", "std", "crop_pct", "crop_mode", "interpolation")},
    )
    torch.save({"state_dict": named_weights(model.VOLO(architecture)).state_dict(), "args": arguments}, path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_checkpoint_to_logits(tmp_path: Path, case: str) -> None:
    said, oracle = USUAL | CASES[case], ORACLES[case]
    loaded = checkpoint.load(ModelRequest(str(saved(tmp_path / "weights.pth", said))))
    pixels = [prepare(Image.fromarray(photograph(size)), loaded.preprocessing) for size in PHOTOGRAPHS]
    assert [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels] == oracle["pixels"]

    images = torch.from_numpy(to_input(pixels))
    expected = np.array(oracle["logits"], np.float32)
    found = logits_of(loaded.model, normalize(images, loaded.preprocessing)).numpy()
    assert relative_error(found, expected) < 1e-5
    for layout in LAYOUTS.values():
        edge = decompose(loaded.model, loaded.preprocessing, layout)
        assert relative_error(logits_of(edge, images).numpy(), expected) < 1e-5


def test_every_case_differs_from_the_usual() -> None:
    answers = [json.dumps(oracle["logits"]) for oracle in ORACLES.values()]
    assert len(set(answers)) == len(answers)
