"""The Core ML package inside a Core ML delegate of an ExecuTorch program: unpacked where coremltools can read it, and
written so that the same program has the same bytes.

Layout, from executorch 1.5.1, `backends/apple/coreml/runtime/inmemoryfs`: the files' bytes one after another, then
their index, a JSON object written backwards so that it can be read from the end. Of its nodes each folder (kind 1)
comes after all that is in it, the root last. executorch's own reader of it ends the process on a damaged index, and
writes wherever the names in it say; its own writer puts files in the order that the file system lists them.

Beside the package are `metadata.json`, with an identifier under which a phone keeps what it compiles of the package,
and `debug_info.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from volo_edge import files
from volo_edge.errors import RequestError

BACKEND = "CoreMLBackend"
_PACKAGE = "model.mlpackage"
_METADATA = "metadata.json"
_INDEX_BYTES = 1 << 20  # of a model in one package: a dozen files, some 1,200 bytes
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{,199}")  # no "..", no "/"


@contextmanager
def unpacked(payload: bytes, path: str | Path) -> Iterator[Path]:
    """The .mlpackage folder of a delegate's `payload`, there until the end of the `with`.

    A RequestError from within, about the package, says the program's `path` in its stead; one is raised where the
    payload is damaged or holds something else.
    """
    with TemporaryDirectory() as folder:
        package = Path(folder, _PACKAGE)
        try:
            _unpack(payload, Path(folder))
            if not package.is_dir():
                raise ValueError(f"it holds no {_PACKAGE}")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            detail = " ".join((str(error) if isinstance(error, ValueError) else repr(error)).split())[:120]
            raise RequestError(f"the Core ML delegate of {path} is damaged ({detail}): convert it again") from error
        try:
            yield package
        except RequestError as error:
            raise type(error)(str(error).replace(str(package), f"the Core ML package in {path}")) from error


def canonical(payload: bytes) -> bytes:
    """A delegate's `payload` as executorch writes it, with bytes that depend on the program alone.

    The random identifier becomes one of the package's contents: packages that differ must not share what is compiled.
    """
    from volo_edge.converters.coreml.canonical import make_canonical

    with TemporaryDirectory() as folder:
        root = Path(folder)
        _unpack(payload, root)
        make_canonical(root / _PACKAGE)
        metadata = json.loads((root / _METADATA).read_text(encoding="utf-8"))
        metadata["identifier"] = f"executorch_{uuid5(NAMESPACE_URL, files.sha256(root / _PACKAGE))}"
        files.write_text(root / _METADATA, json.dumps(metadata))
        return _packed(root)


def _packed(folder: Path) -> bytes:
    """A payload of what is in `folder`, sorted by name."""
    nodes: list[dict[str, Any]] = []
    data = bytearray()

    def add(path: Path, name: str) -> int:
        """The number of the entry that `path` got, after those of all that is in it."""
        if path.is_dir():
            children = {child.name: add(child, child.name) for child in sorted(path.iterdir())}
            region = {"offset": 0, "size": 0}
        else:
            children, region = {}, {"offset": len(data), "size": path.stat().st_size}
            data.extend(path.read_bytes())
        nodes.append({"children": children, "dataRegion": region, "kind": int(path.is_dir()), "name": name})
        return len(nodes) - 1

    add(folder, "lowered_module")
    index = json.dumps({"nodes": nodes}, separators=(",", ":")).encode()
    return bytes(data) + index[::-1]


def _unpack(payload: bytes, folder: Path) -> None:
    """Write what the root holds into `folder`; ValueError, LookupError, TypeError or AttributeError where damaged."""
    backwards = payload[: -_INDEX_BYTES - 1 : -1].decode("utf-8", "replace")
    nodes = json.JSONDecoder().raw_decode(backwards)[0]["nodes"]
    places = {len(nodes) - 1: folder}
    for index in range(len(nodes) - 1, -1, -1):
        if index not in places:
            raise ValueError(f"entry {index} of its index is in no folder")
        node, place = nodes[index], places[index]
        if node["kind"] == 1 or place is folder:
            place.mkdir(exist_ok=True)
            for name, child in node["children"].items():
                if not _NAME.fullmatch(name) or not 0 <= child < index:
                    raise ValueError(f"its index names {name!r} as entry {child} of {len(nodes)}")
                places[child] = place / name
        else:
            start, size = node["dataRegion"]["offset"], node["dataRegion"]["size"]
            if not 0 <= start <= start + size <= len(payload):
                raise ValueError(f"{place.name} ends outside it")
            place.write_bytes(payload[start : start + size])
