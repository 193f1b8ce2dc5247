"""Writes an app with an artifact in it; and refreshes one later, without losing what a person has changed in it.

`.volo-edge.json` in the app says which files were written and what was in them. A file that still holds that is
volo-edge's and may be replaced or removed; one that holds something else is the person's.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from volo_edge import apps, artifact, files, inputs, outputs
from volo_edge.artifact import Artifact, Manifest
from volo_edge.errors import RequestError, did_you_mean, few

PLATFORMS = {"ios": "Artifact", "android": "app/src/main/assets/artifact"}  # and where in the app the artifact is
RECORD = ".volo-edge.json"
KIND = outputs.Kind("app", RECORD, ("platform", "files"))

# What Xcode, XcodeGen, Swift, Gradle and Android Studio leave in a folder that they have worked in.
_LEFT_BEHIND = {".build", ".gradle", ".idea", ".kotlin", "DerivedData", "Info.plist", "build", "local.properties"}

Hashes = dict[str, set[str]]  # of each file by its path in the app: what volo-edge may have put there


@dataclass(frozen=True)
class App:
    """An app that was written.

    Args:
        platform: "ios" or "android".
        folder: where it is.
        manifest: of the artifact in it.
        written: how many files were new or changed.
        removed: how many, of an earlier artifact or version, were removed.
        kept: files that a person has changed and volo-edge has not, by their path in the app.
    """

    platform: str
    folder: Path
    manifest: Manifest
    written: int
    removed: int
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Changes:
    """What is to be done to an app; `lost` is what of a person's edits would go with it."""

    write: tuple[str, ...]
    remove: tuple[str, ...]
    kept: tuple[str, ...]
    lost: tuple[str, ...]


def make(platform: str, source: Path, output: Path, force: bool) -> App:
    """Write an app for `platform` with the artifact in `source`, or refresh the one that is in `output`.

    Raises:
        RequestError: the platform cannot run the artifact, the artifact is damaged, `output` is something else, or
            edits would be lost and `force` is not given.
    """
    if platform not in PLATFORMS:
        raise RequestError(f"no platform is called '{platform}': {did_you_mean(platform, list(PLATFORMS))}")
    found = artifact.read(source)
    check_runnable(platform, found.manifest)
    sources = _template(platform) | _artifact(found, PLATFORMS[platform])
    hashes = {name: files.sha256(path) for name, path in sources.items()}
    with outputs.owned(output) as place:
        known = _read_record(output)
        for name in known.keys() | hashes.keys():  # a record comes with the app, and nobody vouches for it
            if files.within(output, name, f"a file that {output / RECORD} names").is_dir():
                raise RequestError(f"{output / name} is a folder, and the app has a file there: move it away")
        changes = _compare(output, hashes, known, force)
        if changes.lost:
            raise RequestError(
                f"{output}: edits in {few(changes.lost)} would be lost: keep a copy of them and pass --force, or pass "
                "another --output"
            )
        if output.exists():
            _write(output, place.new, platform, sources, hashes, changes, known)
        else:
            with outputs.new_folder(output, KIND) as folder:
                _write(folder.working, place.home / "file", platform, sources, hashes, changes, {})
    return App(platform, output, found.manifest, len(changes.write), len(changes.remove), changes.kept)


def check_runnable(platform: str, manifest: Manifest) -> None:
    """RequestError where no phone of this platform runs the artifact."""
    if platform == "android" and manifest.target != "executorch":
        raise RequestError(f"Android does not run {manifest.target} files: convert with --target executorch")
    if platform == "android" and manifest.backend != "xnnpack":
        raise RequestError(f"Android has no {manifest.backend}: convert with --target executorch --backend xnnpack")


def _template(platform: str) -> dict[str, Path]:
    """The files of an app without an artifact, by their path in it."""
    root = Path(apps.__file__).parent / platform
    return {
        name.as_posix(): root / name
        for name in sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
        if _LEFT_BEHIND.isdisjoint(name.parts) and not any(part.endswith(".xcodeproj") for part in name.parts)
    }


def _artifact(found: Artifact, place: str) -> dict[str, Path]:
    """The artifact's files, by their path in an app that has it at `place`."""
    paths = [found.folder / files.MANIFEST]
    for info in found.manifest.files.values():
        path = found.folder / info.path
        paths += [inner for inner in sorted(path.rglob("*")) if inner.is_file()] if path.is_dir() else [path]
    return {f"{place}/{path.relative_to(found.folder).as_posix()}": path for path in paths}


def _read_record(output: Path) -> Hashes:
    """What volo-edge wrote into `output`; nothing for a folder that is empty or not there."""
    if not os.path.lexists(output) or (output.is_dir() and not any(output.iterdir())):
        return {}
    try:
        written = inputs.parse_json(inputs.read_bytes(output / RECORD))["files"]
        if not all(isinstance(one, str) for hashes in written.values() for one in hashes):
            raise TypeError("a hash is text")
        return {name: set(hashes) for name, hashes in written.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RequestError):
        raise RequestError(
            f"{output} exists and is no app that volo-edge wrote (it has no {RECORD} to say so): pass another --output"
        ) from None


def _compare(output: Path, hashes: Mapping[str, str], known: Hashes, force: bool) -> _Changes:
    write: list[str] = []
    remove: list[str] = []
    kept: list[str] = []
    lost: list[str] = []
    for name, wanted in hashes.items():
        there = _hash(output / name)
        if there == wanted:
            continue
        if force or there is None or there in known.get(name, ()):
            write.append(name)
        elif known.get(name) == {wanted}:  # the app's part has not changed since, and the person's is newer
            kept.append(name)
        else:
            lost.append(name)
    for name in known.keys() - hashes.keys():
        there = _hash(output / name)
        if there is not None:
            (remove if force or there in known[name] else lost).append(name)
    return _Changes(tuple(write), tuple(sorted(remove)), tuple(kept), tuple(sorted(lost)))


def _hash(path: Path) -> str | None:
    """Of a file; None where there is none."""
    return files.sha256(path) if path.is_file() else None


def _write(
    folder: Path,
    working: Path,
    platform: str,
    sources: Mapping[str, Path],
    hashes: Mapping[str, str],
    changes: _Changes,
    known: Hashes,
) -> None:
    """Do what is to be done. Interrupted, it is gone on with by the next call: until the end the record says both.

    Each file is written to `working` and renamed.
    """
    now: Hashes = {name: {wanted} for name, wanted in hashes.items()}
    both = {name: now.get(name, set()) | known.get(name, set()) for name in now.keys() | known.keys()}
    _write_record(folder, working, platform, both)
    for name in changes.write:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[name], working)
        os.replace(working, path)
    for name in changes.remove:
        path = folder / name
        path.unlink()
        for parent in path.parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()
    _write_record(folder, working, platform, now)


def _write_record(folder: Path, working: Path, platform: str, hashes: Hashes) -> None:
    record = {"platform": platform, "files": {name: sorted(hashes[name]) for name in sorted(hashes)}}
    files.write_text(working, json.dumps(record, indent=1) + "\n")
    os.replace(working, folder / RECORD)
