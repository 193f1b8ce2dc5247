"""What is timed: how each contender is made ready, in a process of its own (`worker`).

A peer gets the float model as published, unfold and fold included, and photographs that are normalized already; an
artifact's file normalizes itself. What has no fold that works gets it as a transposed convolution (`_folded`).
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram

from volo_edge import artifact, checkpoint, machine
from volo_edge.converters.runner import Array
from volo_edge.converters.targets import TARGETS
from volo_edge.model import VOLO
from volo_edge.preprocess import normalize

Run = Callable[[Array], Array]  # one image (1, C, H, W) to logits (1, classes)


def of_artifact(folder: Path, threads: int) -> tuple[Run, int]:
    """The artifact's file in its runtime, and the process's peak memory before it was loaded, the runtime's code in."""
    found = artifact.read(folder)
    runtime = TARGETS[found.manifest.target].module("run")
    if found.manifest.target == "executorch":
        runtime.set_threads(threads)
    before = machine.peak_memory()
    return runtime.load(found.model_path).run, before


def of_peer(name: str, folder: Path, weights: str | None, threads: int, images: Array, work: Path) -> Run:
    """One of `request.PEERS` with the float model that the artifact in `folder` was made from.

    Args:
        images: (N, C, H, W), 0..255, for those that are quantized with photographs.
        work: an empty folder.
    """
    manifest = artifact.read(folder).manifest
    loaded = checkpoint.again(weights, manifest)
    normalized = normalize(images, manifest.preprocessing).astype(np.float32)
    run = _PEERS[name](loaded.model, normalized, threads, work)
    return lambda image: run(normalize(image, manifest.preprocessing).astype(np.float32))


def _eager(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    def run(image: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(image)))

    return run


def _compiled(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    # of a fold, torch 2.13 writes code that runs over its buffer with two threads (pytorch/pytorch#191837)
    compiled: Any = torch.compile(_folded(model, images).module())

    def run(image: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(compiled(torch.from_numpy(image)))

    return run


def _folded(model: VOLO, images: Array) -> ExportedProgram:
    """The model with its folds as `_fold`."""
    program: ExportedProgram = torch.export.export(model, (torch.from_numpy(images[:1]),))
    folded: ExportedProgram = program.run_decompositions({torch.ops.aten.col2im.default: _fold})
    return folded


def _fold(
    columns: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """torch's fold as a transposed convolution, whose kernels put each tap of a window in its place.

    Args:
        columns: (B, C * taps, windows).
        size: (height, width) of the result (B, C, height, width).
        kernel, dilation, padding, stride: of the windows, (rows, columns). As in VOLO, dilation is 1 and the stride at
            most the padding and 1, so that windows reach every row and column.
    """
    height, width = size
    taps = kernel[0] * kernel[1]
    grid = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, stride, strict=True)]
    each = torch.arange(taps)
    places = (each[:, None] == each).to(columns.dtype)  # LiteRT has no `eye`
    folded = F.conv_transpose2d(columns.reshape(-1, taps, *grid), places.reshape(taps, 1, *kernel), stride=stride)
    folded = folded[..., padding[0] : padding[0] + height, padding[1] : padding[1] + width]
    return folded.reshape(len(columns), -1, height, width)


def _onnx(model: VOLO | ExportedProgram, images: Array, work: Path) -> Path:
    path = work / "model.onnx"
    logging.disable(logging.WARNING)
    torch.onnx.export(
        model,
        (torch.from_numpy(images[:1]),),
        path,
        input_names=["image"],
        output_names=["logits"],
        dynamo=True,
        external_data=False,
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


def _litert(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    return _litert_interpreter(_litert_file(model, images, work), threads)


def _litert_int8(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    from ai_edge_quantizer import quantizer, recipe

    quantizing = quantizer.Quantizer(_litert_file(model, images, work), recipe.dynamic_wi8_afp32())
    quantizing.quantize(serialize_to_path=work / "int8.tflite")
    return _litert_interpreter(work / "int8.tflite", threads)


def _litert_file(model: VOLO, images: Array, work: Path) -> Path:
    import litert_torch

    # torch's own decomposition of a fold scatters, with an addition that LiteRT converts and then refuses
    program = litert_torch.convert(_folded(model, images).module(), (torch.from_numpy(images[:1]),))
    program.export(str(work / "model.tflite"))
    return work / "model.tflite"


def _litert_interpreter(path: Path, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: Array) -> Array:
        interpreter.set_tensor(given["index"], image)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(found["index"]))

    return run


def _mnn(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    return _mnn_module(model, images, threads, work)


def _mnn_int8(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    # weights alone: on x86, with activations quantized as well (its low memory mode), it is slower than in floats
    return _mnn_module(model, images, threads, work, "--weightQuantBits", "8")


def _mnn_module(model: VOLO, images: Array, threads: int, work: Path, *options: str) -> Run:
    # MNN's converter itself: its command installs a package with pip, to send statistics
    import _tools
    from MNN import expr, nn

    # MNN has no fold, and of the scatter that is torch's decomposition of it, it leaves out the addition
    source, path = str(_onnx(_folded(model, images), images, work)), str(work / "model.mnn")
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", path, *options])
    runtime = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    module = nn.load_module_from_file(path, ["image"], ["logits"], runtime_manager=runtime)

    def run(image: Array) -> Array:
        given = expr.const(image, image.shape, expr.data_format.NCHW, expr.dtype.float)
        return np.array(module.forward([given])[0].read())

    return run


def _ncnn(model: VOLO, images: Array, threads: int, work: Path) -> Run:
    import ncnn
    import pnnx

    trace: Any = torch.jit.trace  # untyped
    trace(model, torch.from_numpy(images[:1]), check_trace=False).save(work / "model.pt")
    subprocess.run([pnnx.EXEC_PATH, "model.pt", "fp16=0"], cwd=work, check=True)
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_packing_layout = False  # with it, VOLO takes eight times as long
    # its own default on some processors is half precision, which is another answer
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(work / "model.ncnn.param")) or net.load_model(str(work / "model.ncnn.bin")):
        raise RuntimeError("ncnn cannot load what pnnx made of VOLO")

    def run(image: Array) -> Array:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image[0]))  # it knows no batch
        return np.array(extractor.extract("out0")[1])[None]

    return run


_PEERS: dict[str, Callable[[VOLO, Array, int, Path], Run]] = {
    "eager": _eager,
    "compile": _compiled,
    "onnxruntime": _onnxruntime,
    "onnxruntime-int8": _onnxruntime_int8,
    "openvino": _openvino,
    "openvino-int8": _openvino_int8,
    "litert": _litert,
    "litert-int8": _litert_int8,
    "mnn": _mnn,
    "mnn-int8": _mnn_int8,
    "ncnn": _ncnn,
}


def products(kind: str, threads: int, work: Path) -> Run:
    """`PRODUCTS` large matrix products through XNNPACK, in single precision ("fp32") or as in `int8-dynamic` ("int8").

    They take (1, 1, `ROOFLINE`, `ROOFLINE`), one after the other so that the copy of that counts for little, and are
    the machine's roof: how many operations a second a model could do that did nothing else.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    from volo_edge.converters.executorch.run import set_threads

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
    set_threads(threads)
    method = Runtime.get().load_program(str(path)).load_method("forward")
    return lambda image: np.asarray(method.execute([torch.from_numpy(image[0])])[0])


ROOFLINE, PRODUCTS = 1024, 8
