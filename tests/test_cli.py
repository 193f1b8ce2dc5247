"""The installed command: bad input ends in one line and exit status 2 and leaves nothing; good input is readable."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.command import COMMAND, contents, end, one_line, refusal, run, start, temporary, untouched
from tests.conftest import Converted
from tests.small import model_info
from volo_edge import __version__, artifact, cli, machine, plain, show
from volo_edge.artifact import Manifest
from volo_edge.calibration import DEMO_CALIBRATION, DEMO_VALIDATION, DEMO_WEIGHTS
from volo_edge.calibration.images import find_images
from volo_edge.console import Console
from volo_edge.converters.targets import TARGETS
from volo_edge.errors import GateError
from volo_edge.preprocess import Preprocessing
from volo_edge.quantize import SCHEMES
from volo_edge.validate.parity import not_run
from volo_edge.variants import VARIANTS

VERBS = (
    "convert",
    "predict",
    "inspect",
    "sensitivity",
    "reference",
    "evaluate",
    "app",
    "benchmark",
    "models",
    "schemes",
    "doctor",
)
LINUX = sys.platform.startswith("linux")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to write artifacts into, with a file that must survive."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "keep").write_text("mine")
    return tmp_path / "out"


def refused(place: Path, *arguments: str | Path, **options: Any) -> str:
    """What `convert` to an artifact in `place` says; nothing may be left of it, in its temporary folder either."""
    rest = place.parent / "temporary"
    rest.mkdir(exist_ok=True)
    target = () if "--target" in arguments else ("--target", "executorch")
    with untouched(place):
        said = refusal("convert", *target, "--output", place / "new", *arguments, env=temporary(rest), **options)
    assert_no_rest(rest)
    return said


def assert_no_rest(temporary_folder: Path) -> None:
    """Of what the libraries keep in the temporary folder, only torch's (empty) cache may be there afterwards."""
    assert [path.name for path in temporary_folder.rglob("*") if not path.name.startswith("torchinductor")] == []


# Good requests


def test_version() -> None:
    ended = run("--version")
    assert (ended.status, ended.out, ended.err) == (0, f"volo-edge {__version__}\n", "")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help(verb: str) -> None:
    ended = run(*[verb][: bool(verb)], "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: volo-edge {verb}".rstrip())
    assert "exit status: 0 done; 2 bad request or input" in " ".join(ended.out.split())
    if not verb:
        assert all(re.search(rf"^ +{name}( |$)", ended.out, re.MULTILINE) for name in VERBS)


@pytest.mark.parametrize(("verb", "names"), [("models", VARIANTS), ("schemes", SCHEMES)])
def test_lists(verb: str, names: dict[str, Any]) -> None:
    ended = run(verb)
    assert (ended.status, ended.err) == (0, "")
    for name in names:  # each in a line of its own, not folded or coloured, though a pipe has no width
        assert len([line for line in ended.out.splitlines() if line.split()[:1] == [name]]) == 1
    assert "\x1b" not in ended.out and "…" not in ended.out
    ended = run(verb, "--json")
    assert (ended.status, ended.err) == (0, "")
    assert json.loads(ended.out).keys() == names.keys()


@pytest.mark.slow
def test_doctor() -> None:
    ended = run("doctor", "--json")
    assert ended.err == ""
    findings = {finding["what"]: finding for finding in json.loads(ended.out)["findings"]}
    assert findings["executorch"]["ok"] is True
    assert findings["run .pte files"]["found"] == "yes"
    assert findings["run .mlpackage files"]["ok"] is True
    assert ended.status == any(finding["ok"] is False for finding in findings.values())
    for finding in findings.values():
        assert finding["remedy"] or finding["ok"]
    plain = run("doctor")
    assert (plain.status, plain.err) == (ended.status, "")
    for what in findings:
        assert re.search(rf"^ *(ok|MISSING|-) +{re.escape(what)}  ", plain.out, re.MULTILINE)


