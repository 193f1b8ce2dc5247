"""Artifacts with a fault in their file: the scales of one layer doubled in the saved bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from volo_edge import artifact, checkpoint, files
from volo_edge.converters.coreml.evaluator.package import read_package
from volo_edge.converters.executorch import program
from volo_edge.converters.targets import TARGETS
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.quantize.transforms import ROBUST


def double_scales(good: Path, layers: tuple[str, ...], output: Path) -> Path:
    """A copy of the demo artifact `good` whose quantized `layers`, by name, compute with twice their weights."""
    shutil.copytree(good, output)
    for layer in layers:
        _double(output, layer)
    return output


def _double(output: Path, layer: str) -> None:
    found = artifact.read(output)
    m = found.manifest
    edge = decompose(checkpoint.load().model, m.preprocessing, LAYOUTS[m.backend], ROBUST)
    weight = edge.get_submodule(layer).weight.numpy()
    stored = TARGETS[m.target].module("program").read_weights(found.model_path)
    (place,) = [
        index
        for index, one in enumerate(stored)
        if one.weight.shape == weight.shape
        and (one.weight * weight).sum() > 0.9 * np.linalg.norm(one.weight) * np.linalg.norm(weight)
    ]
    scales = list((_of_program if m.target == "executorch" else _of_package)(found.model_path))[place]
    model = output / m.files["model"].path
    inside = [path for path in (model.rglob("*") if model.is_dir() else [model]) if path.is_file()]
    holders = [path for path in inside if scales.tobytes() in path.read_bytes()]
    (holder,) = holders
    content = holder.read_bytes()
    assert content.count(scales.tobytes()) == 1
    holder.write_bytes(content.replace(scales.tobytes(), (2 * scales).tobytes()))
    manifest = json.loads((output / files.MANIFEST).read_text())
    manifest["files"]["model"]["sha256"] = files.sha256(model)
    (output / files.MANIFEST).write_text(json.dumps(manifest))


def _of_program(path: Path) -> Iterator[Any]:
    """The scales of each layer of a .pte, None where it has none."""
    forward = program.read_forward(path)
    named = {item["key"]: item["segment_index"] for item in forward.tables["named_data"]}
    sizes = {key: forward.tables["segments"][index]["size"] for key, index in named.items()}
    graph = program._xnnpack_graph(forward.payload(0), sizes)
    values = program._values(graph)
    for node in graph["xnodes"]:
        if node["xnode_union_type"] in program._LAYERS:
            index = values[node["xnode_union"]["filter_id"]].get("quant_params", {}).get("scale_buffer_idx")
            key = graph["constant_data"][index]["named_key"] if index else None
            yield np.frombuffer(forward.segment(named[key]), "<f4") if key else None


def _of_package(path: Path) -> Iterator[Any]:
    """The scales of each layer of an .mlpackage, None where it has none."""
    package = read_package(path)
    made_by = {output.name: operator for operator in package.operators for output in operator.outputs}
    for operator in package.operators:
        if operator.kind in ("conv", "conv_transpose", "linear"):
            weight = made_by.get(operator.arguments["weight"][0])
            scale = weight.arguments.get("scale") if weight is not None else None
            yield package.constants[scale[0]] if scale else None
