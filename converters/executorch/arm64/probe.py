"""Whether a qemu computes a processor rightly, seen by what it makes of a small program whose answer is known.

qemu 7.2 computes products of the scalable matrix extension wrongly, and no error says so: logits come out as garbage. A
list of bad versions would have gaps. So every processor is tried before it is trusted, and what came of it is kept.
`probe.pte` holds the kinds of layers that kernels differ for; `probe.json` what they make of two images by the
quantized program's definition, in torch; `probe_model` made both.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge import files
from volo_edge.converters.executorch.arm64 import build, cache, instructions, qemu
from volo_edge.converters.executorch.arm64.processors import Processor
from volo_edge.converters.runner import RuntimeMissing

PROGRAM = Path(__file__).with_name("probe.pte")
ANSWERS = Path(__file__).with_name("probe.json")
IMAGE = (3, 16, 16)
TOLERANCE = 2e-2  # kernels round activations to 8 bits, not all alike: 1.7e-3 was seen of good ones, 0.27 of bad ones
_SECONDS = 300  # it takes 2 on an idle machine


@dataclass(frozen=True)
class Result:
    """What a qemu made of the probe.

    Args:
        error: relative, in the 2-norm; None where it did not run.
        products: that were computed, by `instructions.PRODUCTS`.
        why: one line on why the processor is not to be trusted; "" where it is.
    """

    error: float | None
    products: tuple[str, ...]
    why: str


def images() -> NDArray[np.float32]:
    """The two images (2, 3, 16, 16) of the probe, of noise in -1..1."""
    return np.random.RandomState(0).uniform(-1, 1, (2, *IMAGE)).astype(np.float32)


def emulated(
    processor: Processor, found: qemu.Qemu, compiler: build.Compiler, runner: Path, log: Sequence[str] = ()
) -> list[str]:
    """The runner on a processor, trusted or not; what is missing are its own arguments."""
    root = () if compiler.root is None else ("-L", str(compiler.root))
    # the caller's LD_PRELOAD is of this machine's own programs
    return [found.path, "-cpu", processor.cpu, *root, "-U", "LD_PRELOAD", *log, str(runner)]


def require(processor: Processor, found: qemu.Qemu, compiler: build.Compiler, runner: Path) -> None:
    """RuntimeMissing where the qemu does not compute the processor rightly."""
    result = examined(processor, found, compiler, runner)
    if result.why:
        raise RuntimeMissing(
            f"qemu {found.version} ({found.path}) does not compute {processor.name} rightly: {result.why}; install "
            f"qemu-user-static {processor.qemu} or later, or name another qemu-aarch64 in VOLO_EDGE_QEMU"
        )


def name(processor: Processor, found: qemu.Qemu, runner: Path) -> str:
    """What the result is called in the cache: another qemu, runner or probe has another."""
    hashes = (files.sha256(path) for path in (Path(found.path), runner, PROGRAM, ANSWERS))
    return f"probe-{processor.name}-{files.key(processor, TOLERANCE, *hashes)}"


def examined(processor: Processor, found: qemu.Qemu, compiler: build.Compiler, runner: Path) -> Result:
    """What came of the processor, tried now or earlier."""

    def fill(working: Path) -> None:
        result = _tried(processor, found, compiler, runner)
        files.write_text(working / "result.json", json.dumps(asdict(result)))

    return _read(cache.made(name(processor, found, runner), fill))


def known(processor: Processor, found: qemu.Qemu, runner: Path) -> Result | None:
    """What came of the processor, if it was tried."""
    folder = cache.folder() / name(processor, found, runner)
    return _read(folder) if folder.is_dir() else None


def _read(folder: Path) -> Result:
    values: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return Result(values["error"], tuple(values["products"]), values["why"])


def _tried(processor: Processor, found: qemu.Qemu, compiler: build.Compiler, runner: Path) -> Result:
    expected = np.asarray(json.loads(ANSWERS.read_text())["logits"], np.float32)
    with tempfile.TemporaryDirectory() as place:
        trace = Path(place) / "trace"
        command = emulated(processor, found, compiler, runner, ("-d", "in_asm", "-D", str(trace)))
        command += [str(PROGRAM), "--one-thread"]
        try:
            ended = subprocess.run(command, input=images().tobytes(), capture_output=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:  # of this hour's load, so it is not kept
            raise RuntimeMissing(
                f"{processor.name} in qemu {found.version} did not end a small program in {_SECONDS} s: try again when "
                "the machine is idle"
            ) from None
        if ended.returncode == -signal.SIGKILL:
            raise RuntimeMissing(f"the system ended qemu ({processor.name}), mostly for want of memory: free some")
        answer = np.dtype([("seconds", "<f8"), ("logits", "<f4", expected.shape[1:])])
        _, _, answers = ended.stdout.partition(b"\n")
        if ended.returncode or len(answers) != len(expected) * answer.itemsize:
            lines = ended.stderr.decode(errors="replace").strip().splitlines() or [f"status {ended.returncode}"]
            return Result(None, (), f"the probe did not run ({lines[-1]})")
        products = instructions.products(trace)
    return judged(processor, np.frombuffer(answers, answer)["logits"], expected, products)


def judged(
    processor: Processor, found: NDArray[np.float32], expected: NDArray[np.float32], products: tuple[str, ...]
) -> Result:
    """What to think of logits `found` where others are `expected`."""
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    why = ""
    if not error <= TOLERANCE:  # of NaN too
        why = f"a program whose answer is known comes out with a relative error of {error:.2g}"
    elif processor.product not in products:
        why = f"kernels with {processor.product} were to run, and ran with {', '.join(products)}"
    return Result(error if np.isfinite(error) else None, products, why)
