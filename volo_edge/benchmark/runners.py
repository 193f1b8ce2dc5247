"""What is timed: how each contender is made ready, in a process of its own (`worker`).

A peer gets the float model as published, unfold and fold included, and photographs that are normalized already; an
artifact's file normalizes itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from converters.runner import Array
from converters.targets import TARGETS
from volo_edge import artifact, checkpoint
from volo_edge.model import VOLO
from volo_edge.preprocess import normalize

Run = Callable[[Array], Array]  # one image (1, 3, H, W) to logits (1, classes)


def of_artifact(folder: Path, threads: int) -> Run:
    """The artifact's file in its runtime."""
    found = artifact.read(folder)
    if found.manifest.target == "executorch":
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        _unsafe_reset_threadpool(threads)
    run: Run = TARGETS[found.manifest.target].module("run").load(found.model_path).run
    return run


def of_peer(name: str, folder: Path, weights: str | None, threads: int, images: Array, work: Path) -> Run:
    """One of `request.PEERS` with the float model that the artifact in `folder` was made from.

    Args:
        images: (N, 3, H, W), 0..255, for those that are quantized with photographs.
        work: an empty folder.
    """
    manifest = artifact.read(folder).manifest
    loaded = checkpoint.load(weights, manifest.model.name, manifest.model.image_size)
    normalized = normalize(images, manifest.preprocessing).astype(np.float32)
    run = _PEERS[name](loaded.model, normalized, threads, work)
    return lambda image: run(normalize(image, manifest.preprocessing).astype(np.float32))


def _eager(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    def run(image: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(image)))

    return run


def _compiled(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    compiled: Any = torch.compile(model)

    def run(image: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(compiled(torch.from_numpy(image)))

    return run


def _onnx(model: VOLO, images: Array, work: Path) -> Path:
    path = work / "model.onnx"
    logging.disable(logging.WARNING)
    torch.onnx.export(
        model, (torch.from_numpy(images[:1]),), path, input_names=["image"], dynamo=True, external_data=False
    )
    return path


def _onnxruntime(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    return _onnx_session(_onnx(model, images, work), threads)


def _onnxruntime_int8(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    from onnxruntime.quantization import quantize_dynamic

    # convolutions in its dynamic integers have no kernel on the CPU
    quantize_dynamic(_onnx(model, images, work), work / "int8.onnx", op_types_to_quantize=["MatMul", "Gemm"])
    return _onnx_session(work / "int8.onnx", threads)


def _onnx_session(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: np.asarray(session.run(None, {"image": image})[0])


def _openvino(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    return _openvino_compiled(_openvino_model(model, images), threads)


def _openvino_int8(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    import nncf

    quantized = nncf.quantize(
        _openvino_model(model, images),
        nncf.Dataset([image[None] for image in images]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(images),
    )
    return _openvino_compiled(quantized, threads)


def _openvino_model(model: VOLO, images: Array) -> Any:
    import openvino

    return openvino.convert_model(model, example_input=torch.from_numpy(images[:1]), input=[images[:1].shape])


def _openvino_compiled(model: Any, threads: int) -> Run:
    import openvino

    # its own default on some processors is bfloat16, which is another answer
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda image: np.asarray(compiled([image])[0])


_PEERS: dict[str, Callable[[VOLO, Array, int, Path], Run]] = {
    "eager": _eager,
    "compile": _compiled,
    "onnxruntime": _onnxruntime,
    "onnxruntime-int8": _onnxruntime_int8,
    "openvino": _openvino,
    "openvino-int8": _openvino_int8,
}


def products(kind: str, threads: int, work: Path) -> Run:
    """`PRODUCTS` large matrix products through XNNPACK, in single precision ("fp32") or as in `int8-dynamic` ("int8").

    They take (1, 1, `ROOFLINE`, `ROOFLINE`), one after the other so that the copy of that counts for little, and are
    the machine's roof: how many operations a second a model could do that did nothing else.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    linears = [torch.nn.Linear(ROOFLINE, ROOFLINE, bias=False) for _ in range(PRODUCTS)]
    model = torch.nn.Sequential(*linears).eval().requires_grad_(False)
    if kind == "int8":
        from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, quantize_

        quantize_(model, Int8DynamicActivationIntxWeightConfig(torch.int8, PerAxis(0)))
    rows = torch.zeros(1, ROOFLINE, ROOFLINE)
    program = to_edge_transform_and_lower(torch.export.export(model, (rows,)), partitioner=[XnnpackPartitioner()])
    path = work / "products.pte"
    with path.open("wb") as file:
        program.to_executorch().write_to_file(file)
    _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    return lambda image: np.asarray(method.execute([torch.from_numpy(image[0])])[0])


ROOFLINE, PRODUCTS = 1024, 8
