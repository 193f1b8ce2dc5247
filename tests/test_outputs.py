"""Outputs have one writer, replace only what volo-edge wrote, and leave nothing behind, whoever is killed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import contents, refusal, signals_are_heard, untouched
from tests.test_artifact import write
from volo_edge import files, outputs
from volo_edge import request as convert
from volo_edge.benchmark.request import KIND as BENCHMARK
from volo_edge.devices.benchmark import KIND as DEVICE_RESULTS
from volo_edge.errors import RequestError
from volo_edge.evaluate import request as evaluate
from volo_edge.outputs import ARTIFACT, Kind, new_file, new_folder, owned
from volo_edge.reference.request import KIND as REFERENCE
from volo_edge.report.contents import KIND as REPORT
from volo_edge.sensitivity.request import KIND as SENSITIVITY

FOLDERS = (ARTIFACT, REPORT, SENSITIVITY, BENCHMARK)
HOLD = """
import sys, time
from pathlib import Path
from volo_edge.outputs import owned
with owned(Path(sys.argv[1])) as place:
    place.new.mkdir()
    (place.new / "half").write_text("half")
    print("held", flush=True)
    time.sleep(60)
"""


def holder(output: Path) -> subprocess.Popen[str]:
    """Another process that works for `output`."""
    command = [sys.executable, "-c", HOLD, output]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=signals_are_heard)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def earlier(path: Path, kind: Kind, **more: str) -> None:
    """A folder of that kind, as volo-edge leaves it, with `more` files."""
    path.mkdir(parents=True)
    values: dict[str, Any] = dict.fromkeys(kind.keys, 1)
    if kind is ARTIFACT:
        values["files"] = {"model": {"path": "VOLO.mlpackage"}, "labels": {"path": "labels.txt"}}
        more |= {"VOLO.mlpackage/Data/weights": "weights", "labels.txt": "cat"}
    assert kind.mark is not None
    for name in kind.names(values):
        more.setdefault(name, "ours")
    for name, text in more.items():
        inner = path / name
        if not inner.is_dir():
            inner.parent.mkdir(parents=True, exist_ok=True)
            inner.write_text(text)
    (path / kind.mark).write_text(json.dumps(values))


def test_the_second_of_two_writers_is_refused_at_once_and_told_by_whom(tmp_path: Path) -> None:
    process = holder(tmp_path / "out")
    try:
        said = rf"another volo-edge \(process {process.pid} on .*\) is working for"
        with pytest.raises(RequestError, match=said), owned(tmp_path / "out"):
            pass
        os.symlink(tmp_path / "out", tmp_path / "link")  # by another name
        with pytest.raises(RequestError, match="another volo-edge"), owned(tmp_path / "x" / ".." / "link"):
            pass
        with pytest.raises(RequestError, match=said):  # before the work
            outputs.check(tmp_path / "out", REPORT, force=True)
        with owned(tmp_path / "other"):
            pass
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_what_a_killed_writer_left_is_cleaned_up_by_the_next(tmp_path: Path, number: signal.Signals) -> None:
    process = holder(tmp_path / "out")
    process.send_signal(number)
    process.wait()
    assert (tmp_path / ".out.volo-edge" / "new" / "half").exists()
    with owned(tmp_path / "out") as place:
        assert not place.new.exists()
    assert contents(tmp_path) == {}


def test_an_output_whose_name_was_taken_away_by_a_killed_writer_gets_it_back(tmp_path: Path) -> None:
    earlier(tmp_path / "out", REPORT)
    before = contents(tmp_path)
    (tmp_path / ".out.volo-edge").mkdir()
    (tmp_path / "out").rename(tmp_path / ".out.volo-edge" / "old")
    with owned(tmp_path / "out"):
        pass
    assert contents(tmp_path) == before


def test_state_stays_and_nothing_else(tmp_path: Path) -> None:
    with owned(tmp_path / "a" / "out") as place:
        place.state.mkdir()
        (place.state / "rows").write_text("rows")
        (place.home / "more").write_text("more")
    names = ["a", "a/.out.volo-edge", "a/.out.volo-edge/state", "a/.out.volo-edge/state/rows"]
    assert sorted(contents(tmp_path)) == names


def test_folders_made_on_the_way_go_where_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "a" / "b" / "out", REPORT):
        raise ZeroDivisionError
    assert contents(tmp_path) == {}


def test_a_writer_may_ask_again_and_its_threads_may_not(tmp_path: Path) -> None:
    said: list[str] = []

    def other() -> None:
        try:
            with owned(tmp_path / "out"):
                said.append("held twice")
        except RequestError as error:
            said.append(str(error))

    with owned(tmp_path / "out") as place, owned(tmp_path / "out") as again:
        assert again is place
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"process {os.getpid()}" in said[0]
    with owned(tmp_path / "out"):
        pass
    assert contents(tmp_path) == {}


def test_many_writers_one_after_the_other_never_work_at_once(tmp_path: Path) -> None:
    """The lock file is removed by each that is done, while others are opening it."""
    code = (
        "import sys, os, time\nfrom pathlib import Path\nfrom volo_edge.errors import RequestError\n"
        "from volo_edge.outputs import owned\nend = time.monotonic() + 2\ndone = 0\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        with owned(Path(sys.argv[1])):\n"
        "            os.mkdir(sys.argv[2])\n"  # fails where another is at work
        "            os.rmdir(sys.argv[2])\n"
        "            done += 1\n"
        "    except RequestError:\n        pass\n"
        "print(done)"
    )
    command = [sys.executable, "-c", code, tmp_path / "out", tmp_path / "at work"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0] and sum(map(int, counts)) > 20
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_is_refused_or_taken_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RequestError, match=r"has no locks.*VOLO_EDGE_NO_LOCK=1"), owned(tmp_path / "out"):
        pass
    monkeypatch.setenv("VOLO_EDGE_NO_LOCK", "1")
    with owned(tmp_path / "out"):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.what)
def test_an_earlier_output_is_replaced_when_asked(tmp_path: Path, kind: Kind) -> None:
    earlier(tmp_path / "out", kind, **{".DS_Store": "Finder"})
    with untouched(tmp_path), pytest.raises(RequestError, match="exists already: pass --force"):
        outputs.check(tmp_path / "out", kind, force=False)
    with new_folder(tmp_path / "out", kind, force=True) as folder:
        (folder.working / "new").write_text("new")
    assert contents(tmp_path) == {"out": None, "out/new": b"new"}


def test_an_output_that_is_there_stops_the_work_before_it_begins(tmp_path: Path) -> None:
    earlier(tmp_path / "out", ARTIFACT)
    data = tmp_path / "photographs"
    data.mkdir()
    begun = []
    with untouched(tmp_path):
        with pytest.raises(RequestError, match="exists already"), new_folder(tmp_path / "out", ARTIFACT):
            begun.append("artifact")
        with pytest.raises(RequestError, match="exists already"):
            convert.check(convert.Request("executorch", output=tmp_path / "out"))
        with pytest.raises(RequestError, match="is no report"):
            evaluate.check(evaluate.Request((tmp_path / "out",), data, output=tmp_path / "out", force=True))
    assert begun == []


def test_what_is_written_is_for_whom_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with new_folder(tmp_path / "out", REPORT) as folder:
            (folder.working / "report.json").write_text("{}")
        with new_file(tmp_path / "a.npz", REFERENCE) as path:
            path.write_text("x")
    finally:
        os.umask(before)
    names = ("out", "out/report.json", "a.npz")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in names] == [0o750, 0o640, 0o640]


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.what)
def test_an_output_with_other_files_in_it_stays_and_they_are_named(tmp_path: Path, kind: Kind) -> None:
    earlier(tmp_path / "out", kind, **{"notes.txt": "mine", "sub/mine.txt": "mine"})
    said = r"did not write \('notes.txt', 'sub/mine.txt'\)"
    with untouched(tmp_path), pytest.raises(RequestError, match=said), new_folder(tmp_path / "out", kind, force=True):
        pass


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: kind.what)
@pytest.mark.parametrize(
    "text", ['{"manifest_version": 3, "name": "x"}', "{", "[]", "[" * 100_000, '"' + "x" * 9, "\xff"]
)
def test_a_folder_with_a_file_of_that_name_that_is_not_ours_stays(tmp_path: Path, kind: Kind, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / str(kind.mark)).write_text(text, encoding="latin-1")
    said = f"is no {kind.what}"
    with untouched(tmp_path), pytest.raises(RequestError, match=said), new_folder(tmp_path / "out", kind, force=True):
        pass


@pytest.mark.parametrize(
    "named", ["x", [], {"model": 3}, {"model": {"path": 3}}, {"a": {"path": "."}, "b": {"path": ""}}]
)
def test_a_manifest_that_names_no_files_allows_nothing(tmp_path: Path, named: Any) -> None:
    (tmp_path / "out").mkdir()
    values = {"format_version": 3, "target": "coreml", "quantization": {}, "files": named}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(values))
    (tmp_path / "out" / "mine").write_text("mine")
    said = r"damaged|did not write"
    with untouched(tmp_path), pytest.raises(RequestError, match=said), new_folder(tmp_path / "out", ARTIFACT, True):
        pass


def test_a_file_that_came_while_the_work_went_on_is_not_lost(tmp_path: Path) -> None:
    earlier(tmp_path / "out", REPORT)
    with pytest.raises(RequestError, match="did not write"), new_folder(tmp_path / "out", REPORT, force=True):
        (tmp_path / "out" / "mine").write_text("mine")
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    assert not (tmp_path / ".out.volo-edge").exists()


def test_a_file_that_came_at_the_last_moment_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look and the new name."""
    earlier(tmp_path / "out", REPORT)
    rename = Path.rename

    def late(path: Path, target: Path) -> Path:
        if Path(target).name == "old":
            (path / "mine").write_text("mine")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with pytest.raises(RequestError, match="did not write"), new_folder(tmp_path / "out", REPORT, force=True):
        pass
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    assert not (tmp_path / ".out.volo-edge").exists()


