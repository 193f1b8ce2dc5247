"""Writes an exported edge VOLO as a Core AI asset: pixels in, logits out, the rest of what an app needs as metadata.

The converter of coreai-torch 0.4.3 makes no image inputs and no classifiers: normalization is in the weights, labels
and preprocessing are in the metadata.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from volo_edge.converters.card import Card
from volo_edge.converters.coreai import mlir
from volo_edge.converters.coreai.operators import rewritten, stored_types
from volo_edge.converters.coreai.program import Reader
from volo_edge.converters.targets import Choice

LABELS = "volo_edge.labels"  # of the metadata


def lower(program: ExportedProgram, choice: Choice, path: Path, card: Card | None = None) -> dict[str, str]:
    """Write `program` to the folder `path`; nothing stays outside a Core AI program, so the answer is {}.

    The input `image` is RGB, or grey, (1, C, H, W) of the model's size, 0..255, in single precision; the output
    `logits` is (1, num_classes) in single precision. With a `card`, the metadata says what both are.
    """
    from coreai_torch import TorchConverter
    from coreai_torch.debugging.debug_info import strip_debug_info

    made = rewritten(program, choice.scheme.compute == "float16")
    stored = stored_types(made)
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(made, input_names=["image"], output_names=["logits"])
    converted = converter.to_coreai()
    strip_debug_info(converted)  # which has paths of this machine in it
    mlir.name_by_place(mlir.module(converted))
    asset = converted.save_asset(path)
    asset.update_metadata(lambda metadata: _describe(metadata, card))
    _sort(path / "metadata.json")
    _require_stored(path, stored)
    return {}


def _describe(metadata: Any, card: Card | None) -> None:
    """What the asset says of itself, in place; not when it was made, so that the same program has the same bytes."""
    metadata.creation_date = None
    if card is None:
        return
    metadata.author, metadata.license, metadata.model_description = card.author, card.license, card.summary
    for key, value in (card.facts | {"volo_edge.version": card.version}).items():
        metadata.set_custom(key, value)
    metadata.set_custom(LABELS, list(card.labels))


def _sort(path: Path) -> None:
    """Write a JSON object with its keys in order: the runtime writes them as they come."""
    text = json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _require_stored(path: Path, stored: Counter[str]) -> None:
    """RuntimeError where the layers of the saved file hold their weights as anything but what is `stored`."""
    types = [layer.weight_dtype for layer in Reader(path).program().layers]
    found = Counter(dtype for dtype in types if not dtype.startswith("fp"))
    if found != stored:
        raise RuntimeError(f"coreai-torch was given weights of {dict(stored)} and wrote {dict(found)}")
