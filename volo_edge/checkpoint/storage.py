"""What a checkpoint file holds: nested dictionaries of tensors and plain values. Nothing in it is ever run.

What a file is comes from its first bytes. Objects beside the weights (arguments, configurations, metrics) are stood in
for, whatever their class: the class itself is neither imported nor called.
"""

from __future__ import annotations

import io
import mmap
import pickle
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import torch

from volo_edge import inputs
from volo_edge.checkpoint.hub import brief
from volo_edge.checkpoint.scan import DAMAGED, scan
from volo_edge.errors import RequestError


class Inert:
    """Stands for an object beside the weights (arguments, a metric), and holds the fields that were set on it.

    The unpickler is given a subclass of this in place of each class, so that none of their code runs: numpy's own
    unpickling takes flags and sizes from the file unchecked, which is more than a checkpoint may ask.
    """

    def __new__(cls, *_: Any, **__: Any) -> Any:
        made = super().__new__(cls)
        made.fields = {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        self.fields: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        self.fields = dict(state) if isinstance(state, dict) else {}


class InertDict(Inert):
    """Stands for a class of dictionaries (EasyDict, Lightning's AttributeDict), whose entries are kept."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()  # the unpickler fills nothing else


class InertList(Inert):
    """Stands for a class of lists."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return []


def fields(found: Any) -> Mapping[str, Any]:
    """The entries of a dictionary, or the fields of an object that was stood in for; {} of anything else."""
    found = _content(found)
    if isinstance(found, Inert):
        found = found.fields
    return {name: _content(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def _content(found: Any) -> Any:
    """What omegaconf's nodes hold: a configuration its `_content`, a leaf its `_val`. Anything else is itself."""
    held = found.fields if isinstance(found, Inert) else {}
    if "_val" in held:
        return held["_val"]
    content = held.get("_content", found)
    return [_content(one) for one in content] if isinstance(content, list) and content is not found else content


# Of Python's own, what holds data. The rest of its library acts (os, subprocess, builtins.eval): a file that asks for
# it is not stood in for but refused, though nothing of it would run.
_NUMBERS = ("bool", "bytearray", "bytes", "complex", "float", "int", "range", "slice", "str")
_BUILTIN = (*_NUMBERS, "dict", "frozenset", "getattr", "list", "object", "set", "tuple")
_PLAIN: dict[str, Sequence[str] | None] = {  # members by module; None for all
    "__builtin__": _BUILTIN,
    "argparse": ("Namespace",),
    "builtins": _BUILTIN,
    "collections": None,
    "copy_reg": ("_reconstructor",),
    "copyreg": ("_reconstructor",),
    "datetime": None,
    "decimal": None,
    "enum": None,
    "fractions": None,
    "pathlib": None,
    "pathlib._local": None,
    "types": ("SimpleNamespace",),
    "typing": None,
    "uuid": None,
}
_MOST_CLASSES = 100
_TORCHSCRIPT = "is a TorchScript program; save the model's state dict with torch.save"


def read(path: Path) -> tuple[Any, tuple[str, ...]]:
    """What is in the file, and the names of the classes that were stood in for. Tensors may be mapped from the file.

    Raises:
        RequestError: it is none, damaged, or asks for code.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        raise RequestError("is empty; copy or download it again")
    # a safetensors file: eight bytes with the length of a JSON header (100 MB at most), then the header
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:
        return _safetensors(path), ()
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        zipped = head[:1] == b"P"
        (_scan_archive if zipped else _scan_file)(path)
        # torch.load maps zip files only, and takes a path that ends so for a safetensors file, whatever is in it
        return _torch_file(path, mapped=zipped and not path.name.endswith(".safetensors"))
    if head.startswith(b"version https://git-lfs"):
        raise RequestError("is a Git LFS pointer, not the weights; run `git lfs pull` in its repository")
    raise RequestError("is no checkpoint: give a .pth.tar, .pth or .safetensors file")


def _scan_archive(path: Path) -> None:
    """RequestError where a zip file is none that torch writes, is damaged, or its pickle would do harm."""
    try:
        with zipfile.ZipFile(path) as archive:
            _require_plain(archive, path.stat().st_size)
            _require_whole(archive)
            for info in archive.infolist():
                folder, _, name = info.filename.rpartition("/")
                if name == "data.pkl":
                    start = f"{folder}/data/"
                    records = {
                        record.filename.removeprefix(start): record.file_size
                        for record in archive.infolist()
                        if record.filename.startswith(start)
                    }
                    with path.open("rb") as file:  # and not by `archive`, which reads no record without a checksum
                        file.seek(inputs.stored_at(file, info))
                        scan(io.BytesIO(file.read(info.file_size)), info.file_size, records)
    except RequestError:
        raise
    except Exception:  # whatever bytes that are no zip file make the parser raise
        raise RequestError(DAMAGED) from None


def _scan_file(path: Path) -> None:
    """RequestError where the pickles at the beginning of a file of torch before 1.6 would do harm.

    They are: a number, the format's version, the machine, what was saved, and the keys of the storages that follow.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pickles:
        for _ in range(5):
            if pickles.tell() == len(pickles) or not scan(cast(IO[bytes], pickles), len(pickles), None):
                return  # torch does not read on either


def _require_plain(archive: zipfile.ZipFile, size: int) -> None:
    """RequestError where the records are not stored as they are, one behind the other, as torch does."""
    infos = archive.infolist()
    if any(info.filename.endswith("/constants.pkl") for info in infos):
        raise RequestError(_TORCHSCRIPT)
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise RequestError("is a compressed zip file, and torch writes none: unpack it, and give the checkpoint in it")
    if sum(info.file_size for info in infos) > size or len({info.filename for info in infos}) < len(infos):
        raise RequestError(DAMAGED)


def _require_whole(archive: zipfile.ZipFile) -> None:
    """RequestError where a zip file's checksums are wrong: torch reads past them."""
    small = min(archive.infolist(), key=lambda info: info.file_size, default=None)
    if small is None or not _sound(archive, small):  # torch can be told to write none
        return
    if not all(_sound(archive, info) for info in archive.infolist()):
        raise RequestError("is damaged (its checksums are wrong); copy or download it again")


def _sound(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(info) as member:
            while member.read(1 << 20):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
    except Exception as error:  # as for torch files below
        raise RequestError(f"is truncated or damaged ({brief(error)}); copy or download it again") from None


def _torch_file(path: Path, mapped: bool) -> tuple[Any, tuple[str, ...]]:
    """What `torch.save` wrote; `mapped` reads only the tensors that are used.

    The unpickler stops at the first class that it does not know, or that turns out to be one of dictionaries or lists,
    and names it. That class is stood in for, and it begins again.
    """
    inert: dict[str, type[Inert]] = {}
    while True:
        try:
            return _bare(_unpickled(path, mapped, inert)), tuple(inert)
        except pickle.UnpicklingError as error:
            name, kind = _asked_for(str(error))
            known = inert.get(name)
            if kind is None or (known is not None and (kind is Inert or known.__bases__ == (kind,))):
                raise RequestError(_refusal(name)) from None
            if len(inert) > _MOST_CLASSES or not _holds_data(name):
                raise RequestError(_refusal(name)) from None
            inert[name] = type(name, (kind,), {"__module__": _STAND_IN})


_STAND_IN = "stood in for"


def _asked_for(message: str) -> tuple[str, type[Inert] | None]:
    """The class that the unpickler stopped at, by its message, and what may stand for it; None for nothing."""
    if wanted := re.search(r"GLOBAL ([\w.]+)", message):
        name = wanted[1] if "." in wanted[1] else f"builtins.{wanted[1]}"  # which torch leaves out
        return name, Inert
    if wanted := re.search(rf"Can only (SETITEM|append|extend).*but got <class '{_STAND_IN}\.(.+)'>", message):
        return wanted[2], InertDict if wanted[1] == "SETITEM" else InertList
    return "", None


def _refusal(name: str) -> str:
    what = f"code or objects other than tensors ({name})" if name else "a pickle of more than tensors"
    return f"holds {what} and was refused; save `model.state_dict()` with torch.save"


def _unpickled(path: Path, mapped: bool, inert: Mapping[str, type[Inert]]) -> Any:
    allowed: list[Any] = [(stand_in, name) for name, stand_in in inert.items()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and archives; what matters raises as well
            with open(path, "rb") as file:
                return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # whatever bytes that are not what they seem make the parser raise
        raise RequestError(_TORCHSCRIPT if "TorchScript" in str(error) else DAMAGED) from None


def _bare(found: Any) -> Any:
    """`found`, without what the file set on its dictionaries and tensors: they might have no `items` then."""
    pending, seen = [found], set()
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor | dict) and hasattr(one, "__dict__"):
            one.__dict__.clear()
        if isinstance(one, Inert):
            one = one.fields
        pending += one.values() if isinstance(one, dict) else one if isinstance(one, list | tuple) else ()
    return found


def _holds_data(name: str) -> bool:
    """Whether a class of that name may be stood in for: not where it acts, or where weights would be lost with it."""
    module, _, member = name.rpartition(".")
    package = module.partition(".")[0]
    if package == "torch":
        return name.startswith(("torch.optim.", "torch.torch_version."))
    if package in sys.stdlib_module_names or package == "__builtin__":
        members = _PLAIN.get(module, ())
        return members is None or member in members
    return True
