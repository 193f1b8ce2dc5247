"""Photographs as people see them, and resizing and cropping held against PIL composed another way."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import warnings
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pillow_heif import from_bytes, register_heif_opener

from volo_edge import preprocess
from volo_edge.errors import RequestError
from volo_edge.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    Seen,
    UnreadableImage,
    look,
    normalize,
    open_rgb,
    prepare,
    to_input,
)
from volo_edge.variants import VARIANTS

# How the stored rows and columns lie for each EXIF orientation, undone. EXIF 2.32, section 4.6.4.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: np.rot90(stored),
}


def noise(*shape: int, seed: int = 0, dtype: type = np.uint8) -> Any:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def read(path: Path) -> Any:
    image = open_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes, trns: bytes = b"") -> Path:
    """A PNG written by hand, for what Pillow reads and does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    transparency = chunk(b"tRNS", trns) if trns else b""
    data = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + transparency + data)
    return path


# --- open_rgb


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = noise(5, 7, 3)
    for name in ("a.png", "a.bmp", "a.ppm", "a.tif"):
        np.testing.assert_array_equal(read(save(Image.fromarray(pixels), tmp_path / name)), pixels)
    path = save(Image.fromarray(pixels), tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(read(path), pixels)
    np.testing.assert_array_equal(read(str(path)), pixels)  # type: ignore[arg-type]


def test_jpeg_decodes_as_pillow_does_it(tmp_path: Path) -> None:
    path = save(Image.fromarray(noise(33, 41, 3)), tmp_path / "a.jpg")
    np.testing.assert_array_equal(read(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["RGB.png", "RGB.tif", "L.png", "L.tif", "P.tif", "I;16.png", "I;16.tif", "RGB.webp"])
def test_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    mode, extension = kind.split(".")
    stored = noise(4, 6, dtype=np.uint16) if mode == "I;16" else noise(4, 6, *([3] if mode == "RGB" else []))
    image = Image.fromarray(stored)
    if mode == "P":
        image = image.convert("P")
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if extension == "tif":
        options = {"tiffinfo": {0x0112: orientation}}
    elif extension == "webp":
        options["lossless"] = True
    path = save(image, tmp_path / f"a.{extension}", **options)
    eight = (stored >> 8).astype(np.uint8) if mode == "I;16" else stored
    expected = eight if mode == "RGB" else np.repeat(eight[..., None], 3, axis=2)
    np.testing.assert_array_equal(read(path), UPRIGHT[orientation](expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_jpeg(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(noise(16, 24, 3)), tmp_path / "a.jpg", exif=exif)
    np.testing.assert_array_equal(read(path), UPRIGHT[orientation](np.asarray(Image.open(path))))


@pytest.mark.parametrize("orientation", [b"\0\0", b"\0\x09", b"\xff\xff"])
def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path, orientation: bytes) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + orientation + b"\0\0\0\0\0\0"
    path = save(Image.fromarray(noise(16, 24, 3)), tmp_path / "a.jpg", exif=exif)
    np.testing.assert_array_equal(read(path), np.asarray(Image.open(path)))


def test_grey(tmp_path: Path) -> None:
    grey = noise(5, 7)
    expected = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(read(save(Image.fromarray(grey), tmp_path / "a.png")), expected)
    bits = grey > 127
    image = Image.fromarray(grey).point(lambda value: 255 * (value > 127), mode="1")
    assert image.mode == "1"
    for name in ("b.png", "b.tif", "b.bmp", "b.gif"):
        black_or_white = np.repeat(np.where(bits, 255, 0)[..., None], 3, axis=2)
        np.testing.assert_array_equal(read(save(image, tmp_path / name)), black_or_white)


def over_white(colour: Any, alpha: Any) -> Any:
    opacity = alpha[..., None].astype(float) / 255
    return colour * opacity + 255 * (1 - opacity)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_alpha_is_over_white(tmp_path: Path, name: str) -> None:
    pixels = noise(9, 7, 4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    found = read(save(Image.fromarray(pixels), tmp_path / name, **options))
    np.testing.assert_allclose(found, over_white(pixels[..., :3], pixels[..., 3]), atol=1)
    np.testing.assert_array_equal(found[0], 255)
    np.testing.assert_array_equal(found[1], pixels[1, :, :3])


def test_grey_with_alpha(tmp_path: Path) -> None:
    pixels = noise(9, 7, 2)
    found = read(save(Image.fromarray(pixels, "LA"), tmp_path / "a.png"))
    np.testing.assert_allclose(found, over_white(np.repeat(pixels[..., :1], 3, axis=2), pixels[..., 1]), atol=1)


def test_palettes(tmp_path: Path) -> None:
    indices = noise(6, 7) % 5
    palette = noise(5, 3, seed=1)
    alpha = np.array([0, 255, 128, 3, 255], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    colours = palette[indices]
    for name in ("opaque.png", "opaque.gif", "opaque.bmp", "opaque.tif"):
        np.testing.assert_array_equal(read(save(image, tmp_path / name)), colours)
    found = read(save(image, tmp_path / "many.png", transparency=alpha.tobytes()))
    np.testing.assert_allclose(found, over_white(colours, alpha[indices]), atol=1)
    for name in ("one.png", "one.gif"):
        found = read(save(image, tmp_path / name, transparency=2))
        np.testing.assert_array_equal(found, np.where((indices == 2)[..., None], 255, colours))


def test_one_transparent_colour(tmp_path: Path) -> None:
    colour = png(tmp_path / "rgb.png", 2, 1, 8, 2, bytes([0, 1, 2, 3, 4, 5, 6]), struct.pack(">3H", 1, 2, 3))
    np.testing.assert_array_equal(read(colour), [[[255, 255, 255], [4, 5, 6]]])
    grey = png(tmp_path / "l.png", 2, 1, 8, 0, bytes([0, 7, 8]), struct.pack(">H", 7))
    np.testing.assert_array_equal(read(grey)[..., 0], [[255, 8]])
    deep = png(tmp_path / "i.png", 2, 1, 16, 0, b"\0" + struct.pack(">2H", 0x1234, 0x1235), struct.pack(">H", 0x1234))
    np.testing.assert_array_equal(read(deep)[..., 0], [[255, 0x12]])


def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = noise(5, 7, dtype=np.uint16)
    values[0, :4] = 0, 255, 256, 65535
    expected = np.repeat((values // 256)[..., None], 3, axis=2)
    big = values.astype(">u2")
    paths = [
        save(Image.fromarray(values), tmp_path / "a.png"),
        save(Image.fromarray(values), tmp_path / "a.tif"),
        save(Image.fromarray(values), tmp_path / "z.tif", compression="tiff_lzw"),
        save(Image.fromarray(big), tmp_path / "big.tif"),
        save(Image.fromarray(values.astype(np.int32)), tmp_path / "i.tif"),
        tmp_path / "a.ppm",
    ]
    paths[-1].write_bytes(b"P5 7 5 65535\n" + big.tobytes())
    modes = set()
    for path in paths:
        with Image.open(path) as image:
            modes.add(image.mode)
        np.testing.assert_array_equal(read(path), expected, err_msg=str(path))
    assert modes == {"I;16", "I;16B", "I"}


def test_16_bit_grey_agrees_with_16_bit_colour(tmp_path: Path) -> None:
    values = noise(1, 64, dtype=np.uint16).astype(">u2")
    grey = png(tmp_path / "grey.png", 64, 1, 16, 0, b"\0" + values.tobytes())
    colour = png(tmp_path / "rgb.png", 64, 1, 16, 2, b"\0" + np.repeat(values[..., None], 3, axis=2).tobytes())
    np.testing.assert_array_equal(read(grey), read(colour))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, 8:] = 0, 255, 255, 0  # white paper at the left, magenta and yellow at the right
    found = read(save(Image.fromarray(ink, "CMYK"), tmp_path / "a.jpg", quality=100)).astype(int)
    np.testing.assert_allclose(found[:, :8], 255, atol=3)
    np.testing.assert_allclose(found[:, 8:], np.broadcast_to([255, 0, 0], (16, 8, 3)), atol=3)


def test_lab_tiff(tmp_path: Path) -> None:
    lab = np.zeros((4, 4, 3), np.uint8)
    lab[..., 0] = 255  # L* = 100, a* = b* = 0: white
    assert read(save(Image.frombytes("LAB", (4, 4), lab.tobytes()), tmp_path / "lab.tif")).min() >= 250


@pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow before 13 does not read what it wrote, and says so")
def test_ycbcr_tiff(tmp_path: Path) -> None:
    orange = np.array([240, 120, 20])
    colour = Image.new("RGB", (4, 4), tuple(orange)).convert("YCbCr")
    np.testing.assert_allclose(read(save(colour, tmp_path / "y.tif"))[0, 0].astype(int), orange, atol=2)


def test_of_several_frames_the_first(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for name in ("a.gif", "a.tif", "a.png"):
        path = save(first, tmp_path / name, save_all=True, append_images=[second])
        np.testing.assert_array_equal(read(path)[0, 0], [255, 0, 0])


# --- photographs as phones take them


def scene(height: int = 48, width: int = 64) -> Any:
    """Smooth colours, of which lossy formats leave nearly all, with a bright corner at the upper left."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 2, columns * 2, 255 - rows - columns], axis=2)
    pixels[: height // 4, : width // 4] = 250
    return pixels.astype(np.uint8)


@pytest.mark.parametrize("name", ["a.heic", "a.HEIC", "a.heif", "a.hif", "a.avif", "a.AVIF"])
def test_heic_and_avif(tmp_path: Path, name: str) -> None:
    register_heif_opener()
    pixels = scene()
    path = save(Image.fromarray(pixels), tmp_path / name, quality=95)
    assert np.abs(read(path).astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("extension", ["heic", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_heic_and_avif(tmp_path: Path, extension: str, orientation: int) -> None:
    register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(Image.fromarray(scene()), tmp_path / f"a.{extension}", quality=95, exif=exif.tobytes())
    if extension == "heic":  # the format's own way to say it, which goes before what EXIF says
        assert (orientation > 1) == any(box in path.read_bytes() for box in (b"irot", b"imir"))
    expected = UPRIGHT[orientation](scene())
    found = read(path)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 4


def test_heic_with_transparency_and_of_ten_bits(tmp_path: Path) -> None:
    register_heif_opener()
    clear = np.dstack([scene(), np.full((48, 64), 0, np.uint8)])
    assert read(save(Image.fromarray(clear), tmp_path / "clear.heic")).min() == 255
    deep = from_bytes("RGB;16", (64, 48), (scene().astype("<u2") * 257).tobytes())
    deep.save(tmp_path / "deep.heic", quality=95, bit_depth=10)
    assert np.abs(read(tmp_path / "deep.heic").astype(int) - scene()).mean() < 4


def test_heic_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    register_heif_opener()
    path = save(Image.fromarray(scene()), tmp_path / "a.heic")
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path\n"
        "from volo_edge.preprocess import open_rgb\n"
        f"open_rgb(Path({str(path)!r}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "HEIC, which takes a package that is not installed: pip install pillow-heif" in ended.stderr


@pytest.mark.parametrize("name", ["a.jfif", "a.JPG", "a.jpe", "a.Jpeg"])
def test_other_endings_of_jpeg(tmp_path: Path, name: str) -> None:
    pixels = scene()
    path = save(Image.fromarray(pixels), tmp_path / name, format="JPEG", quality=95)
    assert np.abs(read(path).astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("name", ["a.mpo", "a.jpg"])
def test_of_the_photographs_of_an_mpo_the_first(tmp_path: Path, name: str, orientation: int) -> None:
    first, second = Image.fromarray(scene()), Image.new("RGB", (64, 48), "blue")
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(first, tmp_path / name, format="MPO", save_all=True, append_images=[second], exif=exif, quality=95)
    with Image.open(path) as image:
        assert image.format == "MPO"
    assert np.abs(read(path).astype(int) - UPRIGHT[orientation](scene())).mean() < 4


def test_of_an_ultra_hdr_photograph_the_gain_map_is_left_alone(tmp_path: Path) -> None:
    gain_map = Image.new("L", (16, 12), 99).convert("RGB")
    path = tmp_path / "a.jpg"
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    Image.fromarray(scene()).save(path, format="MPO", save_all=True, append_images=[gain_map], quality=95)
    content = path.read_bytes()
    path.write_bytes(content[:2] + segment + content[2:])
    with Image.open(path) as image:
        assert image.format == "JPEG"  # to Pillow it is one
    assert np.abs(read(path).astype(int) - scene()).mean() < 4


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.dng", "a camera's raw file (.dng)"),
        ("a.CR2", "a camera's raw file (.CR2)"),
        ("a.nef", "a camera's raw file"),
        ("a.svg", "a drawing"),
        ("a.pdf", "a document"),
        ("a.mp4", "a video"),
        ("a.MOV", "a video"),
        ("a.jxl", "of a format for few"),
    ],
)
def test_what_is_not_read_is_named_with_the_remedy(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    save(Image.fromarray(scene()), path, format="TIFF")  # as raw files are, with a thumbnail that Pillow would take
    with pytest.raises(UnreadableImage) as refused:
        open_rgb(path)
    assert kind in refused.value.reason and refused.value.reason.endswith("not read: save it as JPEG or PNG")


def test_a_raw_file_under_another_name_is_no_photograph(tmp_path: Path) -> None:
    path = save(Image.fromarray(scene()), tmp_path / "a.tif", tiffinfo={50706: b"\x01\x04\x00\x00"})
    with pytest.raises(UnreadableImage, match=r"raw file \(DNG\), which is not read: save it as JPEG or PNG"):
        open_rgb(path)


def test_a_photograph_of_two_hundred_million_pixels_is_read(tmp_path: Path) -> None:
    """Of a bit each, so that the test is quick; its size is what the limits of Pillow and of ours are about."""
    path = png(tmp_path / "a.png", 16320, 12240, 1, 0, bytes(12240 * 2041))
    path.write_bytes(path.read_bytes() + bytes(2_200_000))  # as long as one of a photograph is at least
    assert 178_956_970 < 16320 * 12240 < preprocess.MAX_PIXELS  # Pillow's own limit is the first
    assert preprocess.pixels_of(path) == 16320 * 12240
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_rgb(path).size == (16320, 12240)


def test_more_pixels_than_that_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 16385, 16384, 8, 2, b"")
    path.write_bytes(path.read_bytes() + bytes(3_000_000))
    with pytest.raises(UnreadableImage, match="16385 x 16384 pixels, and 268435456 are read at most: reduce it"):
        open_rgb(path)


def test_what_is_done_to_a_photograph_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = save(Image.fromarray(scene()), tmp_path / "turned.jpg", exif=exif)
    assert look(turned) == Seen(turned=True, transparent=False)
    clear = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    assert look(save(Image.fromarray(clear), tmp_path / "opaque.png")) == Seen(turned=False, transparent=False)
    clear[3, 4, 3] = 254
    assert look(save(Image.fromarray(clear), tmp_path / "clear.png")) == Seen(turned=False, transparent=True)
    with pytest.raises(UnreadableImage, match="no such file"):
        look(tmp_path / "none.png")


def damaged(path: Path, name: str) -> Path:
    path = path / name
    if name == "folder.png":
        path.mkdir()
    elif name == "pipe.png":
        os.mkfifo(path)
    elif name == "empty.png":
        path.write_bytes(b"")
    elif name == "text.jpg":
        path.write_text("not\nan image")
    elif name == "postscript.jpg":
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    elif name.startswith("truncated"):
        save(Image.fromarray(noise(64, 64, 3)), path)
        path.write_bytes(path.read_bytes()[:3000])
    elif name == "head.jpg":
        path.write_bytes(b"\xff\xd8\xff\xe0")
    elif name == "checksum.png":
        save(Image.fromarray(noise(8, 8, 3)), path)
        content = bytearray(path.read_bytes())
        content[45] ^= 255
        path.write_bytes(bytes(content))
    elif name == "bomb.png":
        png(path, 100_000, 100_000, 1, 0, b"")
    elif name == "float.tif":
        save(Image.fromarray(np.ones((3, 3), np.float32)), path)
    elif name == "integer.tif":
        save(Image.fromarray(np.full((3, 3), 65536, np.int32)), path)
    elif name == "negative.tif":
        save(Image.fromarray(np.full((3, 3), -1, np.int32)), path)
    else:
        assert name == "missing.png"
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.png", "no such file"),
        ("folder.png", "a folder"),
        ("pipe.png", "not a regular file"),
        ("empty.png", "empty file"),
        ("text.jpg", "not an image"),
        ("postscript.jpg", "not an image"),
        ("truncated.jpg", "truncated"),
        ("truncated.png", "truncated"),
        ("truncated.tif", ""),
        ("truncated.bmp", "truncated"),
        ("head.jpg", ""),
        ("checksum.png", ""),
        ("bomb.png", "pixels"),
        ("float.tif", "range unknown"),
        ("integer.tif", "range unknown"),
        ("negative.tif", "range unknown"),
    ],
)
def test_what_is_no_photograph(tmp_path: Path, name: str, reason: str) -> None:
    path = damaged(tmp_path, name)
    with pytest.raises(UnreadableImage) as caught:
        open_rgb(path)
    assert reason in caught.value.reason and caught.value.reason
    assert caught.value.path == path and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, RequestError)


def test_the_message_is_one_line_whatever_the_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"a\\nb.png': no such file$"):
        open_rgb(tmp_path / "a\nb.png")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_files_are_closed(tmp_path: Path) -> None:
    paths = [
        damaged(tmp_path, name) for name in ("truncated.png", "text.jpg", "float.tif", "bomb.png", "truncated.tif")
    ]
    paths += [save(Image.fromarray(noise(9, 9, 3)), tmp_path / f"a.{extension}") for extension in ("jpg", "tif", "gif")]
    before = len(os.listdir("/proc/self/fd"))
    kept: list[object] = []
    for path in paths:
        try:
            kept.append(open_rgb(path))
        except UnreadableImage as error:
            kept.append(error)  # its traceback keeps alive whatever the function held
    assert len(os.listdir("/proc/self/fd")) == before


# --- prepare


def composed(image: Image.Image, box: tuple[int, int], crop: tuple[int, int], **others: Any) -> Any:
    """The same by another road: exact fractions for the size, PIL's own padding and cropping."""
    scale = max(Fraction(box[0], image.height), Fraction(box[1], image.width))
    whole = math.floor if box[0] == box[1] else round
    size = whole(image.width * scale), whole(image.height * scale)
    if others.get("crop_mode") == "squash":
        size = box[1], box[0]
    resample = Image.Resampling.BILINEAR if others.get("interpolation") == "bilinear" else Image.Resampling.BICUBIC
    image = image.convert(others.get("color", "RGB"))
    # columns first, whatever the installed Pillow prefers, but for what is very tall
    very_tall = size[1] < image.height > 100 * image.width
    image = image.resize((image.width, size[1]) if very_tall else (size[0], image.height), resample)
    image = image.resize(size, resample)
    (height, width), (h, w) = crop, (image.height, image.width)
    if width > w or height > h:
        more_w, more_h = max(width - w, 0), max(height - h, 0)
        image = ImageOps.expand(image, (more_w // 2, more_h // 2, (more_w + 1) // 2, (more_h + 1) // 2), fill=0)
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    return np.asarray(image.crop((left, top, left + width, top + height)))


def torchvision_size(height: int, width: int, side: int) -> tuple[int, int]:
    """torchvision.transforms.functional._compute_resized_output_size of one number."""
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = side, int(side * long / short)
    return (new_long, new_short) if width <= height else (new_short, new_long)


sides = st.integers(1, 200)
small_sides = st.integers(1, 48)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(sides, sides),
    st.tuples(small_sides, small_sides),
    st.sampled_from([0.9, 0.96, 1.0, 1.15, 1.5]),
    st.integers(0, 9),
    st.fixed_dictionaries(
        {},
        optional={
            "crop_mode": st.sampled_from(["center", "squash"]),
            "interpolation": st.sampled_from(["bicubic", "bilinear"]),
            "color": st.just("L"),
        },
    ),
)
def test_prepare_is_resize_then_crop(
    size: tuple[int, int], crop: tuple[int, int], pct: float, seed: int, others: dict[str, Any]
) -> None:
    image = Image.fromarray(noise(*size, 3, seed=seed))
    box = max(1, math.floor(crop[0] / pct)), max(1, math.floor(crop[1] / pct))
    grey = {"mean": (0.5,), "std": (0.2,)} if "color" in others else {}
    preprocessing = Preprocessing(resize_to=box, crop=crop, **others, **grey)
    pixels = prepare(image, preprocessing)
    assert pixels.dtype == np.uint8 and pixels.shape == (*crop, preprocessing.channels)
    np.testing.assert_array_equal(pixels, composed(image, box, crop, **others).reshape(pixels.shape))
    assert to_input(pixels).shape == preprocessing.shape


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(1, 600), st.integers(1, 600))
def test_the_resized_photograph_just_covers_the_box(h: int, w: int, box_h: int, box_w: int) -> None:
    def resized(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
        return preprocess._resized_size(size, Preprocessing(resize_to=box, crop=box))

    height, width = resized((h, w), (box_h, box_w))
    assert height >= box_h and width >= box_w
    assert height == box_h or width == box_w
    assert resized((h, w), (box_h, box_h)) == torchvision_size(h, w, box_h)
    assert resized((w, h), (box_w, box_h)) == (width, height)


@pytest.mark.parametrize("variant", [VARIANTS[name] for name in ("volo_d1_224", "volo_d1_384", "volo_d5_512")])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1, 1), (3, 90), (90, 3), (224, 224), (233, 233)])
def test_published_variants(variant: Any, size: tuple[int, int]) -> None:
    image = Image.fromarray(noise(*size, 3))
    preprocessing = Preprocessing.from_crop(variant.architecture.image_size, variant.crop_pct)
    box = preprocessing.resize_to
    np.testing.assert_array_equal(prepare(image, preprocessing), composed(image, box, preprocessing.crop))


def test_a_photograph_like_a_thread_is_squashed_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its columns made wider, before the rows are made fewer, would take gigabytes."""
    made, resize = [], Image.Image.resize

    def resized(image: Image.Image, *arguments: Any) -> Image.Image:
        made.append(arguments[0])
        return resize(image, *arguments)

    monkeypatch.setattr(Image.Image, "resize", resized)
    found = prepare(
        Image.new("RGB", (3, 100_000), "white"), Preprocessing(resize_to=(64, 64), crop=(64, 64), crop_mode="squash")
    )
    assert (found == 255).all()
    assert made == [(3, 64), (64, 64)]


def test_no_resize_when_the_size_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(64, 80, 3)
    monkeypatch.setattr(Image.Image, "resize", lambda *_: pytest.fail("resized"))
    found = prepare(Image.fromarray(pixels), Preprocessing.from_crop((64, 64), 1.0))
    np.testing.assert_array_equal(found, pixels[:, 8:72])


def test_a_crop_larger_than_the_photograph_has_a_black_border() -> None:
    preprocessing = Preprocessing.from_crop((448, 448), 1.15)
    pixels = prepare(Image.new("RGB", (500, 500), "white"), preprocessing)
    inside = np.zeros((448, 448), bool)
    inside[29 : 29 + 389, 29 : 29 + 389] = True  # (448 - 389) // 2 before, one more after
    np.testing.assert_array_equal(pixels, np.where(inside, 255, 0)[..., None].repeat(3, axis=2))


def test_only_the_middle_of_an_extreme_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocessing = Preprocessing.from_crop((64, 48), 0.96)
    for size in ((9, 3000), (3000, 9), (100, 130), (700, 600), (1, 900)):
        image = Image.fromarray(noise(*size, 3))
        whole = prepare(image, preprocessing)
        with monkeypatch.context() as patch:
            patch.setattr(preprocess, "_MAX_RESIZED_PIXELS", 0)
            middle = prepare(image, preprocessing)
        np.testing.assert_allclose(middle.astype(int), whole, atol=1)
    assert prepare(Image.new("RGB", (60_000, 1), "red"), Preprocessing.from_crop((224, 224), 0.96)).shape == (
        224,
        224,
        3,
    )


def test_prepare_takes_rgb_alone() -> None:
    with pytest.raises(ValueError, match="RGBA"):
        prepare(Image.new("RGBA", (9, 9)), Preprocessing.from_crop((8, 8), 1.0))


# --- tensors


def test_to_input() -> None:
    one, other = noise(5, 7, 3), noise(5, 7, 3, seed=1)
    for batch in (to_input([one, other]), to_input(np.stack([one, other]))):
        assert batch.dtype == np.float32 and batch.shape == (2, 3, 5, 7) and batch.flags.c_contiguous
        assert all(batch[1, c, y, x] == other[y, x, c] for c in range(3) for y in range(5) for x in range(7))
    np.testing.assert_array_equal(to_input(one), to_input([one]))
    with pytest.raises(ValueError, match=r"\(5, 7\)"):
        to_input(one[..., 0])


def test_normalize() -> None:
    preprocessing = Preprocessing.from_crop((5, 7), 1.0)
    images = to_input([noise(5, 7, 3), noise(5, 7, 3, seed=1)])
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    expected = ((images.astype(float).transpose(0, 2, 3, 1) / 255 - mean) / std).transpose(0, 3, 1, 2)
    array = normalize(images, preprocessing)
    tensor = normalize(torch.from_numpy(images), preprocessing)
    assert array.dtype == np.float32 and tensor.dtype == torch.float32
    np.testing.assert_allclose(array, expected, atol=1e-6)
    np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-6)
    assert normalize(torch.from_numpy(images).double(), preprocessing).dtype == torch.float64


# --- the numbers


@pytest.mark.parametrize(
    ("size", "pct", "side"), [(224, 0.96, 233), (384, 1.0, 384), (448, 1.15, 389), (512, 1.15, 445)]
)
def test_from_crop(size: int, pct: float, side: int) -> None:
    preprocessing = Preprocessing.from_crop((size, size), pct)
    assert preprocessing.resize_to == (side, side) and preprocessing.crop == (size, size)


def test_from_crop_of_an_oblong_model() -> None:
    preprocessing = Preprocessing.from_crop((224, 448), 0.96)
    assert preprocessing.resize_to == (233, 466) and preprocessing.crop == (224, 448)


@pytest.mark.parametrize("pct", [0, -1.0, math.nan, math.inf, 1000.0])
def test_from_crop_refuses(pct: float) -> None:
    with pytest.raises(RequestError, match=r"crop_pct must be a positive number|resize_to must be 1 to"):
        Preprocessing.from_crop((224, 224), pct)


@pytest.mark.parametrize(
    ("field", "value"),
    [("resize_to", (233, 0)), ("crop", (-1, 1)), ("std", (0.0, 0.5, 0.5)), ("input_range", (0.0, 1.0))],
)
def test_preprocessing_refuses(field: str, value: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match=f"{field} must be"):
        replace(Preprocessing.from_crop((224, 224), 0.96), **{field: value})


def test_the_import_is_light() -> None:
    modules = "volo_edge.preprocess, volo_edge.calibration.images"
    code = f"import sys, {modules}; print({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
    root = Path(preprocess.__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