def test_an_output_that_appeared_while_the_work_went_on_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="exists already"), new_folder(tmp_path / "out", REPORT):
        earlier(tmp_path / "out", REPORT)
    with pytest.raises(RequestError, match="is no float reference"), new_file(tmp_path / "a.npz", REFERENCE):
        (tmp_path / "a.npz").write_text("another's")
    assert (tmp_path / "a.npz").read_text() == "another's"


def test_an_output_that_holds_an_input_stays(tmp_path: Path) -> None:
    earlier(tmp_path / "out", ARTIFACT)
    os.symlink(tmp_path / "out" / "VOLO.mlpackage", tmp_path / "link")
    for given in (tmp_path / "out", tmp_path / "out" / "labels.txt", tmp_path / "link" / "Data"):
        with untouched(tmp_path), pytest.raises(RequestError, match=f"{given} is in .*out, which is to be replaced"):
            outputs.check(tmp_path / "out", ARTIFACT, True, (None, given))


def npz(path: Path, *names: str) -> None:
    with path.open("wb") as file:
        np.savez(file, **dict.fromkeys(names, np.zeros(1)))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (REFERENCE, lambda path: npz(path, *REFERENCE.keys)),
        (DEVICE_RESULTS, lambda path: path.write_text(json.dumps(dict.fromkeys(DEVICE_RESULTS.keys, 1)))),
    ],
    ids=["reference", "device results"],
)
def test_a_file_of_ours_is_replaced_when_asked(tmp_path: Path, kind: Kind, make: Callable[[Path], object]) -> None:
    make(tmp_path / "out")
    with new_file(tmp_path / "out", kind, force=True) as path:
        path.write_text("new")
    assert contents(tmp_path) == {"out": b"new"}


