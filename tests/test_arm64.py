"""Files run as ARM64 code: by the known SDK, on processors that were proved; and what is wrong is said in a line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tests.command import end, refusal, run, start
from tests.conftest import Converted
from volo_edge import calibration, doctor, files, selftest
from volo_edge.console import Steps
from volo_edge.converters import process
from volo_edge.converters.executorch import arm64
from volo_edge.converters.executorch.arm64 import build, cache, instructions, probe, qemu, sdk
from volo_edge.converters.executorch.arm64.processors import PROCESSORS, USUAL, find
from volo_edge.converters.runner import RuntimeMissing
from volo_edge.errors import RequestError
from volo_edge.machine import instruction_set
from volo_edge.quantize import SCHEMES

# Of `aarch64-linux-gnu-as`: every form that XNNPACK's and KleidiAI's kernels have of a product, and what it is.
WORDS = {
    "smull": (0x0E22C023,),
    "smlal": (0x0E228023, 0x0E628020, 0x4E628020, 0x0F522020, 0x4F522020),
    "sdot": (0x4E829420, 0x4FA2E820),
    "udot": (0x6E829420, 0x6FA2E820),
    "usdot": (0x4E829C20, 0x4FA2F020),
    "sudot": (0x4F22F020,),
    "smmla": (0x4E82A43F,),
    "ummla": (0x6E82A43F,),
    "usmmla": (0x4E82AC3F,),
    "smopa": (0xA0822020,),
    "umopa": (0xA1A22020,),
    "usmopa": (0xA1822020,),
    "sumopa": (0xA0A22023,),
    "sdot-sve": (0x44820020,),
    "smmla-sve": (0x45029820,),
    "fmla": (0x4E22CC20, 0x0E22CC20, 0x4FA21820, 0x0FA21820),
    "fmla-fp16": (0x4E420C20, 0x0E420C20, 0x4F321820, 0x0F321820),
    "fmlal": (0x4E22EC20,),
    "bfdot": (0x6E42FC20, 0x4F62F020),
    "bfmmla": (0x6E42EC20,),
    "bfmlal": (0x2EC2FC20, 0x6EC2FC20),
    "fmopa": (0x80822020,),
    "fmopa-fp16": (0x81A22020,),
    "bfmopa": (0x81822020,),
    "fmla-sve": (0x65A20020, 0x64AA0020),
}
OTHERS = (0x4E62CC20, 0x1F020C20, 0x4EA2CC20, 0x4EA28420, 0x6E22DC20, instructions.BEGIN)
# fmla of double precision, fmadd, fmls, add, fmul, hint

# Two blocks as each qemu writes them; the second begins an inference.
LOGS = {
    "7.2": b"----------------\nIN: \n0x550283cc40:  4e829420  sdot     v0.4s, v1.16b, v2.16b\n\n"
    b"----------------\nIN: execute\n0x5500002cc0:  d5032c9f  hint     #0x64\n"
    b"0x5500002cc4:  4e82a43f  .byte    0x3f\n\n",
    "without a disassembler": b"----------------\nIN: \n0x550283cc40:  \nOBJD-T: 2094824e\n\n"
    b"----------------\nIN: \n0x5500002cc0:  \nOBJD-T: 9f2c03d53fa4824e\n\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("VOLO_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_product_is_known_by_its_words() -> None:
    assert WORDS.keys() == instructions.PRODUCTS.keys()
    assert {word: instructions.product(word) for words in WORDS.values() for word in words} == {
        word: name for name, words in WORDS.items() for word in words
    }
    assert [instructions.product(word) for word in OTHERS] == [None] * len(OTHERS)


@pytest.mark.parametrize("version", LOGS)
def test_products_are_those_of_the_inference(version: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_bytes(LOGS[version])
    assert instructions.products(trace) == ("smmla",)  # and not sdot, which was translated before
    trace.write_bytes(LOGS[version].replace(b"d5032c9f", b"d503201f").replace(b"9f2c03d5", b"1f2003d5"))
    with pytest.raises(RequestError, match="shows no inference"):
        instructions.products(trace)


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_instructions_are_counted_within_inferences(piece: int) -> None:
    def block(address: int, *words: int) -> bytes:
        lines = b"".join(b"0x%x:  %08x  what\n" % (address + 4 * i, word) for i, word in enumerate(words))
        return b"----------------\nIN: \n" + lines + b"\n"

    def executed(*addresses: int) -> bytes:
        return b"".join(b"Trace 0: 0x7f [00001001/%016x/00000001/00000200] \n" % address for address in addresses)

    nop, one, two, begin, end = 0xD503201F, 0x1000, 0x2000, 0x3000, 0x4000
    log = block(one, nop, nop, nop) + executed(one, one)
    log += block(begin, nop, instructions.BEGIN) + executed(begin, one)
    log += block(two, nop) + executed(two, two) + block(end, instructions.END, nop) + executed(end, one)
    log += executed(begin, two, two, two, two, end)
    tally = instructions.Tally()
    for at in range(0, len(log), piece):
        tally.add(log[at : at + piece])
    assert tally.inferences == [3 + 2 * 1, 4]


def test_the_wheel_is_of_the_release_that_is_pinned() -> None:
    (pinned,) = [line for line in metadata.requires("volo-edge") or [] if line.startswith("executorch==")]
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'"executorch=={sdk.VERSION}"' in text and pinned == f"executorch=={sdk.VERSION}"


def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """A small wheel that passes for the real one."""
    path = tmp_path / "any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("executorch/include/a.h", "executorch/lib/libexecutorch.so", "executorch/lib/libother.so"):
            archive.writestr(name, name)
    monkeypatch.setattr(sdk, "SHA256", files.sha256(path))
    return path.read_bytes()


def test_the_sdk_is_fetched_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, fetched = wheel(monkeypatch, tmp_path), []

    def fetch(to: Path) -> None:
        fetched.append(to)
        (to / sdk.WHEEL).write_bytes(content)

    kit = sdk.unpacked(fetch)
    assert sdk.unpacked(fetch) == kit and len(fetched) == 1
    assert sorted(path.name for path in kit.rglob("*") if path.is_file()) == ["a.h", "libexecutorch.so"]
    assert [path.name for path in home.iterdir()] == [sdk.NAME]


def test_a_wheel_put_there_by_hand_is_taken(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(monkeypatch, tmp_path)
    home.mkdir()
    (home / sdk.WHEEL).write_bytes(content)
    assert (sdk.unpacked(lambda to: pytest.fail("fetched")) / "include/a.h").is_file()
    assert (home / sdk.WHEEL).is_file()


def test_another_wheel_is_refused(home: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"pip fetched .* is not the published one .*pip download .*put the wheel"):
        sdk.unpacked(lambda to: (to / sdk.WHEEL).write_bytes(b"something else") and None)
    assert list(home.iterdir()) == []


def test_another_wheel_put_there_by_hand_is_named(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / sdk.WHEEL).write_bytes(b"something else")
    with pytest.raises(RuntimeMissing, match=r"executorch.*, which you may remove, is not the published one"):
        sdk.unpacked()


def test_an_interrupted_fetch_leaves_nothing(home: Path) -> None:
    def fetch(to: Path) -> None:
        (to / sdk.WHEEL).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sdk.unpacked(fetch)
    assert list(home.iterdir()) == []


def test_where_pip_cannot_fetch_the_command_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: slow\nERROR: no network\nERROR: more")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeMissing, match="no network") as error:
        sdk.unpacked()
    assert f"executorch=={sdk.VERSION}" in str(error.value) and str(home) in str(error.value)
    assert "\n" not in str(error.value)


def test_two_processes_at_once_make_one(home: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    def fill(working: Path) -> None:
        (working / "half").write_text("")
        both.wait()
        (working / "half").rename(working / "whole")

    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(cache.made, "thing", fill) for _ in range(2)]
    assert [one.result() for one in made] == [home / "thing"] * 2
    assert [path.relative_to(home).as_posix() for path in sorted(home.rglob("*"))] == ["thing", "thing/whole"]


def test_an_unknown_processor() -> None:
    with pytest.raises(RequestError, match=r"did you mean 'armv8\.2-dotprod'"):
        find("armv8.2-dotprd")
    assert USUAL == ("armv8.0", "armv8.2-dotprod", "armv8.6-i8mm")
    assert {processor.product for processor in PROCESSORS.values()} <= instructions.PRODUCTS.keys()


def test_without_qemu_or_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("VOLO_EDGE_QEMU", raising=False)
    with pytest.raises(RuntimeMissing, match=r"qemu-aarch64 is not here: apt-get install qemu-user-static"):
        qemu.find()
    with pytest.raises(RuntimeMissing, match=r"a C\+\+ compiler .* is not here: apt-get install g\+\+"):
        build.compiler()
    monkeypatch.setenv("VOLO_EDGE_QEMU", "no-such-qemu")
    with pytest.raises(RuntimeMissing, match=r"no program no-such-qemu \(VOLO_EDGE_QEMU\)"):
        qemu.find()
    monkeypatch.setenv("VOLO_EDGE_QEMU", sys.executable)
    with pytest.raises(RuntimeMissing, match="is no qemu-aarch64"):
        qemu.find()
    found = {finding.what: finding for finding in doctor._arm64()}
    assert {found[what].ok for what in ("ARM64 compiler", "qemu-aarch64")} == {None}
    assert "qemu-user-static" in found["qemu-aarch64"].remedy


def test_an_arm64_machine_needs_no_emulation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its own processor is one; `--arm64-cpu` names others."""
    monkeypatch.setattr(build, "native", lambda: True)
    assert arm64.prepare((), Steps(None)) == ()
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(process, "load", lambda *arguments: asked.append(arguments))
    arm64.load(tmp_path / "model.pte", None)
    assert asked == [("executorch", tmp_path / "model.pte", "native")]
    run_on: list[tuple[object, ...]] = []
    monkeypatch.setattr(selftest, "_run", lambda found, *where: run_on.append(where[:2]))
    selftest.run(None, "arm64", (), Steps(None))  # type: ignore[arg-type]
    assert run_on == [("arm64", None)]