@pytest.mark.skipif(not LINUX, reason="/dev/full is Linux's")
@pytest.mark.parametrize("arguments", [("models",), ("schemes", "--json")])
def test_a_result_that_cannot_be_written(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (2, "volo-edge: cannot read or write: No space left on device\n")


def test_a_package_that_is_not_installed() -> None:
    program = "import sys; sys.modules['torch'] = None; from volo_edge.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "convert", "--target", "coreml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert one_line(end(process)).startswith("torch is not installed: 'volo-edge doctor' tells")


def test_a_reader_that_has_seen_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run([COMMAND, "models"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="the shell's >&- is POSIX")
def test_no_standard_output() -> None:
    ended = subprocess.run(["sh", "-c", f"'{COMMAND}' models >&-"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert re.fullmatch("volo-edge: .*\n", ended.stderr)


@pytest.mark.slow
def test_converted(executorch_artifact: Converted, coreml_artifact: Converted) -> None:
    for target, (folder, said) in (("executorch", executorch_artifact), ("coreml", coreml_artifact)):
        assert Path(said["artifact"]) == folder
        assert said["manifest"] == json.loads((folder / "manifest.json").read_text())
        assert said["manifest"]["target"] == target
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [TARGETS[target].file, "manifest.json", "labels.txt", "selftest"]
        )
        assert said["manifest"]["parity"][0]["passed"] is True


@pytest.mark.slow
def test_predict_and_inspect(executorch_artifact: Converted, coreml_artifact: Converted) -> None:
    photo = DEMO_VALIDATION / "ship" / find_images(DEMO_VALIDATION / "ship").files[0]
    ended = run("predict", executorch_artifact[0], photo, "--json")
    assert (ended.status, ended.err) == (0, "")
    (prediction,) = json.loads(ended.out)["predictions"]
    assert prediction["image"] == str(photo)
    assert prediction["classes"][0]["label"] == "ship"
    ended = run("predict", executorch_artifact[0], photo)
    assert (ended.status, ended.err) == (0, "")
    assert re.search(r"^ +\d+\.\d%  ship$", ended.out, re.MULTILINE)
    for folder, _ in (executorch_artifact, coreml_artifact):
        ended = run("inspect", folder, "--json")
        assert (ended.status, ended.err) == (0, "")
        assert json.loads(ended.out)["program"]["operators"]
        ended = run("inspect", folder)
        assert (ended.status, ended.err) == (0, "")
        assert "volo_cifar10" in ended.out and "…" not in ended.out


# Programs that read what is printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("convert", "--json"), "arguments are required: --target"),
        (("--json",), "see 'volo-edge --help'"),
        (("models", "--jsn", "--js"), "unrecognized arguments: --jsn"),
        (("inspect", "ab\x1b[2J\u202esent", "--json"), r"ab\x1b[2J\u202esent is not there"),
        (("convert", "--target", "coreml", "--output", "a" * 240, "--json"), "its name is too long"),
        (("convert", "--target", "coreml", "--image-size", "1000000", "--json"), "a side has 4096 pixels at most"),
        (("convert", "--target", "coreml", "--image-size", "4096", "--json"), "one attention layer over"),
        (("convert", "--target", "coreml", "--resize", "99999", "--json"), "1 at least and 16384 at most"),
    ],
)
def test_a_refusal_in_json(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = run(*arguments, cwd=tmp_path)
    error = json.loads(ended.out)["error"]
    assert said in ended.err and "\x1b" not in ended.err + ended.out
    assert error.keys() == {"message", "status", "kind"}
    assert (ended.status, error["status"], error["kind"]) == (2, 2, "request")
    assert f"volo-edge: {plain.line(error['message'])}\n" == ended.err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (GateError("not good\nenough"), 3, "gate"),
        (KeyboardInterrupt(), 2, "interrupted"),
        (ValueError("\x1b[2J"), 1, "bug"),
        (OSError(28, "No space left", "there"), 2, "request"),
        (MemoryError(), 2, "request"),
    ],
)
@pytest.mark.parametrize("json_wanted", [True, False])
def test_whatever_comes_after_the_result_there_is_one_object(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    kind: str,
    json_wanted: bool,
) -> None:
    def models(args: argparse.Namespace, console: Console) -> None:
        """Fail."""
        console.result({"result": 1})
        raise error

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(cli, "models", models)
    assert cli.main(["models", *["--json"][:json_wanted]]) == status
    for number, handler in before.items():
        signal.signal(number, handler)
    out, err = capfd.readouterr()
    last = err.splitlines()[-1]
    assert "\x1b" not in err and (kind == "bug" or len(err.splitlines()) == 1)
    if json_wanted:
        found = json.loads(out)
        assert found["result"] == 1
        assert (found["error"]["status"], found["error"]["kind"]) == (status, kind)
        assert last == f"volo-edge: {plain.line(found['error']['message'])}"
    else:
        assert out == ""