@pytest.mark.parametrize("kind", [REFERENCE, DEVICE_RESULTS], ids=lambda kind: kind.what)
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("mine"),
        lambda path: path.write_bytes(b""),
        lambda path: npz(path, "weights"),
        lambda path: path.mkdir(),
        lambda path: path.write_text("{}"),
        lambda path: os.mkfifo(path),
    ],
    ids=["text", "empty", "arrays", "folder", "object", "pipe"],
)
def test_a_file_that_is_not_ours_stays(tmp_path: Path, kind: Kind, make: Callable[[Path], object]) -> None:
    make(tmp_path / "out")
    said = r"is no .*: pass another --output|is a folder"
    with pytest.raises(RequestError, match=said), new_file(tmp_path / "out", kind, force=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_an_output_is_the_output(tmp_path: Path) -> None:
    earlier(tmp_path / "disk" / "out", REPORT)
    os.symlink(tmp_path / "disk" / "out", tmp_path / "out")
    with new_folder(tmp_path / "out", REPORT, force=True) as folder:
        (folder.working / "new").write_text("new")
    assert (tmp_path / "out").is_symlink() and contents(tmp_path / "disk") == {"out": None, "out/new": b"new"}


def test_a_hidden_folder_that_leads_elsewhere_is_not_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / "mine" / "new").mkdir(parents=True)
    os.symlink(tmp_path / "mine", tmp_path / ".out.volo-edge")
    with untouched(tmp_path), pytest.raises(RequestError, match="is a link"), owned(tmp_path / "out"):
        pass


