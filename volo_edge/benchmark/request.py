"""What `volo-edge benchmark` is asked for on this machine, and all that can be refused before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from volo_edge import outputs
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.request import check_weights

REPORT, PLOT = "benchmark.json", "benchmark.svg"
KIND = outputs.Kind("benchmark", REPORT, ("timed", "refused", "roofs"), lambda _: (PLOT,))


@dataclass(frozen=True)
class Peer:
    """Another runtime that executes VOLO.

    Args:
        name: what `--against` takes.
        summary: what it runs.
        packages: modules it needs.
        extra: of volo-edge, which has them.
    """

    name: str
    summary: str
    packages: tuple[str, ...] = ()
    extra: str = "bench"

    @property
    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("eager", "PyTorch, operator by operator, with its own unfold and fold"),
        Peer("compile", "torch.compile, inductor"),
        Peer("onnxruntime", "ONNX Runtime, single precision", ("onnxruntime", "onnxscript")),
        Peer("onnxruntime-int8", "ONNX Runtime, its dynamic quantization", ("onnxruntime", "onnxscript")),
        Peer("openvino", "OpenVINO, single precision", ("openvino",)),
        Peer("openvino-int8", "OpenVINO, NNCF's post-training quantization for transformers", ("openvino", "nncf")),
        Peer("litert", "LiteRT, single precision", ("litert_torch",), "litert"),
        Peer("litert-int8", "LiteRT, its dynamic quantization", ("litert_torch",), "litert"),
        Peer("mnn", "MNN, single precision", ("MNN", "onnxscript")),
        Peer("mnn-int8", "MNN, weights in 8 bits", ("MNN", "onnxscript")),
        Peer("ncnn", "ncnn, single precision", ("ncnn", "pnnx")),
    )
}


@dataclass(frozen=True)
class Request:
    """A comparison; None stands for a default.

    Args:
        artifacts: folders that `convert` wrote; the first is what the others' times are divided by.
        against: names of `PEERS`.
        weights: checkpoint of the float model; None for the demo's. For peers only.
        threads: of every runtime; None for the machine's cores.
        rounds: how often each has its turn.
        runs: how often the model runs in a turn.
        output: the folder to write.
        force: whether to replace an earlier result.
    """

    artifacts: tuple[Path, ...]
    against: tuple[str, ...] = ()
    weights: str | None = None
    threads: int | None = None
    rounds: int = 9
    runs: int = 7
    output: Path = Path("benchmark")
    force: bool = False

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        return *self.artifacts, self.weights


def check(request: Request) -> None:
    """RequestError for what is wrong with the request and can be seen from it alone."""
    for name in request.against:
        if name not in PEERS:
            raise RequestError(f"nothing to compare with is called '{name}': {did_you_mean(name, list(PEERS))}")
        if missing := PEERS[name].missing:
            extra = f"pip install 'volo-edge[{PEERS[name].extra}]'"
            raise RequestError(f"--against {name} needs {missing[0]}, which is not installed: {extra}")
    names = [path.resolve().name for path in request.artifacts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"two artifacts are called '{twice[0]}', by which the table tells them apart: rename one")
    for option, value in (("threads", request.threads), ("rounds", request.rounds), ("runs", request.runs)):
        if value is not None and value < 1:
            raise RequestError(f"--{option} {value}: take at least 1")
    check_weights(request.weights, "the checkpoint that the artifacts were made from")
    outputs.check(request.output, KIND, request.force, request.inputs)