def test_a_printed_command_can_be_pasted() -> None:
    assert show.command("volo-edge", "predict", Path("my models/d'1"), "PHOTO.jpg") == (
        """volo-edge predict 'my models/d'"'"'1' PHOTO.jpg"""
    )
    assert show.command("cd", Path("-x"), "--app", Path("a")) == "cd ./-x --app a"


# Requests that nothing takes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the following arguments are required: VERB; see 'volo-edge --help'"),
        (("covnert",), "did you mean 'convert'?"),
        (("frobnicate",), "no 'frobnicate' here: (known: convert, predict"),
        (("models", "--jsn"), "unrecognized arguments: --jsn"),
        (("convert", "--target", "coreml", "--quantise", "fp16"), "--quantise"),
        (("convert",), "the following arguments are required: --target; see 'volo-edge convert --help'"),
        (("convert", "--target"), "--target: expected one argument"),
        (("convert", "--target", "executorh"), "no target is called 'executorh': did you mean 'executorch'?"),
        (("convert", "--target", "coreml", "--quantize", "fp61"), "did you mean 'fp16'?"),
        (
            ("convert", "--target", "executorch", "--quantize", "fp16"),
            "xnnpack does not take the scheme fp16",
        ),
        (("convert", "--target", "coreml", "--backend", "xnnpack"), "no backend 'xnnpack': (known: coreml)"),
        (("convert", "--target", "executorch", "--minimum-ios", "17"), "--minimum-ios is for Core ML"),
        (("convert", "--target", "coreml", "--quantize", "int4-weight", "--minimum-ios", "17"), "needs iOS 18"),
        (("convert", "--target", "coreml", "--calibration-size", "0"), "take at least 1"),
        (("convert", "--target", "coreml", "--calibration-size", "many"), "invalid int value: 'many'"),
        (("convert", "--target", "coreml", "--minimum-ios", "11"), "are made for iOS 15, 16, 17, 18"),
        (("convert", "--target", "coreml", "--minimum-ios", "15"), "scheme int8-weight needs iOS 16"),
        (
            ("convert", "--target", "executorch", "--backend", "coreml", "--quantize", "fp16", "--minimum-ios", "15"),
            "target executorch needs iOS 16",
        ),
        (
            ("convert", "--target", "executorch", "--runtime", "evaluator"),
            "--runtime evaluator does not run what xnnpack computes: take native or arm64",
        ),
        (
            ("convert", "--target", "coreml", "--runtime", "nativ"),
            "no runtime is called 'nativ': did you mean",
        ),
        (("convert", "--target", "coreml", "--minimum-ios", "x"), "--minimum-ios: invalid int value: 'x'"),
        (("convert", "--target", "coreml", "--model", "volo_d1_244"), "did you mean 'volo_d1_224'?"),
        (("convert", "--target", "coreml", "--weights", "absent.pth"), "no weights at absent.pth"),
        (("convert", "--target", "coreml", "--labels", "absent.txt"), "there is no file of labels at absent.txt"),
        (("convert", "--target", "coreml", "--calibration", "absent"), "there is no folder of images at absent"),
        (("convert", "--target", "coreml", "--image-size", "big"), "'big' is no image size"),
        (("predict", "absent", "x.jpg"), "absent is not there: give a folder that 'volo-edge convert' wrote"),
        (("predict", "absent"), "the following arguments are required: IMAGE"),
        (("inspect", "absent"), "absent is not there"),
    ],
)
def test_bad_requests_are_refused_before_torch(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    with untouched(tmp_path):
        assert said in refusal(*arguments, cwd=tmp_path)
    _imports_no_torch(*arguments, cwd=tmp_path)


@pytest.mark.parametrize("arguments", [("--version",), ("models",), ("schemes", "--json")])
def test_quick_verbs_import_no_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    _imports_no_torch(*arguments, cwd=tmp_path)


def _imports_no_torch(*arguments: str, cwd: Path) -> None:
    """The command needs less than a second of a processor, the fastest of three tries, and no large library."""

    def seconds() -> float:
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([COMMAND, *arguments], capture_output=True, cwd=cwd, timeout=60)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        return end.ru_utime - begin.ru_utime + end.ru_stime - begin.ru_stime

    assert any(seconds() < 1 for _ in range(3))
    watched = [sys.executable, "-X", "importtime", COMMAND, *arguments]
    ended = subprocess.run(watched, capture_output=True, text=True, cwd=cwd, timeout=60)
    imported = {
        line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")
    }
    assert "volo_edge.cli" in imported, "the watch saw nothing"
    assert not imported & {"torch", "executorch", "torchao", "coremltools"}


# Weights


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def _truncated(path: Path) -> None:
    path.write_bytes(DEMO_WEIGHTS.read_bytes()[:1_000_000])


def _truncated_archive(path: Path) -> None:
    torch.save(load_file(DEMO_WEIGHTS), path)
    os.truncate(path, 1_000_000)


def _nan(path: Path) -> None:
    state = load_file(DEMO_WEIGHTS)
    state["head.bias"][3] = float("nan")
    save_file(state, path)


def _another_model(path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(8, 8, 3, 3), "fc.bias": torch.zeros(10)}, path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (Path.touch, "is empty"),
        (lambda path: path.write_text("no weights\n" * 9), "is no checkpoint"),
        (lambda path: path.mkdir(), "is a folder"),
        (_truncated, "is truncated or damaged"),
        (_truncated_archive, "is truncated, damaged or no checkpoint"),
        (_nan, "NaN or infinite weights in 'head.bias'"),
        (_another_model, "holds no VOLO: its tensors are 'layer1.0.conv1.weight'"),
    ],
    ids=["empty", "text", "folder", "truncated", "truncated archive", "nan", "another model"],
)
def test_bad_weights(tmp_path: Path, place: Path, write: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "weights.pth"
    write(path)
    message = refused(place, "--weights", path)
    assert message.startswith(str(path)) and said in message


def test_weights_that_would_run_code(tmp_path: Path, place: Path) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Evil(target), protocol=2))
    assert "is truncated, damaged or no checkpoint" in refused(place, "--weights", path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists(), "the file was harmless, so the test shows nothing"


def test_weights_that_do_not_fit_the_model(place: Path) -> None:
    message = refused(place, "--weights", DEMO_WEIGHTS, "--model", "volo_d1_224")
    assert "does not fit volo_d1_224: missing" in message


def test_weights_that_do_not_ship(place: Path) -> None:
    assert "--weights hf-hub:timm/volo_d1_224.sail_in1k" in refused(place, "--model", "volo_d1_224")


@pytest.mark.parametrize("size", ["65", "8", "0", "64x65"])
def test_sizes_that_the_grid_cannot_hold(place: Path, size: str) -> None:
    assert f"image size {size if 'x' in size else f'{size}x{size}'}" in refused(place, "--image-size", size)


def test_labels_that_are_too_few(tmp_path: Path, place: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert "2 names for 10 classes" in refused(place, "--labels", tmp_path / "labels.txt")


# Photographs


def _broken(folder: Path) -> Path:
    """`folder` with two files named as images that are none."""
    folder.mkdir()
    for name in ("a.jpg", "b.png"):
        (folder / name).write_text("no photograph")
    return folder


def test_folders_without_a_photograph(tmp_path: Path, place: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"no image in '{empty}', no files" in refused(place, "--calibration", empty)
    (empty / "notes.txt").touch()
    assert "only 1 other files, 'notes.txt' the first" in refused(place, "--calibration", empty)
    assert "is a file: give a folder of images" in refused(place, "--calibration", empty / "notes.txt")


def test_photographs_that_cannot_be_read(tmp_path: Path, place: Path) -> None:
    broken = _broken(tmp_path / "broken")
    message = refused(place, "--calibration", broken)
    assert f"none of the images in {broken} can be read, " in message


def test_a_flat_folder_will_do(tmp_path: Path) -> None:
    shutil.copy(DEMO_CALIBRATION / "cat" / "0000.jpg", tmp_path)
    found = find_images(tmp_path)
    assert (found.files, found.labels) == (("0000.jpg",), None)


@pytest.mark.slow
def test_files_that_are_no_images_are_skipped_and_named(tmp_path: Path, executorch_artifact: Converted) -> None:
    folder = _broken(tmp_path / "mixed")
    (folder / "notes.txt").touch()
    shutil.copy(DEMO_CALIBRATION / "cat" / "0000.jpg", folder / "cat.jpg")
    ended = run("predict", executorch_artifact[0], folder)
    assert ended.status == 0 and "cat.jpg" in ended.out
    names = ", ".join(str(folder / name) for name in ("notes.txt", "a.jpg", "b.png"))
    assert ended.err == f"note: skipped 3 file(s) that are no images: {names}\n"
    ended = run("predict", executorch_artifact[0], folder, "--json")
    assert len(json.loads(ended.out)["predictions"]) == 1 and len(json.loads(ended.out)["skipped"]) == 3


@pytest.mark.slow
def test_converting_with_files_that_are_no_images(tmp_path: Path) -> None:
    folder = _broken(tmp_path / "flat")
    shutil.copy(DEMO_CALIBRATION / "cat" / "0000.jpg", folder / "cat.jpg")
    ended = run("convert", "--target", "coreml", "--calibration", folder, "--output", tmp_path / "made")
    assert ended.status == 0 and f"wrote    {tmp_path / 'made'}" in ended.out
    assert ended.err == "note: skipped 2 file(s) that are no images: a.jpg, b.png\n"
    assert len(json.loads((tmp_path / "made" / "manifest.json").read_text())["selftest"]["cases"]) == 1


# Where to write


def test_an_existing_output_is_kept(place: Path) -> None:
    folder = _artifact(place / "new")
    assert f"{folder} exists already: pass --force to replace it" in refused(place)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_is_no_artifact_is_never_replaced(place: Path, what: str, force: bool) -> None:
    if what == "folder":
        (place / "new").mkdir()
        (place / "new" / "thesis.tex").write_text("years of work")
    elif what == "file":
        (place / "new").write_text("years of work")
    else:
        (place / "new").symlink_to("keep")
    said = refused(place, *["--force"][:force])
    assert "exists and is no artifact" in said
    assert os.path.lexists(place / "new")


def test_a_parent_that_is_a_file(place: Path) -> None:
    assert "cannot write in" in refused(place, "--output", place / "keep" / "new")


def test_new_parents_do_not_outlive_a_failure(tmp_path: Path, place: Path) -> None:
    refused(place, "--output", place / "a" / "b" / "new", "--calibration", _broken(tmp_path / "broken"))


@pytest.mark.slow
def test_force_replaces_an_artifact(tmp_path: Path) -> None:
    folder = _artifact(tmp_path / "a" / "new")
    before = contents(folder)
    ended = run("convert", "--target", "coreml", "--output", folder, "--force")
    assert ended.status == 0, ended.err
    assert [path.name for path in folder.parent.iterdir()] == ["new"]
    assert contents(folder).keys() != before.keys()


@pytest.mark.skipif(not LINUX, reason="only Linux has a folder that refuses even the superuser without a mount")
@pytest.mark.parametrize("parent", ["/proc", "/sys"])
def test_a_place_that_takes_no_folders(parent: str) -> None:
    before = set(os.listdir(parent))
    assert f"cannot write in {parent}: " in refusal("convert", "--target", "executorch", "--output", f"{parent}/new")
    assert {name for name in set(os.listdir(parent)) - before if not name.isdigit()} == set()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts file systems in memory, with the options given, for one test; skips it where that is not permitted."""
    mounts: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"mount{len(mounts)}"
        point.mkdir()
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a file system is not permitted here")
        mounts.append(point)
        return point

    yield mount
    for point in mounts:
        subprocess.run(["umount", point], check=True)


def test_a_file_system_that_is_read_only(mounted: Callable[..., Path]) -> None:
    place = mounted("ro")
    said = refusal("convert", "--target", "executorch", "--output", place / "new")
    assert said == f"cannot write in {place}: Read-only file system; pass another --output"
    assert contents(place) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "size"), [("executorch", "2m"), ("coreml", "2m"), ("coreml", "0")])
def test_a_full_disk(tmp_path: Path, mounted: Callable[..., Path], target: str, size: str) -> None:
    place, rest = mounted(f"size={size}" if size != "0" else "nr_inodes=3"), tmp_path / "rest"
    rest.mkdir()
    said = refusal("convert", "--target", target, "--output", place / "new", env=temporary(rest))
    room = f"make room there and in {rest}, or pass another --output"
    assert said == f"cannot write {place / 'new'}: No space left on device; {room}"
    assert contents(place) == {}
    assert_no_rest(rest)


@pytest.mark.slow
def test_a_full_temporary_folder(place: Path, mounted: Callable[..., Path]) -> None:
    rest = mounted("size=1m")
    with untouched(place):
        said = refusal("convert", "--target", "coreml", "--output", place / "new", env=temporary(rest))
    assert "make room" in said and str(rest) in said
    assert_no_rest(rest)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
@pytest.mark.parametrize(
    ("target", "limit"),
    [("executorch", 2_000_000), ("coreml", 2_000), ("coreml", 2_000_000)],
)
def test_a_file_that_may_not_grow(place: Path, target: str, limit: int) -> None:
    said = refused(place, "--target", target, preexec_fn=lambda: _limit_files(limit))
    assert said.startswith(f"cannot write {place / 'new'}: ") and "make room" in said


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
@pytest.mark.parametrize("missing", [1, 10_000])
def test_no_file_is_cut_short_in_silence(place: Path, coreml_artifact: Converted, missing: int) -> None:
    """The weights are written by C++, whose streams tell nobody when the last block does not reach the disk."""
    largest = max(path.stat().st_size for path in coreml_artifact[0].rglob("*") if path.is_file())
    asked = ("--target", "coreml", "--quantize", "fp16")  # as the artifact
    said = refused(place, *asked, preexec_fn=lambda: _limit_files(largest - missing))
    assert said.startswith(f"cannot write {place / 'new'}: ")


def _limit_files(size: int) -> None:
    """As a full disk, for root and everybody: writing beyond `size` bytes of a file fails."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# Ctrl-C and kill


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("target", "number", "delay"),
    [
        ("executorch", signal.SIGINT, 0),
        ("executorch", signal.SIGTERM, 3),
        ("executorch", signal.SIGINT, 8),
        ("coreml", signal.SIGTERM, 0),
        ("coreml", signal.SIGINT, 1.5),
        ("coreml", signal.SIGINT, 3),
    ],
)
def test_interrupted(place: Path, target: str, number: signal.Signals, delay: float) -> None:
    _interrupt(place, target, number, lambda _: (place / ".new.volo-edge" / "new").exists(), delay)


@pytest.mark.skipif(not LINUX, reason="sees in /proc how far a process is")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_while_torch_is_imported(place: Path, number: signal.Signals) -> None:
    def importing(process: subprocess.Popen[str]) -> bool:
        return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()

    _interrupt(place, "executorch", number, importing)


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_impatience_changes_nothing(place: Path) -> None:
    """Ctrl-C again and again, while the first one is being answered."""
    _interrupt(place, "coreml", signal.SIGINT, lambda _: (place / ".new.volo-edge" / "new").exists(), again=True)


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_interrupted_while_replacing(place: Path) -> None:
    _artifact(place / "new")
    _interrupt(place, "coreml", signal.SIGINT, lambda _: (place / ".new.volo-edge" / "new").exists(), 0.5, "--force")


def _hang_up_is_heard() -> None:
    """In the command's process: whoever runs the tests may do so under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _interrupt(
    place: Path,
    target: str,
    number: signal.Signals,
    ready: Callable[[subprocess.Popen[str]], bool],
    delay: float = 0,
    *arguments: str,
    again: bool = False,
) -> None:
    """Send a conversion the signal, `delay` seconds after it is `ready`, and see that it ends well."""
    rest = place.parent / "temporary"
    rest.mkdir()
    with untouched(place):
        command = ("convert", "--target", target, "--output", place / "new", *arguments)
        process = start(*command, env=temporary(rest), preexec_fn=_hang_up_is_heard)
        while process.poll() is None and not ready(process):
            time.sleep(0.005)
        time.sleep(delay)
        if delay and process.poll() == 0:
            shutil.rmtree(place / "new")
            pytest.skip("converting takes less than the delay here")
        process.send_signal(number)
        while again and process.poll() is None:
            time.sleep(0.002)
            process.send_signal(number)
        ended = end(process, timeout=60)
        assert one_line(ended) == "interrupted; no half-written output was left"
    assert_no_rest(rest)


# Parity

_STRICT = """
import sys
from dataclasses import replace
from volo_edge import cli
from volo_edge.quantize.schemes import SCHEMES

for name, scheme in list(SCHEMES.items()):
    SCHEMES[name] = replace(scheme, tolerance=1e-12)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_file_that_fails_parity(place: Path) -> None:
    command = [sys.executable, "-c", _STRICT, "convert", "--target", "executorch", "--output", place / "new"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = one_line(end(process), status=3)
    kept = place / "new-parity-failed"
    assert said.startswith(f"parity failed on {machine.instruction_set()}: relative error ")
    assert f"kept as {kept}, not to be shipped" in said
    assert sorted(path.name for path in place.iterdir()) == ["keep", kept.name]
    found = artifact.read(kept)
    assert found.manifest.parity[0].passed is False
    assert found.manifest.parity[0].tolerance == 1e-12


# Artifacts


def _artifact(folder: Path, target: str = "executorch", labels: Sequence[str] = ("cat", "dog", "car")) -> Path:
    """An artifact whose model is a few bytes that no runtime takes."""
    folder.mkdir(parents=True)
    model = folder / TARGETS[target].file
    if target == "coreml":
        model.mkdir()
        model = model / "weight.bin"
    model.write_bytes(b"no model at all")
    (folder / artifact.LABELS).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    manifest = Manifest(
        model=model_info("volo_cifar10", (64, 64), 3, "weights.pth"),
        target=target,
        backend=TARGETS[target].backends[0],
        minimum_ios=16 if target == "coreml" else None,
        quantization=artifact.Quantization("fp32", None),
        preprocessing=Preprocessing.from_crop((64, 64), 0.96),
        files=artifact.describe_files(folder, TARGETS[target].file, ()),
        graph=artifact.Graph(None, (), 1, {}),
        parity=(not_run("nobody ran it", 1e-4),),
        selftest=artifact.Selftest((), "float reference", 1e-4),
        tools={},
    )
    artifact.write_manifest(folder, manifest)
    return folder


def _change(**fields: Any) -> Callable[[Path], None]:
    """Changes fields of an artifact's manifest; ... takes one out."""

    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        values = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))

    return change


def _file(role: str, **fields: Any) -> Callable[[Path], None]:
    """Changes what an artifact's manifest says of one of its files."""

    def change(folder: Path) -> None:
        found = json.loads((folder / "manifest.json").read_text())["files"]
        found[role] = found.get(role, {"path": "", "bytes": 0, "sha256": ""}) | fields
        _change(files=found)(folder)

    return change


def _write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


BAD_ARTIFACTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone", shutil.rmtree, "is not there"),
    ("a file", lambda folder: (shutil.rmtree(folder), folder.touch()), "is no artifact (it holds no manifest.json)"),
    ("no manifest", lambda folder: (folder / "manifest.json").unlink(), "is no artifact (it holds no manifest.json)"),
    ("empty manifest", _write("manifest.json", b""), "is damaged"),
    ("no JSON", _write("manifest.json", b"{]"), "is damaged"),
    ("no text", _write("manifest.json", b"\xff\xfe\x00"), "is damaged"),
    ("a list", _write("manifest.json", b"[]"), "is damaged"),
    ("too deep", _write("manifest.json", b"[" * 100_000), "is damaged"),
    ("empty object", _write("manifest.json", b"{}"), "is no manifest: model: Field required"),
    ("missing field", _change(parity=...), "is no manifest: parity: Field required"),
    ("unknown field", _change(colour="red"), "is no manifest: colour: Unexpected keyword argument"),
    ("wrong type", _change(graph=[]), "is no manifest: graph: "),
    ("bad preprocessing", _change(preprocessing={"resize_to": [0, 0], "crop": [1, 1]}), "resize_to must be"),
    ("later format", _change(format_version=4), "is of format 4, and this volo-edge reads 3: update it"),
    (
        "earlier format",
        _change(format_version=1),
        "of format 1, and this volo-edge reads 3: convert the model again",
    ),
    ("odd format", _change(format_version="one"), "is no manifest: format_version"),
    ("unknown target", _change(target="tflite"), "no target is called 'tflite'"),
    ("no files", _change(files={}), "names no file for 'model'"),
    ("changed model", _write("model.pte", b"no model at alk"), "model.pte is not the file the manifest names"),
    ("missing model", lambda folder: (folder / "model.pte").unlink(), "has no model.pte: it is incomplete"),
    ("other labels", _write("labels.txt", b"a\nb\nc\n"), "labels.txt is not the file the manifest names"),
    ("path up", _file("model", path="../secret"), "the path of 'model' leads out of"),
    ("path elsewhere", _file("model", path="/etc/passwd"), "the path of 'model' leads out of"),
    ("null in a path", _file("model", path="a\0b"), "manifest.json"),
    ("link", lambda folder: _link_out(folder / "model.pte"), "the path of 'model' leads out of"),
    ("no model", lambda folder: None, "model.pte"),
]