def test_a_probe_that_was_disturbed_is_not_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that was busy for an hour has no bad qemu."""
    home.mkdir(exist_ok=True)
    program = home / "program"
    program.write_bytes(b"")
    found, compiler = qemu.Qemu(str(program), "7.2"), build.Compiler("g++", "12", home, None)

    def ended(*_: object, **__: object) -> subprocess.CompletedProcess[bytes]:
        raise subprocess.TimeoutExpired("qemu", 300)

    monkeypatch.setattr(subprocess, "run", ended)
    with pytest.raises(RuntimeMissing, match="did not end a small program in 300 s: try again when"):
        probe.examined(find("armv8.0"), found, compiler, program)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], -9, b"", b""))
    with pytest.raises(RuntimeMissing, match="want of memory"):
        probe.examined(find("armv8.0"), found, compiler, program)
    assert probe.known(find("armv8.0"), found, program) is None


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(RuntimeMissing, match="--runtime arm64 needs Linux"):
        arm64.command(Path("model.pte"), find("armv8.0"))


def test_a_processor_is_judged_by_its_answer_and_its_kernels() -> None:
    processor, expected = find("armv9-sme"), np.ones((2, 4), np.float32)
    assert probe.judged(processor, expected, expected, ("smopa",)).why == ""
    assert "relative error of 0.1" in probe.judged(processor, 1.1 * expected, expected, ("smopa",)).why
    assert "relative error of nan" in probe.judged(processor, np.nan * expected, expected, ("smopa",)).why
    assert "smopa were to run, and ran with smmla" in probe.judged(processor, expected, expected, ("smmla",)).why


@pytest.mark.parametrize(
    "verb",
    [
        ("convert", "--target", "executorch"),
        ("evaluate", "artifact", "--data", str(calibration.DEMO_VALIDATION)),
    ],
    ids=lambda verb: verb[0],
)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--arm64-cpu", "armv8.0"), "--arm64-cpu is for --runtime arm64"),
        (("--runtime", "native", "--arm64-cpu", "armv8.0"), "--arm64-cpu is for --runtime arm64"),
        (("--runtime", "arm64", "--arm64-cpu", "armv8.0,armv8.1"), "did you mean 'armv8.0'"),
        (("--runtime", "arm46"), "did you mean 'arm64'"),
    ],
)
def test_a_request_that_no_processor_meets(verb: tuple[str, ...], options: tuple[str, ...], said: str) -> None:
    assert said in refusal(*verb, *options)


def test_a_core_ml_file_has_no_arm64_code() -> None:
    asked = ("convert", "--target", "coreml", "--runtime", "arm64")
    assert "--runtime arm64 does not run what coreml computes: take native or evaluator" in refusal(*asked)


# What follows runs in qemu.


@pytest.fixture(scope="module")
def machine() -> None:
    """Skips where this machine cannot build or run ARM64 code; the SDK is fetched where it is not yet."""
    try:
        qemu.find()
        build.runner(build.compiler())
    except RuntimeMissing as missing:
        pytest.skip(f"no ARM64 code runs here: {missing}")


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_qemu_is_proved_or_refused() -> None:
    found, compiler = qemu.find(), build.compiler()
    runner = build.runner(compiler)
    for name in USUAL:
        result = probe.examined(find(name), found, compiler, runner)
        assert result.why == "" and find(name).product in result.products
    result = probe.examined(find("armv9-sme"), found, compiler, runner)
    if int(found.version.partition(".")[0]) >= 10:
        assert result.why == "" and {"smopa", "fmopa"} <= set(result.products)
    elif found.version.startswith("7.2."):
        with pytest.raises(RuntimeMissing, match=r"armv9-sme rightly: .*install qemu-user-static 10.0 or later"):
            arm64.command(probe.PROGRAM, find("armv9-sme"))
    whats = {finding.what: finding.ok for finding in doctor._arm64()}
    assert whats["computes armv8.0"] is True and whats["qemu-aarch64"] is True


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_predict_on_a_phones_processor(executorch_artifact: Converted) -> None:
    photo = calibration.DEMO_VALIDATION / "cat" / "0000.jpg"
    asked = ("predict", executorch_artifact[0], photo, "--runtime", "arm64", "--arm64-cpu", "armv8.0", "--json")
    said = json.loads(run(*asked).out)
    assert (said["processor"], said["compared"]["processor"]) == ("arm64 armv8.0", instruction_set())
    assert said["predictions"][0]["classes"][0]["label"] == "cat"
    assert 0 < said["compared"]["relative_error"] < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_the_self_test_of_single_precision_on_every_processor(executorch_artifact: Converted) -> None:
    said = json.loads(run("inspect", executorch_artifact[0], "--runtime", "arm64", "--json").out)["selftest"]
    assert [one["processor"] for one in said] == [f"arm64 {name}" for name in USUAL]
    for one in said:
        assert one["passed"] is True and one["photographs"] == 4 and "fmla" in one["instructions"]
        assert 0 < one["relative_error"] < 1e-6  # another order of additions than x86's


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("scheme", [name for name, s in SCHEMES.items() if "xnnpack" in s.backends and s.quantizes])
def test_every_scheme_is_proved_on_every_processor(scheme: str, tmp_path: Path) -> None:
    for path in calibration.DEMO_CALIBRATION.glob("*/000[01].jpg"):  # qemu takes its time for each
        shutil.copy(path, tmp_path / f"{path.parent.name}-{path.name}")
    asked = ("convert", "--target", "executorch", "--quantize", scheme, "--calibration", tmp_path)
    ended = run(*asked, "--runtime", "arm64", "--output", tmp_path / "artifact", "--json")
    assert ended.status == 0, ended.err
    here, *there = json.loads(ended.out)["manifest"]["parity"]
    assert here["processor"] == instruction_set() and here["instructions"] == []
    assert [one["processor"] for one in there] == [f"arm64 {name}" for name in USUAL]
    for name, one in zip(USUAL, there, strict=True):
        assert find(name).product in one["instructions"]
        assert one["passed"] is True and one["images"] == here["images"] >= 10
        assert abs(one["top1_agreement"] - here["top1_agreement"]) <= 0.1  # one photograph
        assert one["relative_error"] < 3 * here["relative_error"]


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_a_report_has_processors_side_by_side(executorch_artifact: Converted, tmp_path: Path) -> None:
    asked = ("--data", calibration.DEMO_VALIDATION, "--limit", "20", "--arm64-limit", "10", "--max-drop", "50")
    ended = run(
        *("evaluate", executorch_artifact[0], *asked, "--output", tmp_path / "report", "--json"),
        *("--runtime", "arm64", "--arm64-cpu", "armv8.0,armv8.2-dotprod"),
    )
    assert ended.status == 0, ended.err
    (found,) = json.loads(ended.out)["report"]["artifacts"]
    assert [one["processor"] for one in found["processors"]] == ["arm64 armv8.0", "arm64 armv8.2-dotprod"]
    for one in found["processors"]:
        assert (one["photographs"], one["agreement"], one["here_agreement"]) == (10, 100, 100)
        assert 0 < one["here_error"] < 1e-6 and one["instructions"] == ["fmla"]
    assert "On ARM64 code" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["native", "arm64"])
@pytest.mark.parametrize("place", [5_000, 60_000])
def test_a_file_that_takes_its_runtime_down_is_one_line(
    executorch_artifact: Converted, tmp_path: Path, runtime: str, place: int, request: pytest.FixtureRequest
) -> None:
    """XNNPACK checks nothing of its own graph: zeros there end the process that reads it."""
    if runtime == "arm64":
        request.getfixturevalue("machine")
    folder = shutil.copytree(executorch_artifact[0], tmp_path / "artifact")
    program = bytearray((folder / "model.pte").read_bytes())
    program[place : place + 2_000] = bytes(2_000)
    (folder / "model.pte").write_bytes(program)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model"]["sha256"] = files.sha256(folder / "model.pte")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    photo = calibration.DEMO_VALIDATION / "cat" / "0000.jpg"
    assert "model.pte" in refusal("predict", folder, photo, "--runtime", runtime)


def truncated(program: bytes) -> bytes:
    return program[: len(program) // 2]


def emptied(program: bytes) -> bytes:
    return b""


def other(program: bytes) -> bytes:
    return b"PK" + program[2:]


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("damaged", [truncated, emptied, other])
def test_a_damaged_program_is_one_line(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(damaged(probe.PROGRAM.read_bytes()))
    ended = subprocess.run(arm64.command(path, find("armv8.2-dotprod")), input=b"", capture_output=True, timeout=300)
    assert ended.returncode == 1 and ended.stdout == b""
    assert re.search(rb"program load: \w+ \(0x\w+\)$", ended.stderr.strip().splitlines()[-1]), ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_half_an_image_is_refused() -> None:
    command = arm64.command(probe.PROGRAM, find("armv8.2-dotprod"))
    ended = subprocess.run(command, input=bytes(100), capture_output=True, timeout=300)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, b"standard input ends within an image")


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_a_program_counts_the_same_twice() -> None:
    """And what a processor has better instructions for takes it fewer."""
    first = arm64.count([probe.PROGRAM, probe.PROGRAM], find("armv8.2-dotprod"))
    second = arm64.count([probe.PROGRAM], find("armv8.2-dotprod"))
    (older,) = arm64.count([probe.PROGRAM], find("armv8.0"))
    assert len(first) == 2
    assert first[0] == pytest.approx(second[0], rel=1e-3) and first[1] == pytest.approx(first[0], rel=1e-3)
    assert older > 1.2 * first[0]


@pytest.mark.slow
@pytest.mark.usefixtures("machine")
def test_the_demo_is_counted_by_its_parts(executorch_artifact: Converted) -> None:
    asked = ("--profile", "--threads", "1", "--runtime", "arm64", "--arm64-cpu", "armv8.2-dotprod")
    ended = end(start("inspect", executorch_artifact[0], *asked, "--json"), timeout=1200)
    assert (ended.status, ended.err) == (0, "")
    found = json.loads(ended.out)["profile"]
    whole = found["instructions"]["armv8.2-dotprod"]
    together = sum(part["count"] * part["instructions"]["armv8.2-dotprod"] for part in found["parts"])
    assert together == pytest.approx(whole, rel=0.02)
    again = arm64.count([executorch_artifact[0] / "model.pte"], find("armv8.2-dotprod"))
    assert again[0] == pytest.approx(whole, rel=1e-3)
