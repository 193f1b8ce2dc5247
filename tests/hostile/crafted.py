"""Files made by hand to do harm: one function a kind, which writes it where it is told to."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

# --- what is no file


def fifo(path: Path) -> Path:
    """A pipe that nobody writes into: whoever opens it waits."""
    os.mkfifo(path)
    return path


def endless(path: Path) -> Path:
    """A link to a device that is read for ever."""
    path.symlink_to("/dev/zero")
    return path


def large_text(path: Path) -> Path:
    """More text than anybody writes; a hole, which takes no disk."""
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    return path


# --- pickles

_PROTO, _STOP = b"\x80\x02", b"."
_TUPLE1, _TUPLE2, _REDUCE, _EMPTY_DICT, _SETITEM, _BUILD = b"\x85", b"\x86", b"R", b"}", b"s", b"b"


def _text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word.encode())) + word.encode()


def _int(number: int) -> bytes:
    data = pickle.dumps(number, protocol=2)
    return data[2:-1]


def _torch_zip(path: Path, data: bytes, records: Mapping[str, bytes] | None = None, compressed: bool = False) -> Path:
    """A checkpoint as torch writes it, with a pickle of one's own."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/byteorder", "little")
        archive.writestr("a/version", "3\n")
        for key, content in (records or {}).items():
            archive.writestr(f"a/data/{key}", content)
    return path


def deep_tuple_pickle(path: Path, levels: int = 60) -> Path:
    """A dictionary whose key is a pair of one pair, of one pair ...: hashing it takes 2**levels steps."""
    pairs = b"".join(b"q\x00h\x00" + _TUPLE2 for _ in range(levels))
    return _torch_zip(path, _PROTO + _EMPTY_DICT + b"K\x01" + pairs + b"K\x01" + _SETITEM + _STOP)


def tower_pickle(path: Path, levels: int = 200_000) -> Path:
    """A dictionary whose key is a tuple of a tuple of a tuple ...: hashing it is a segmentation fault."""
    return _torch_zip(path, _PROTO + _EMPTY_DICT + b"K\x01" + _TUPLE1 * levels + b"K\x01" + _SETITEM + _STOP)


def bytearray_pickle(path: Path, size: int = 8_000_000_000) -> Path:
    """`bytearray(size)` in fifty bytes."""
    return _torch_zip(path, _PROTO + b"cbuiltins\nbytearray\n" + _int(size) + _TUPLE1 + _REDUCE + _STOP)