def _link_out(path: Path) -> None:
    path.rename(path.parent.parent / "model.pte")
    path.symlink_to("../model.pte")


@pytest.mark.parametrize("verb", ["inspect", "predict"])
@pytest.mark.parametrize(
    ("damage", "said"), [case[1:] for case in BAD_ARTIFACTS], ids=[case[0] for case in BAD_ARTIFACTS]
)
def test_bad_artifacts(tmp_path: Path, verb: str, damage: Callable[[Path], object], said: str) -> None:
    (tmp_path / "secret").write_text("the user's own")
    folder = _artifact(tmp_path / "artifact")
    damage(folder)
    photo = DEMO_VALIDATION / "cat" / find_images(DEMO_VALIDATION / "cat").files[0]
    message = refusal(verb, folder, *[photo][: verb == "predict"])
    assert said in message and str(folder) in message


def test_labels_that_are_not_as_many_as_the_classes(tmp_path: Path) -> None:
    assert "2 names for 3 classes" in refusal("inspect", _artifact(tmp_path / "few", labels=("cat", "dog")))


def test_a_label_is_a_line_and_not_what_else_may_end_one(tmp_path: Path) -> None:
    labels = ("cat\u2028or lynx", "dog\x0b", "")
    assert artifact.read(_artifact(tmp_path / "odd", labels=labels)).labels == labels


