"""What a pickle would do, found without doing it: how deep, how large, how often, and which numbers tensors name.

torch's unpickler runs no code of a file, but does what the file says: it makes a `bytearray` of eight gigabytes, grows
a storage to the size that a tensor claims, and hashes a tuple of tuples of tuples for ever, where no Ctrl-C is heard.
So the opcodes are read first. Each has a value stand for what it would make; that is all of a pickle that can matter.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import torch

from volo_edge.checkpoint.text import quoted
from volo_edge.errors import RequestError

_MOST_OPCODES = 5_000_000  # a state dict of 10,000 tensors, and of an optimizer's, has half of them
_DEEPEST = 200
_FACTOR, _SPARE = 16, 1_000_000  # what calls and keys may take in all: steps or bytes, by bytes of the pickle

DAMAGED = "is truncated, damaged or no checkpoint; copy or download it again"
_HASHES = ("builtins.set", "collections.OrderedDict", "collections.Counter", "__builtin__.set")
_OF_STORAGE = tuple(f"torch._utils._rebuild_{what}" for what in ("tensor", "tensor_v2", "tensor_v3", "qtensor"))
_ENCODINGS = ("latin1", "latin-1", "iso-8859-1", "ascii", "utf8", "utf-8")  # the first is what pickle writes

# All of the opcodes that torch's unpickler knows: it stops at any other, and so does the scan.
_CONSTANTS = {"NONE", "NEWFALSE", "NEWTRUE", "BINFLOAT"}
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_TEXTS = {"BINUNICODE", "SHORT_BINSTRING"}
_EMPTY = {"EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True, slots=True)
class _Global:
    """A class or function, by its name."""

    name: str


@dataclass(slots=True)
class _Made:
    """What opcodes make of others.

    Attributes:
        levels: of things within things.
        hashing: steps that hashing takes: of a tuple all that is in it, as often as it is there.
        length: entries, characters or bytes.
        items: of a tuple; None for anything else.
        bytes: of a storage; None for anything else.
        what: the class whose object it is, "" where that is of no interest.
        itemsize: of a storage's numbers.
    """

    levels: int = 1
    hashing: int = 1
    length: int = 0
    items: tuple[Any, ...] | None = None
    bytes: int | None = None
    what: str = ""
    itemsize: int = 1

    def take(self, values: Sequence[Any]) -> None:
        """Hold `values` too."""
        for value in values:
            if type(value) is _Made:
                self.levels = max(self.levels, value.levels + 1)
                self.hashing += value.hashing
        self.hashing += len(values)
        self.length += len(values)
        if self.levels > _DEEPEST:
            raise RequestError(f"holds things nested {self.levels} deep and was refused; {_SAVE}")


_SAVE = "save `model.state_dict()` with torch.save"


def scan(pickle: IO[bytes], size: int, records: Mapping[str, int] | None) -> bool:
    """Follow one pickle to its end; whether torch would come to that, and not stop before.

    Args:
        pickle: where it begins.
        size: bytes that it may have; of what lies in no archive, those of the file.
        records: bytes of each storage by its key; None where they follow the pickle, and have `size` together.

    Raises:
        RequestError: it would take memory or time that a file of its size has no claim to, or is none.
    """
    try:
        return _Scan(size, records).run(pickle)
    except RequestError:
        raise
    except Exception:  # whatever bytes that are no pickle make pickletools raise, and the stack
        raise RequestError(DAMAGED) from None


class _Scan:
    def __init__(self, size: int, records: Mapping[str, int] | None) -> None:
        self._room = _FACTOR * size + _SPARE
        self._size, self._records = size, records
        self._storages: dict[str, int] = {}  # bytes by key
        self._claimed = 0  # by all of them
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, pickle: IO[bytes]) -> bool:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if number > _MOST_OPCODES:
                raise RequestError(f"holds more than {_MOST_OPCODES} pickled things and was refused; {_SAVE}")
            if opcode.name != "STOP" and not self._step(opcode.name, argument):
                return False
        return True

    def _step(self, name: str, argument: Any) -> bool:
        """Follow one opcode; whether torch would go on behind it."""
        stack = self._stack
        if name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name in _TEXTS or name in _NUMBERS:
            stack.append(argument)
        elif name in _TUPLES:
            items = tuple(stack[-_TUPLES[name] :])
            del stack[-_TUPLES[name] :]
            stack.append(_tuple(items))
        elif name in _CONSTANTS:
            stack.append(None)
        elif name in _EMPTY:
            stack.append(_tuple(()) if name == "EMPTY_TUPLE" else _Made())
        elif name == "MARK":
            self._marks.append(stack)
            self._stack = []
        elif name == "TUPLE":
            items = tuple(self._marked())
            self._stack.append(_tuple(items))
        elif name == "GLOBAL":
            stack.append(_Global(argument.replace(" ", ".", 1)))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            stack.append(self._call(stack.pop(), arguments))
        elif name == "BUILD":
            self._build(stack.pop())
        elif name in ("APPEND", "APPENDS"):
            items = (stack.pop(),) if name == "APPEND" else tuple(self._marked())
            self._held().take(items)
        elif name in ("SETITEM", "SETITEMS"):
            self._set([stack.pop(-2), stack.pop()] if name == "SETITEM" else self._marked())
        else:
            return name == "PROTO"
        return True

    def _marked(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _held(self) -> _Made:
        top = self._stack[-1]
        return top if isinstance(top, _Made) else _Made()  # torch refuses to fill anything else

    def _set(self, items: list[Any]) -> None:
        for key in items[::2]:
            self._spend(_hashing(key))
        self._held().take(items)

    def _spend(self, steps: int) -> None:
        self._room -= steps
        if self._room < 0:
            raise RequestError(f"would take more memory or time than a file of its size may, and was refused; {_SAVE}")

    def _storage(self, given: Any) -> _Made:
        """What a persistent id stands for: ("storage", class, key, location, numbers in it, ...)."""
        items = given.items if isinstance(given, _Made) else None
        if items is None or len(items) < 5 or not isinstance(items[1], _Global):
            return _Made()  # torch refuses it, or it is the source of a class, which is passed over
        key, numbers = str(items[2]), items[4]
        itemsize = _itemsizes().get(items[1].name.rpartition(".")[2], 1)
        if type(numbers) is not int or numbers < 0:
            raise RequestError(DAMAGED)
        taken = numbers * itemsize
        self._claimed += max(0, taken - self._storages.get(key, 0))
        self._storages[key] = max(taken, self._storages.get(key, 0))
        has = self._size if self._records is None else self._records.get(key, 0)
        claimed = self._claimed if self._records is None else taken
        if claimed > has:
            raise RequestError(f"has tensors of {claimed} bytes and holds {has}: it is truncated; copy it again")
        if len(items) > 5 and isinstance(items[5], _Made) and items[5].items:  # a part of the storage, of old files
            part = items[5].items[-1]
            taken = part * itemsize if type(part) is int else 0
        return _Made(bytes=min(taken, self._storages[key]), itemsize=itemsize)

    def _call(self, function: Any, arguments: Any) -> _Made:
        """What calling `function` would give; RequestError where that takes numbers that say how large it is."""
        items = arguments.items if isinstance(arguments, _Made) else None
        if not isinstance(function, _Global) or items is None:
            raise RequestError(DAMAGED)
        name = function.name
        made = _Made(what=name)
        made.take(items)
        made.length = sum(map(_length, items))
        self._spend(made.length + (arguments.hashing if name in _HASHES else 0))
        if name == "torch._tensor._rebuild_from_type_v2" and len(items) > 2:
            return self._call(items[0], items[2])
        if name == "torch.Size" and len(items) == 1 and isinstance(items[0], _Made):
            return items[0]
        if name in _OF_STORAGE:
            _require_within(items, dense=name.endswith("qtensor"))
        elif name == "_codecs.encode":
            if len(items) > 1 and items[1] not in _ENCODINGS:
                raise RequestError(f"holds text in the encoding {quoted(items[1])} and was refused; {_SAVE}")
        elif _makes_memory(name) and not all(type(item) is _Made and item.what for item in items):
            raise RequestError(f"makes a {name} of a size that it names and does not hold, and was refused; {_SAVE}")
        return made

    def _build(self, state: Any) -> None:
        if not isinstance(state, _Made):
            return
        self._spend(state.length)
        held = self._held()
        if held.what.startswith("torch.") and state.items and any(type(item) is int for item in state.items):
            _require_within(state.items)
        held.take((state,))


def _tuple(items: tuple[Any, ...]) -> _Made:
    made = _Made(items=items)
    made.take(items)
    return made


def _hashing(value: Any) -> int:
    return value.hashing if type(value) is _Made else 1


def _length(value: Any) -> int:
    return value.length if type(value) is _Made else len(value) if isinstance(value, str | bytes) else 1


def _makes_memory(name: str) -> bool:
    """Whether calling it with a number makes something of that size."""
    if name.startswith("torch."):
        return name.endswith(("Tensor", "Storage"))
    return name in ("builtins.bytearray", "__builtin__.bytearray")


def _require_within(items: tuple[Any, ...], dense: bool = False) -> None:
    """RequestError where (storage, offset, sizes, strides, ...) reaches beyond the storage.

    torch grows the storage then. Where it makes a `dense` tensor first, that may not be larger than the storage either.
    """
    if len(items) < 4 or not all(isinstance(items[place], _Made) for place in (0, 2, 3)):
        raise RequestError(DAMAGED)
    storage, offset, sides, steps = items[0], items[1], items[2].items, items[3].items
    if None in (storage.bytes, sides, steps) or not all(type(n) is int and n >= 0 for n in (offset, *sides, *steps)):
        raise RequestError(DAMAGED)
    if 0 in sides:
        return
    itemsize = next(filter(None, map(_named_itemsize, items[4:])), storage.itemsize)
    reach = 1 + offset + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
    if max(reach, math.prod(sides) if dense else 0) * itemsize > storage.bytes:
        shape = "x".join(map(str, sides))
        raise RequestError(f"has a tensor of {shape} that is more than the file holds of it; copy or download it again")


def _named_itemsize(value: Any) -> int | None:
    """Bytes of a number of the type that `value` names; None where it names none."""
    found = getattr(torch, value.name.removeprefix("torch."), None) if isinstance(value, _Global) else None
    return found.itemsize if isinstance(found, torch.dtype) else None


@cache
def _itemsizes() -> dict[str, int]:
    """Bytes of a number in each of torch's classes of storages."""
    kinds = torch.storage._dtype_to_storage_type_map()
    return {name: dtype.itemsize for dtype, name in kinds.items()}
