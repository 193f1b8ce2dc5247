"""Changes to sound files that know what such files are made of; each is a function of a `random.Random`."""

from __future__ import annotations

import copy
import io
import json
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

EXTREMES = (0, 1, -1, 127, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1)
NAMES = (
    *(
        "../mine",
        "/etc/hostname",
        "a/../../mine",
        ".",
        "",
        "\0",
        "a" * 300,
        "con",
        "\ud800",
        "\u202e",
        "\x1b[2J",
        "cat\n",
    ),
    *("model", "head.weight", "__class__", "$1", "%s", "{}", "Ω" * 40),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 0.5, -0.0, 1e300, [], {}, [[]], {"": None}, [0] * 1000),
    *NAMES,
)
GLOBALS = (
    *("os system", "builtins bytearray", "builtins eval", "builtins set", "numpy dtype", "a.b C", "torch FloatTensor"),
    *("torch LongStorage", "collections OrderedDict", "torch._utils _rebuild_tensor_v2"),
)
RAW = ("NaN", "-Infinity", "1e400", "1" + "0" * 400, "[" * 50_000, '"\\ud800"', "{", "01", "'x'")


def data(given: bytes, chance: Random) -> bytes:
    """Some bytes flipped, cut, doubled, moved or taken for a number and made an extreme one."""
    changed = bytearray(given)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(changed) or 1)
        if chance.random() < 0.4:
            at = min(at, chance.randrange(200), max(0, len(changed) - 1))  # the head matters most
        kind = chance.choice(("flip", "set", "cut", "drop", "double", "number", "zero", "insert"))
        length = chance.choice((1, 2, 4, 8, 64, 1000))
        if kind == "flip" and changed:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == "set" and changed:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == "cut":
            del changed[at:]
        elif kind == "drop":
            del changed[at : at + length]
        elif kind == "double":
            changed[at:at] = changed[at : at + length]
        elif kind == "number":
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(EXTREMES) & (2 ** (8 * size) - 1)
            changed[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
        elif kind == "zero":
            changed[at : at + length] = bytes(min(length, len(changed) - at))
        else:
            changed[at:at] = chance.randbytes(length)
    return bytes(changed)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all that is in a JSON value, itself first."""
    found = [at]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found += places(one, (*at, key))
    return found


def json_text(given: Any, chance: Random) -> str:
    """The JSON value with one thing in it of another kind, gone, twice, renamed or no JSON at all."""
    value = copy.deepcopy(given)
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.choice(places(value)[1:] or [()])
        if not at:
            break
        holder = value
        for key in at[:-1]:
            holder = holder[key]
        kind = chance.choice(("value", "value", "value", "drop", "rename", "near", "raw"))
        if kind == "value":
            holder[at[-1]] = copy.deepcopy(chance.choice(VALUES))
        elif kind == "drop":
            del holder[at[-1]]
        elif kind == "rename" and isinstance(holder, dict):
            holder[chance.choice(NAMES)] = holder.pop(at[-1])
        elif kind == "near" and isinstance(holder[at[-1]], (int, float)):
            holder[at[-1]] = holder[at[-1]] * chance.choice((-1, 2, 1000, 0.5)) + chance.choice((0, 1, -1))
        else:
            holder[at[-1]] = "@raw@"
    text = json.dumps(value).replace('"@raw@"', chance.choice(RAW))
    return text if chance.random() < 0.9 else text[: chance.randrange(len(text) + 1)]


def lines(given: str, chance: Random) -> bytes:
    """A text of lines with one of them gone, twice, longer, quoted badly or of other bytes."""
    rows = given.splitlines()
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(rows) or 1)
        rows[at : at + 1] = chance.choice(
            (
                [],
                rows[at : at + 1] * 2,
                [chance.choice(NAMES)],
                [rows[at] + chance.choice((",", ";", '"', "\t", " 7", ",,,", "\r", "\x0c")) if rows else ""],
                [",".join([str(chance.choice(EXTREMES))] * chance.choice((1, 2, 3, 3000)))],
                [chance.choice(RAW)],
                ["x" * 200_000],
                [f"{chance.choice(EXTREMES)}: '{chance.choice(NAMES)}',"],
            )
        )
    text = chance.choice(("\n", "\r\n", "\r")).join(rows)
    coded = text.encode(chance.choice(("utf-8", "utf-8-sig", "utf-16")), "surrogatepass")
    return data(coded, chance) if chance.random() < 0.2 else coded


def pickled(given: bytes, chance: Random) -> bytes:
    """A pickle with opcodes gone, twice or moved, and with other numbers and names in them."""
    starts = [position for _, _, position in pickletools.genops(given) if position is not None]
    parts = [given[a:b] for a, b in zip(starts, [*starts[1:], len(given)], strict=True)]
    for _ in range(chance.choice((1, 1, 2, 3))):
        if len(parts) < 2:
            break
        at = chance.randrange(len(parts) - 1)
        part = parts[at]
        kind = chance.choice(("drop", "double", "move", "many", "number", "name", "data"))
        if kind == "drop":
            del parts[at]
        elif kind == "double":
            parts.insert(at, part)
        elif kind == "move":
            parts.insert(chance.randrange(len(parts)), parts.pop(at))
        elif kind == "many":
            one = chance.choice((b"]", b"}", b")", b"(", b"\x85", b"h\x00", b"\x86"))
            parts[at:at] = [one] * chance.choice((3, 300, 30_000))
        elif kind == "number" and part[:1] in (b"K", b"M", b"J", b"\x8a"):
            number = chance.choice(EXTREMES)
            long = number.to_bytes(9, "little", signed=True)
            parts[at] = b"\x8a" + bytes([len(long)]) + long
        elif kind == "name" and part[:1] == b"c":
            module, name = chance.choice(GLOBALS).split()
            parts[at] = f"c{module}\n{name}\n".encode()
        else:
            parts[at] = data(part, chance)
    return b"".join(parts)


def archive(given: bytes, chance: Random, member: Callable[[str, bytes, Random], bytes]) -> bytes:
    """A zip with one member changed by `member`, gone, twice, renamed, compressed or cut; or with bytes changed."""
    if chance.random() < 0.2:
        return data(given, chance)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(given)) as old, zipfile.ZipFile(stream, "w") as new:
        infos = old.infolist()
        chosen = chance.randrange(len(infos))
        kind = chance.choice(("change", "change", "change", "change", "drop", "twice", "rename", "compress", "cut"))
        for number, info in enumerate(infos):
            content, name, how = old.read(info), info.filename, zipfile.ZIP_STORED
            if number == chosen:
                if kind == "drop":
                    continue
                if kind == "change":
                    content = member(name, content, chance)
                elif kind == "twice":
                    new.writestr(name, content[: len(content) // 2])
                elif kind == "rename":
                    name = chance.choice(NAMES).encode("utf-8", "replace").decode().replace("\0", "0") or "x"
                elif kind == "compress":
                    content, how = content + bytes(chance.choice((0, 5_000_000))), zipfile.ZIP_DEFLATED
                else:
                    content = content[: chance.randrange(len(content) + 1)]
            new.writestr(name, content, how)
    return stream.getvalue()


def array(name: str, given: bytes, chance: Random) -> bytes:
    """An .npy with another header: kind, order, shape or length."""
    if chance.random() < 0.3 or b"descr" not in given[:200]:
        return data(given, chance)
    length = struct.unpack("<H", given[8:10])[0]
    header = given[10 : 10 + length].decode("latin-1")
    old, new = chance.choice(
        (
            ("'<f4'", "'<f8'"), ("'<f4'", "'|O'"), ("'<i8'", "'<U2'"), ("'|b1'", "'<i8'"), ("'<U", "'<S"),
            ("False", "True"), ("(", "(1, "), ("(", f"({chance.choice(EXTREMES)}, "), ("(", "(-1, "),
        )
    )  # fmt: skip
    header = header.replace(old, new, 1).encode("latin-1")[:65_000]
    return given[:8] + struct.pack("<H", len(header)) + header + given[10 + length :]


def png(given: bytes, chance: Random) -> bytes:
    """A PNG with a chunk changed, gone, twice or moved, and right checksums."""
    chunks, at = [], 8
    while at + 12 <= len(given):
        (length,) = struct.unpack(">I", given[at : at + 4])
        chunks.append((given[at + 4 : at + 8], given[at + 8 : at + 8 + length]))
        at += 12 + length
    place = chance.randrange(len(chunks))
    kind, content = chunks[place]
    change = chance.choice(("data", "data", "drop", "double", "sides"))
    if change == "data":
        chunks[place] = kind, data(content, chance)
    elif change == "drop":
        del chunks[place]
    elif change == "double":
        chunks.insert(place, chunks[place])
    else:
        head = chunks[0][1]
        sides = struct.pack(">II", chance.choice(EXTREMES) & 0xFFFFFFFF, chance.choice(EXTREMES) & 0xFFFFFFFF)
        chunks[0] = chunks[0][0], sides + head[8:]
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return given[:8] + b"".join(packed)


def safetensors(given: bytes, chance: Random) -> bytes:
    """A safetensors file with another header, another length of it, or other data."""
    (length,) = struct.unpack("<Q", given[:8])
    if chance.random() < 0.3:
        return data(given, chance)
    header = json_text(json.loads(given[8 : 8 + length]), chance).encode("utf-8", "replace")
    said = len(header) if chance.random() < 0.8 else chance.choice(EXTREMES) & (2**64 - 1)
    return struct.pack("<Q", said) + header + given[8 + length :]