@pytest.mark.parametrize(("target", "said"), [("coreml", "is damaged"), ("executorch", "cannot load")])
def test_a_model_that_no_runtime_takes(tmp_path: Path, target: str, said: str) -> None:
    assert said in refusal("predict", _artifact(tmp_path / "artifact", target), DEMO_VALIDATION)


def test_photographs_that_are_not_there(tmp_path: Path) -> None:
    folder = _artifact(tmp_path / "artifact")
    assert "there is no image or folder at" in refusal("predict", folder, tmp_path / "absent.jpg")
    (tmp_path / "empty").mkdir()
    assert f"no image in '{tmp_path / 'empty'}'" in refusal("predict", folder, tmp_path / "empty")


@pytest.mark.slow
def test_photographs_that_are_none(tmp_path: Path, executorch_artifact: Converted) -> None:
    broken = _broken(tmp_path / "broken")
    assert f"cannot read image '{broken / 'a.jpg'}'" in refusal("predict", executorch_artifact[0], broken / "a.jpg")
    assert "none of the 2 files can be read as an image" in refusal("predict", executorch_artifact[0], broken)
    half = tmp_path / "half.jpg"
    half.write_bytes((DEMO_CALIBRATION / "cat" / "0000.jpg").read_bytes()[:600])
    assert f"cannot read image '{half}'" in refusal("predict", executorch_artifact[0], half, DEMO_VALIDATION)
