"""`volo-edge app`: an app appears whole, is refreshed, and keeps what a person has changed in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import contents, refusal, run, untouched
from tests.test_artifact import change, write
from volo_edge import app, artifact, files
from volo_edge.apps import goldens
from volo_edge.errors import RequestError

ARTIFACT = goldens.FOLDERS[0] / "artifact"


def coreml(folder: Path) -> Path:
    """A Core ML artifact; its model is none."""
    write(folder, target="coreml", backend="coreml", minimum_ios=16)
    (folder / "model.pte").unlink()
    (folder / "VOLO.mlpackage" / "Data").mkdir(parents=True)
    (folder / "VOLO.mlpackage" / "Manifest.json").write_text("{}")
    (folder / "VOLO.mlpackage" / "Data" / "weight.bin").write_bytes(b"weights")
    path = folder / "VOLO.mlpackage"
    info = {"path": "VOLO.mlpackage", "bytes": files.size(path), "sha256": files.sha256(path)}
    change(folder, "files", "model", value=info)
    return folder


@pytest.mark.parametrize(("platform", "place"), app.PLATFORMS.items())
def test_an_app_is_the_template_with_the_artifact_in_it(tmp_path: Path, platform: str, place: str) -> None:
    output = tmp_path / "new" / "app"
    ended = run("app", platform, ARTIFACT, "--output", output, "--json")
    assert ended.status == 0, ended.err
    said = json.loads(ended.out)
    assert (said["app"], said["kept"], said["removed"]) == (str(output), [], 0)
    assert artifact.read(output / place).manifest.model.name == "volo_small"
    written = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert len(written) == said["written"] + 1  # and the record
    assert {".gitignore", app.RECORD} <= written
    assert {path.name for path in output.parent.iterdir()} == {"app"}


def test_what_builds_the_apps_names_files_that_are_there(tmp_path: Path) -> None:
    app.make("ios", coreml(tmp_path / "artifact"), tmp_path / "app", force=False)
    for spec in ("project.yml", "executorch.yml", "coreai.yml"):
        target = yaml.safe_load((tmp_path / "app" / spec).read_text())["targets"]["VoloEdge"]
        for source in target.get("sources", ()):
            assert (tmp_path / "app" / source["path"]).is_dir()
    assert (tmp_path / "app" / "Artifact" / "VOLO.mlpackage" / "Data" / "weight.bin").read_bytes() == b"weights"


def test_a_person_is_told_what_to_do_next(tmp_path: Path) -> None:
    said = run("app", "ios", ARTIFACT, "--output", tmp_path / "a").out
    assert "xcodegen --spec executorch.yml" in said  # it is an ExecuTorch program
    assert f"volo-edge benchmark {ARTIFACT} --device ios --app {tmp_path / 'a'}" in said
    assert "Android Studio" in run("app", "android", ARTIFACT, "--output", tmp_path / "b").out
    write(tmp_path / "coreai", target="coreai", backend="coreai", minimum_ios=27)
    assert "xcodegen --spec coreai.yml" in run("app", "ios", tmp_path / "coreai", "--output", tmp_path / "c").out


@pytest.mark.parametrize(
    ("platform", "changes", "said"),
    [
        ("android", {"target": "coreml", "backend": "coreml"}, "Android does not run coreml files: convert with"),
        ("android", {"target": "coreai", "backend": "coreai"}, "Android does not run coreai files: convert with"),
        ("android", {"target": "executorch", "backend": "coreml"}, "Android has no coreml: convert with"),
        ("windows", {}, "no platform is called 'windows'"),
    ],
)
def test_what_a_platform_cannot_run_is_refused(
    tmp_path: Path, platform: str, changes: dict[str, Any], said: str
) -> None:
    write(tmp_path / "artifact", **changes)
    with untouched(tmp_path):
        assert said in refusal("app", platform, tmp_path / "artifact", "--output", tmp_path / "app")


def test_a_damaged_artifact_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "artifact")
    (tmp_path / "artifact" / "model.pte").write_bytes(b"other")
    with untouched(tmp_path):
        said = refusal("app", "android", tmp_path / "artifact", "--output", tmp_path / "app")
    assert "is not the file the manifest names" in said


def test_a_folder_that_is_no_app_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with untouched(tmp_path):
        for name in ("notes", "file"):
            for force in ((), ("--force",)):
                said = refusal("app", "ios", ARTIFACT, "--output", tmp_path / name, *force)
                assert "is no app that volo-edge wrote" in said


@pytest.mark.parametrize("hashes", [[1], [None, "a"], 3, [["a"]]])
def test_a_record_whose_hashes_are_none_is_no_apps(tmp_path: Path, hashes: object) -> None:
    (tmp_path / ".volo-edge.json").write_text(json.dumps({"platform": "ios", "files": {"a": hashes}}))
    with pytest.raises(RequestError, match="is no app that volo-edge wrote"):
        app.make("ios", ARTIFACT, tmp_path, force=False)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert app.make("ios", ARTIFACT, tmp_path, force=False).written > 0


def test_another_artifact_takes_the_place_of_the_first(tmp_path: Path) -> None:
    output = tmp_path / "app"
    app.make("ios", ARTIFACT, output, force=False)
    built = output / "build" / "VoloEdge.app"
    built.parent.mkdir()
    built.write_text("built")
    result = app.make("ios", coreml(tmp_path / "artifact"), output, force=False)
    assert artifact.read(output / "Artifact").manifest.target == "coreml"
    assert not (output / "Artifact" / "model.pte").exists() and result.removed > 0
    assert result.written < 12  # the template's files were what they are
    assert built.read_text() == "built"
    app.make("ios", ARTIFACT, output, force=False)
    assert not (output / "Artifact" / "VOLO.mlpackage").exists()  # no empty folder stays
    assert app.make("ios", ARTIFACT, output, force=False).written == 0


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Callable[[], None]]:
    """An app whose project.yml a person has edited, and what brings a later volo-edge with another project.yml."""
    output = tmp_path / "app"
    app.make("ios", ARTIFACT, output, force=False)
    with (output / "project.yml").open("a") as file:
        file.write("# mine\n")
    template = app._template("ios")

    def update() -> None:
        later = tmp_path / "later.yml"
        later.write_text("name: Later\n")
        monkeypatch.setattr(app, "_template", lambda platform: template | {"project.yml": later})

    return output, update


def test_an_edit_stays_where_ours_is_what_it_was(edited: tuple[Path, Callable[[], None]]) -> None:
    output, _ = edited
    (output / "executorch.yml").unlink()
    result = app.make("ios", ARTIFACT, output, force=False)
    assert result.kept == ("project.yml",)
    assert "# mine" in (output / "project.yml").read_text()
    assert (output / "executorch.yml").exists() and result.written == 1
    app.make("ios", ARTIFACT, output, force=True)
    assert "# mine" not in (output / "project.yml").read_text()


def test_an_edit_that_would_be_lost_stops_everything(edited: tuple[Path, Callable[[], None]]) -> None:
    output, update = edited
    update()
    with untouched(output), pytest.raises(RequestError, match=r"edits in 'project\.yml' would be lost.*--force"):
        app.make("ios", ARTIFACT, output, force=False)
    app.make("ios", ARTIFACT, output, force=True)
    assert (output / "project.yml").read_text() == "name: Later\n"


def test_what_nobody_edited_is_refreshed(
    edited: tuple[Path, Callable[[], None]],
) -> None:
    output, update = edited
    app.make("ios", ARTIFACT, output, force=True)
    update()
    assert app.make("ios", ARTIFACT, output, force=False).written == 1
    assert (output / "project.yml").read_text() == "name: Later\n"


def test_an_edited_file_of_the_earlier_artifact_is_not_removed(tmp_path: Path) -> None:
    output = tmp_path / "app"
    app.make("ios", ARTIFACT, output, force=False)
    (output / "Artifact" / "model.pte").write_bytes(b"mine")
    with untouched(output), pytest.raises(RequestError, match=r"edits in 'Artifact/model\.pte' would be lost"):
        app.make("ios", coreml(tmp_path / "artifact"), output, force=False)


@pytest.mark.parametrize("then", ["back", "on"])
def test_a_refresh_that_was_interrupted_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    output = tmp_path / "app"
    app.make("ios", ARTIFACT, output, force=False)
    copied: list[Path] = []

    def interrupted(source: Path, target: Path) -> None:
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(target)
        target.write_bytes(source.read_bytes())

    with monkeypatch.context() as patched:
        patched.setattr(app.shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            app.make("ios", coreml(tmp_path / "artifact"), output, force=False)
    assert {path.name for path in tmp_path.iterdir()} == {"app", "artifact"}  # no half-written file is left
    source = ARTIFACT if then == "back" else tmp_path / "artifact"
    assert app.make("ios", source, output, force=False).kept == ()  # without --force
    app.make("ios", source, tmp_path / "fresh", force=False)
    assert contents(output) == contents(tmp_path / "fresh")