@pytest.mark.parametrize("name", ["n" * 246, "ä" * 123, "n" * 300, "a\0b", "/"])
def test_a_name_that_cannot_be_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    with untouched(tmp_path), pytest.raises(RequestError, match=r"its name is too long|is no name for"):
        outputs.check(tmp_path / name, ARTIFACT, force=False)


def test_the_longest_name_works(tmp_path: Path) -> None:
    with new_folder(tmp_path / ("n" * 243), ARTIFACT) as folder:
        (folder.working / "x").write_text("x")
    assert (tmp_path / ("n" * 243) / "x").exists()


def test_errors_name_the_output_and_not_a_file_that_is_gone(tmp_path: Path) -> None:
    said = f"^cannot write {tmp_path / 'out'}: Is a directory; pass another --output$"
    with pytest.raises(RequestError, match=said), new_folder(tmp_path / "out", ARTIFACT) as folder:
        folder.working.write_text("x")


@pytest.mark.parametrize(
    "name", ["../mine", "/etc/hostname", "sub/../../mine", "app/../x", "link/mine", "a/\0", ".", ""]
)
def test_an_apps_record_cannot_name_a_file_outside_the_app(tmp_path: Path, name: str) -> None:
    """Such a file was removed, its hash being the one that the record had for it."""
    write(tmp_path / "artifact")
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    output = tmp_path / "app"
    refresh = ("app", "android", tmp_path / "artifact", "--output", output)
    (output / "app").mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", output / "link")
    hashes = [files.sha256(tmp_path / "mine")]
    (output / ".volo-edge.json").write_text(json.dumps({"platform": "android", "files": {name: hashes}}))
    for force in ((), ("--force",)):
        with untouched(tmp_path):
            assert "leads out of" in refusal(*refresh, *force)


def test_an_app_is_not_written_through_a_link(tmp_path: Path) -> None:
    write(tmp_path / "artifact")
    (tmp_path / "elsewhere").mkdir()
    output = tmp_path / "app"
    output.mkdir()
    os.symlink(tmp_path / "elsewhere", output / "core")
    (output / ".volo-edge.json").write_text(json.dumps({"platform": "android", "files": {}}))
    with untouched(tmp_path):
        said = refusal("app", "android", tmp_path / "artifact", "--output", output, "--force")
    assert "leads out of" in said