def bytearray_of_old_torch(path: Path, size: int = 8_000_000_000) -> Path:
    """The same in the format of torch before 1.6."""
    head = b"".join(pickle.dumps(one, protocol=2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    path.write_bytes(head + _PROTO + b"cbuiltins\nbytearray\n" + _int(size) + _TUPLE1 + _REDUCE + _STOP)
    return path


def tensor_by_size_pickle(path: Path, size: int = 2_000_000_000) -> Path:
    """`torch.FloatTensor(size)`, of memory that nothing was written into."""
    return _torch_zip(path, _PROTO + b"ctorch\nFloatTensor\n" + _int(size) + _TUPLE1 + _REDUCE + _STOP)


def copies_pickle(path: Path, copies: int = 20_000) -> Path:
    """A text of a million letters, and that as bytes twenty thousand times."""
    words = _PROTO + b"]" + _text("a" * 1_000_000) + b"q\x00a" + _text("latin1") + b"q\x01a"
    each = b"c_codecs\nencode\nh\x00h\x01" + _TUPLE2 + _REDUCE + b"a"
    return _torch_zip(path, words + each * copies + _STOP)


def grown_storage_pickle(path: Path, side: int = 2_000_000_000) -> Path:
    """A tensor of more numbers than its storage has, which torch makes room for."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + b"K\x01tQ"
    shape = b"K\x00" + _int(side) + _TUPLE1 + b"K\x01" + _TUPLE1
    tail = b"\x89ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + tail + b"tR"
    return _torch_zip(path, _PROTO + _EMPTY_DICT + _text("head.weight") + tensor + _SETITEM + _STOP, {"0": bytes(4)})


def dense_quantized_pickle(path: Path, side: int = 2_000_000_000) -> Path:
    """A quantized tensor that repeats one number, all of which torch makes room for."""
    storage = b"(" + _text("storage") + b"ctorch\nQInt8Storage\n" + _text("0") + _text("cpu") + b"K\x01tQ"
    shape = b"K\x00" + _int(side) + _TUPLE1 + b"K\x00" + _TUPLE1
    affine = b"(ctorch\nper_tensor_affine\nG" + struct.pack(">d", 1.0) + b"K\x00t"
    tail = affine + b"\x89ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_qtensor\n(" + storage + shape + tail + b"tR"
    return _torch_zip(path, _PROTO + _EMPTY_DICT + _text("head.weight") + tensor + _SETITEM + _STOP, {"0": bytes(1)})


def encoded_pickle(path: Path, encoding: str = "idna") -> Path:
    """A text as bytes, in an encoding of its own choice."""
    words = b"c_codecs\nencode\n" + _text("a" * 100) + _text(encoding) + _TUPLE2 + _REDUCE
    return _torch_zip(path, _PROTO + words + _STOP)


def twofold_checkpoint(path: Path) -> Path:
    """An archive of two pickles of one name, of which readers take one or the other."""
    _torch_zip(path, _PROTO + _EMPTY_DICT + _STOP)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a/data.pkl", _PROTO + _EMPTY_DICT + _STOP)
    return path


def overstated_storage_pickle(path: Path, numbers: int = 2_000_000_000) -> Path:
    """A storage that says it has two billion numbers, and has one, which is all that its tensor takes."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + _int(numbers) + b"tQ"
    tail = b"K\x00K\x01" + _TUPLE1 + b"K\x01" + _TUPLE1 + b"\x89ccollections\nOrderedDict\n)R"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + tail + b"tR"
    return _torch_zip(path, _PROTO + _EMPTY_DICT + _text("head.weight") + tensor + _SETITEM + _STOP, {"0": bytes(4)})


def compressed_checkpoint(path: Path) -> Path:
    """A pickle of 300 MB of zeros in 300 kB."""
    return _torch_zip(path, bytes(300_000_000), compressed=True)


def shadowed_pickle(path: Path) -> Path:
    """A state dict whose `items` is a number: an entry of its `__dict__`."""
    state = _EMPTY_DICT + _text("items") + b"K\x05" + _SETITEM
    return _torch_zip(path, _PROTO + b"ccollections\nOrderedDict\n)R" + state + _BUILD + _STOP)


# --- checkpoints whose tensors lie


def stride_zero_checkpoint(path: Path, state: Mapping[str, torch.Tensor], classes: int = 10_000_000) -> Path:
    """A head of ten million classes, all of them one row."""
    head = torch.zeros(1, state["head.weight"].shape[1]).expand(classes, -1)
    bias = torch.zeros(1).expand(classes)
    torch.save({**state, "head.weight": head, "head.bias": bias}, path)
    return path


def shared_checkpoint(path: Path, state: Mapping[str, torch.Tensor]) -> Path:
    """Every tensor a view of the same numbers."""
    numbers = torch.zeros(max(tensor.numel() for tensor in state.values()))
    torch.save({name: numbers[: one.numel()].view(one.shape) for name, one in state.items()}, path)
    return path


def odd_checkpoint(path: Path, state: Mapping[str, torch.Tensor], kind: str) -> Path:
    """A head that is "nested", "meta", "sparse", "complex" or "quantized"."""
    head = state["head.weight"]
    made = {
        "nested": lambda: torch.nested.nested_tensor([head[0], head[1]]),
        "meta": lambda: head.to("meta"),
        "sparse": lambda: head.to_sparse(),
        "complex": lambda: head.to(torch.complex64),
        "quantized": lambda: torch.quantize_per_tensor(head, 0.1, 0, torch.qint8),
    }
    torch.save({**state, "head.weight": made[kind]()}, path)
    return path


# --- references


def reference(path: Path, arrays: Mapping[str, Any], compressed: bool = False) -> Path:
    """An .npz of `arrays`."""
    with path.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return path


def overstated_reference(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Logits that say they are a million times as many as there are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            data = stream.getvalue()
            if name == "logits":
                shape = repr(array.shape)
                data = data.replace(shape.encode(), f"({len(array)}000000,{array.shape[1]})".encode().ljust(1))
                length = struct.unpack("<H", data[8:10])[0] + len(data) - len(stream.getvalue())
                data = data[:8] + struct.pack("<H", length) + data[10:]
            archive.writestr(f"{name}.npy", data)
    return path


# --- photographs


def tall_png(path: Path, height: int = 170_000_000) -> Path:
    """One pixel wide, in 74 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def wide_webp(path: Path) -> Path:
    """268 million pixels in a few bytes: the head of a lossless WebP, whose pixels never come."""
    sizes = (16383 - 1) | (16383 - 1) << 14
    data = b"\x2f" + struct.pack("<I", sizes) + bytes(64)
    content = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(content)) + content)
    return path


def closed_jpeg(path: Path, photograph: Image.Image, **options: Any) -> Path:
    """A JPEG cut in its middle, with the marker of an end put behind."""
    stream = io.BytesIO()
    photograph.save(stream, "JPEG", **options)
    data = stream.getvalue()
    path.write_bytes(data[: int(len(data) * 0.6)] + b"\xff\xd9")
    return path


# --- JSON

HOSTILE_JSON = {
    "a number of 400 digits": "1" + "0" * 400,
    "a number of 5000 digits": "1" + "0" * 5000,
    "a number out of range": "1e400",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "half a character": r'"\ud800"',
    "deep": "[" * 100_000 + "]" * 100_000,
}
