"""Writes an exported edge VOLO as a Core ML package: an ML program with an image input, and a classifier's outputs.

coremltools 9.0 makes classifiers of one output only. The logits stay beside the classes because the program is given
its probabilities, and its classes, after it is converted. A single label is no class among others: its package is no
classifier and has its probability as a number.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from torch.export import ExportedProgram

from volo_edge.activation import Activation
from volo_edge.converters.card import Card
from volo_edge.converters.coreml.canonical import make_canonical
from volo_edge.converters.targets import Choice

PROBABILITIES = "probabilities"
HALF = "_cast_fp16"  # what coremltools adds to the name of an operator that it makes compute in half precision


def lower(
    program: ExportedProgram, choice: Choice, path: Path, card: Card | None = None, single: Collection[str] = ()
) -> dict[str, str]:
    """Write `program` to the folder `path`; nothing stays outside a Core ML program, so the answer is {}.

    The input `image` is RGB, or grey, of the model's size, 0..255: normalization is in the weights. The output
    `logits` is (1, num_classes) in single precision. With a `card`, the package is a classifier that Vision and Xcode's
    preview take, with the outputs `classLabel` and `classLabel_probs` besides; of one label, it has `probabilities`
    (1, 1).

    Args:
        card: what the package says of itself; None for the logits alone.
        single: names of operators, as in a saved package, that compute in single precision where others do in half.
    """
    import coremltools as ct

    import volo_edge.converters.coreml.torch_ops  # noqa: F401 registers what coremltools does not know

    (images,), _ = program.example_inputs
    target = getattr(ct.target, f"iOS{choice.minimum_ios}")
    colours = ct.colorlayout.GRAYSCALE if images.shape[1] == 1 else ct.colorlayout.RGB
    precision = ct.precision.FLOAT32
    if choice.scheme.compute == "float16":
        names = {name.removesuffix(HALF) for name in single}
        precision = ct.transform.FP16ComputePrecision(
            lambda operator: names.isdisjoint(output.name for output in operator.outputs)
        )
    converted = ct.convert(
        program.run_decompositions({}),  # coremltools takes ATen, torch exports its training dialect
        convert_to="milinternal",
        inputs=[ct.ImageType("image", shape=tuple(images.shape), color_layout=colours)],
        outputs=[ct.TensorType("logits", dtype=np.float32)],
        compute_precision=precision,
        minimum_deployment_target=target,
    )
    classifier = None
    if card is not None:
        _add_probabilities(converted, card.activation)
        if len(card.labels) > 1:
            classifier = ct.ClassifierConfig(list(card.labels), predicted_probabilities_output=PROBABILITIES)
    model = ct.convert(
        converted,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,  # what was to be half is
        pass_pipeline=ct.PassPipeline.EMPTY,
        minimum_deployment_target=target,
        classifier_config=classifier,
        skip_model_load=True,
    )
    if card is not None:
        _describe(model, card)
    model.save(str(path))
    make_canonical(path)
    _share(path)
    return {}


def _share(path: Path) -> None:
    """Let everyone read the package: coremltools leaves it readable to its owner only."""
    for inner in (path, *path.rglob("*")):
        inner.chmod(0o755 if inner.is_dir() else 0o644)


def _add_probabilities(program: Any, activation: Activation) -> None:
    """A second output: the logits' softmax or sigmoid, in single precision as they are."""
    from coremltools.converters.mil import Builder

    main = program.functions["main"]
    (logits,) = main.outputs
    with main:
        probabilities = (
            Builder.softmax(x=logits, axis=-1, name=PROBABILITIES)
            if activation == "softmax"
            else Builder.sigmoid(x=logits, name=PROBABILITIES)
        )
    main._essential_scope_sources.clear()  # no line of torch made this operator, nor the classifier's
    main.set_outputs([logits, probabilities])
    main.set_output_types(None)  # those of one output


def _describe(model: Any, card: Card) -> None:
    """What Xcode shows of the package."""
    model.short_description = card.summary
    model.author, model.license, model.version = card.author, card.license, card.version
    model.user_defined_metadata.update(card.facts)
    model.input_description["image"] = "a photograph, upright, resized and cropped as the metadata's preprocessing says"
    for name, text in _outputs(card).items():
        model.output_description[name] = text


def _outputs(card: Card) -> dict[str, str]:
    """What each output is, by name."""
    if len(card.labels) == 1:
        return {
            "logits": f"the score of {card.labels[0]!r}, any number",
            PROBABILITIES: f"the probability of {card.labels[0]!r}, 0 to 1: the sigmoid of the logit",
        }
    if card.activation == "sigmoid":
        return {
            "logits": "scores of the labels, in the order of labels.txt",
            "classLabel": "the likeliest of the labels, even where none is likely: they are independent",
            "classLabel_probs": "the probability of each label, 0 to 1, of its own: they do not add up to 1",
        }
    return {
        "logits": "scores of the classes, in the order of labels.txt",
        "classLabel": "the likeliest class",
        "classLabel_probs": "the probability of each class",
    }
