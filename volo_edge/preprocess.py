"""Photo -> tensor, once: the phones read the same numbers from the manifest.

Every photograph that calibrates, judges or tries a model goes through `open_rgb`, `prepare` and `to_input`. What they
do is what VOLO's published accuracies were measured with: timm's evaluation transform, PIL's bicubic resize and
torchvision's centre crop. Importing this module imports neither torch, numpy nor PIL.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from volo_edge import jpeg
from volo_edge.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    Images = TypeVar("Images", NDArray[np.float32], Tensor)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# What photographs come in. Pillow knows forty more formats; one of them, EPS, would start Ghostscript on the file. What
# phones save besides is JPEG to it: MPO, and Ultra HDR, whose gain map is left alone.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "AVIF")
_HEIC = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")  # how one begins, after four bytes

# What people have among their photographs that is not read, by the end of its name.
_RAW = (
    ".3fr .arw .cr2 .cr3 .dcr .dng .erf .iiq .kdc .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
_VIDEO = ".3gp .avi .m4v .mkv .mov .mp4 .mpg .mpeg .mts .webm .wmv"
NOT_READ: dict[str, str] = {
    **dict.fromkeys(_RAW.split(), "a camera's raw file"),
    **dict.fromkeys(_VIDEO.split(), "a video"),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai"), "a drawing"),
    **dict.fromkeys((".pdf",), "a document"),
    **dict.fromkeys((".jxl", ".jp2", ".j2k", ".psd", ".xcf", ".exr", ".hdr", ".tga", ".ico"), "of a format for few"),
}
_DNG_VERSION = 50706  # the tag that makes a TIFF a raw file, whose first page is but a thumbnail
_ORIENTATION = 0x0112  # EXIF's tag

# Phones have cameras of 200 million pixels; what has more may be an attack, and so may what has many in few bytes: a
# WebP of 4.6 kB can be 268 million, and take 2.8 GB to decode. No photograph has a side longer than JPEG can say, or is
# of less than a twelfth of a bit a pixel; small ones of one colour may be, and cost nothing.
MAX_PIXELS = 2**28
MAX_SIDE = 65_535
_MAX_PIXELS_OF_FEW_BYTES = 2**26
_MAX_PIXELS_A_BYTE = 96
LIMIT = "VOLO_EDGE_MAX_PIXELS"  # an environment variable, which takes the place of all of these limits

_ROWS = 256  # of a transparent photograph that are laid over white at once

# A photograph of one row would be resized to gigabytes before its middle is cut out; beyond this only the middle is.
_MAX_RESIZED_PIXELS = 2**26


class UnreadableImage(RequestError):
    """A file that is no photograph; `path` is the file and `reason` what is the matter with it, in a few words."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = " ".join(reason.split())
        super().__init__(f"cannot read image {str(path)!r}: {self.reason}")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a photograph becomes the model's input: the manifest's `preprocessing`, field for field.

    Only what this module does can be said: a manifest with another interpolation or layout is refused when it is read.

    Args:
        color: "RGB", or "L": the photograph is made grey (ITU-R 601-2 luma, PIL's) and the input has one channel.
        crop_mode: "center": the photograph is scaled to just cover `resize_to`, keeping its shape; "squash": it is
            scaled to exactly `resize_to`, whatever its shape was.
        resize_to: (height, width) in pixels.
        interpolation: PIL's "bicubic" (a = -0.5) or "bilinear" (a triangle).
        antialias: the filter widens with the reduction; PIL's always does.
        crop: (height, width) in pixels of the centre crop; where it is larger than the resized photograph, zeros.
        input_range: what black and white are in the model's input.
        mean, std: per channel (red, green, blue; or the one of a grey image), of pixels in 0..1.
        layout: "NCHW".
        normalization_in_model: the model subtracts the mean and divides by std itself.
    """

    color: Literal["RGB", "L"] = "RGB"
    crop_mode: Literal["center", "squash"] = "center"
    resize_to: tuple[int, int]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    antialias: Literal[True] = True
    crop: tuple[int, int]
    input_range: tuple[float, float] = (0.0, 255.0)
    mean: tuple[float, float, float] | tuple[float] = IMAGENET_MEAN
    std: tuple[float, float, float] | tuple[float] = IMAGENET_STD
    layout: Literal["NCHW"] = "NCHW"
    normalization_in_model: Literal[True] = True

    def __post_init__(self) -> None:
        for name in ("resize_to", "crop"):
            if not 1 <= min(getattr(self, name)) <= max(getattr(self, name)) <= MAX_SIDE:
                raise RequestError(f"preprocessing: {name} must be 1 to {MAX_SIDE} pixels, not {getattr(self, name)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != self.channels:
                given = getattr(self, name)
                raise RequestError(f"preprocessing: {name} must be {self.channels} number(s), not {given}")
        if min(self.std) <= 0:
            raise RequestError(f"preprocessing: std must be positive, not {self.std}")
        if self.input_range != (0.0, 255.0):
            raise RequestError(f"preprocessing: input_range must be (0, 255), not {self.input_range}")

    @property
    def channels(self) -> int:
        """Of the model's input."""
        return {"RGB": 3, "L": 1}[self.color]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the model's input, (1, C, H, W)."""
        return 1, self.channels, *self.crop

    @classmethod
    def from_crop(cls, image_size: tuple[int, int], crop_pct: float, **others: Any) -> Preprocessing:
        """For a model of `image_size` (height, width) whose crop is `crop_pct` of the resized photograph's side.

        `others` are the other fields, where they are not the usual.
        The rounding is timm's: 224 / 0.96 gives 233, 448 / 1.15 gives 389 and a border of zeros.
        """
        if not (math.isfinite(crop_pct) and crop_pct > 0):
            raise RequestError(f"crop_pct must be a positive number, not {crop_pct!r}")
        height, width = image_size
        resize_to = math.floor(height / crop_pct), math.floor(width / crop_pct)
        return cls(resize_to=resize_to, crop=(height, width), **others)


def open_rgb(path: Path) -> Image.Image:
    """The photograph at `path` as a person sees it, in 8-bit RGB; of several frames or pages, the first.

    EXIF orientation is applied, transparency is laid over white and 16-bit grey is scaled to 8 bits. Colour profiles
    are not applied: the pipelines that trained these models take the numbers as they are, and so must whoever judges
    them.

    Raises:
        UnreadableImage: nothing there, no image, one of a format that is not read, a damaged or truncated one, one of
            more pixels than a photograph (see `max_pixels`), or pixels of unknown range (32-bit).
    """
    from PIL import ImageOps

    with _opened(Path(path)) as image:
        image.load()
        is_jpeg = image.format in ("JPEG", "MPO")
        if is_jpeg and jpeg.may_lack_pixels(image) and jpeg.lacks_pixels(Path(path).read_bytes(), image):
            raise UnreadableImage(path, "some of its pixels are missing: it was cut short; copy or download it again")
        ImageOps.exif_transpose(image, in_place=True)
        return _as_rgb(image)


@dataclass(frozen=True)
class Seen:
    """What is done to a photograph when it is opened, and another program's loader may leave undone.

    Args:
        turned: its EXIF orientation is not upright.
        transparent: something of it is.
    """

    turned: bool
    transparent: bool


def look(path: Path) -> Seen:
    """What `open_rgb` does to the photograph at `path`; UnreadableImage as there."""
    with _opened(Path(path)) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in range(2, 9)
        if not image.has_transparency_data:
            return Seen(turned, False)
        return Seen(turned, image.convert("RGBA").getchannel("A").getextrema()[0] != 255)


def pixels_of(path: Path) -> int:
    """How many pixels the photograph at `path` says it has; 0 where it cannot be opened. Nothing is decoded."""
    try:
        with _opened(Path(path)) as image:
            return image.width * image.height
    except UnreadableImage:
        return 0


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image at `path`, its header read; what is wrong with it, then or in the block, is an UnreadableImage."""
    from PIL import Image, ImageFile, UnidentifiedImageError

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # a library may have set it, and pixels that are missing would be grey
    try:
        if not path.exists():
            raise UnreadableImage(path, "no such file")
        if not path.is_file():  # before opening: to open a pipe would wait for its writer
            raise UnreadableImage(path, "a folder" if path.is_dir() else "not a regular file")
        if kind := NOT_READ.get(path.suffix.lower()):
            raise UnreadableImage(path, f"{kind} ({path.suffix}), which is not read: save it as JPEG or PNG")
        # by file and not by name: Pillow maps a named uncompressed TIFF into memory with its sides already exchanged
        with path.open("rb") as file, Image.open(file, formats=_formats()) as image:
            if _DNG_VERSION in getattr(image, "tag_v2", ()):
                raise ValueError("a camera's raw file (DNG), which is not read: save it as JPEG or PNG")
            _require_sensible(image.width, image.height, path.stat().st_size)
            yield image
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(path, _unidentified(path)) from None
    except OSError as error:
        raise UnreadableImage(path, error.strerror or str(error)) from error
    except Exception as error:  # ours; and damaged files make decoders raise nearly anything: SyntaxError, ...
        raise UnreadableImage(path, str(error) or type(error).__name__) from error


def max_pixels() -> int:
    """Of a photograph that is read; RequestError where the environment says another limit and it is no number."""
    said = os.environ.get(LIMIT)
    if said is None:
        return MAX_PIXELS
    if not re.fullmatch(r"[0-9]{1,12}", said):
        raise RequestError(f"{LIMIT}={said!r} is no number of pixels: give one, or unset it; {MAX_PIXELS} is usual")
    return int(said)


def _require_sensible(width: int, height: int, size: int) -> None:
    """ValueError where an image in a file of `size` bytes has more pixels than a photograph."""
    pixels, limit = width * height, max_pixels()
    few = LIMIT not in os.environ and pixels > max(_MAX_PIXELS_OF_FEW_BYTES, _MAX_PIXELS_A_BYTE * size)
    if few or (LIMIT not in os.environ and max(width, height) > MAX_SIDE):
        why = f"in {size} bytes, which is no photograph" if few else f"and a side of {MAX_SIDE} is read at most"
    elif pixels > limit:
        why = f"and {limit} are read at most"
    else:
        return
    raise ValueError(f"{width} x {height} pixels, {why}: reduce it, or set {LIMIT} to as many")


@cache
def _formats() -> tuple[str, ...]:
    """What `Image.open` may take a file for. Pillow is made ready for it, once."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # it warns above this, and refuses above twice as much, before we can
    try:
        import pillow_heif
    except ImportError:  # a GPU machine that only computes references may do without
        return _FORMATS
    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def _unidentified(path: Path) -> str:
    """Why no format is known for what the file at `path` holds."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return "empty file"
    if head[4:].startswith(_HEIC) and "HEIF" not in _formats():
        return "HEIC, which takes a package that is not installed: pip install pillow-heif, or save it as JPEG"
    return "not an image, or of a format that is not read: save it as JPEG or PNG"


def _as_rgb(image: Image.Image) -> Image.Image:
    """`image` of any of Pillow's modes in RGB; ValueError where nobody can say what its black and white are."""
    from PIL import Image

    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _grey_from_16_bits(image)
    if image.mode == "F":
        raise ValueError("32-bit float pixels: range unknown; save it as 8 or 16 bits a channel")
    if not image.has_transparency_data:
        return image.convert("RGB")
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, _ROWS):  # a few at a time: whole images would be five at once
        part = image.crop((0, top, image.width, min(top + _ROWS, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", part.size, "white"), part), (0, top))
    return result


def _grey_from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits in 8, by the high byte: what Pillow itself does to 16-bit colour, so that grey agrees with it.

    (Its own conversion of these modes clips at 255, which turns a photograph white.)
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("integer pixels outside 0..65535: range unknown; save it as 8 or 16 bits a channel")
    grey = (values >> 8).astype(np.uint8)
    if (transparent := image.info.get("transparency")) is not None:
        grey = np.where(values == transparent, np.uint8(255), grey)  # that one value means white behind it
    return Image.fromarray(grey)


def prepare(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """An RGB image, resized and cropped: uint8 (H, W, C), H and W being `preprocessing.crop`, C its channels.

    Equal to timm's evaluation transforms (`timm.data.transforms_factory.transforms_imagenet_eval`) on an image of a
    Pillow before 13 (see `_resized`) to the last bit; a photograph so oblong that the whole of it, resized, would take
    more than 64 million pixels has only its middle computed, which may differ in the last bit. A grey input is of the
    photograph made grey first, as timm's loader does.
    """
    import numpy as np

    if image.mode != "RGB":
        raise ValueError(f"prepare takes an RGB image, not {image.mode}")
    if preprocessing.color == "L":
        image = image.convert("L")
    resample = _filter(preprocessing)
    height, width = _resized_size((image.height, image.width), preprocessing)
    crop_height, crop_width = preprocessing.crop
    rows, out_rows = _centred(height, crop_height)
    columns, out_columns = _centred(width, crop_width)
    if (height, width) == (image.height, image.width):
        resized = np.asarray(image)[rows, columns]
    elif height * width <= _MAX_RESIZED_PIXELS:
        resized = np.asarray(_resized(image, (height, width), resample))[rows, columns]
    else:
        resized = np.asarray(_resized_part(image, (height, width), rows, columns, resample))
    pixels = np.zeros((crop_height, crop_width, preprocessing.channels), np.uint8)
    pixels[out_rows, out_columns] = resized.reshape(*resized.shape[:2], -1)
    return pixels


def _filter(preprocessing: Preprocessing) -> Image.Resampling:
    from PIL import Image

    return {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[preprocessing.interpolation]


def _resized_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """(height, width) that a photograph of `size` is resized to, rounded as timm does.

    To cover a square box, one side is the box's and the other is rounded down (torchvision's `Resize`); to cover an
    oblong one, both are divided by the smaller of the two ratios and rounded, halves to even (`ResizeKeepRatio`).
    """
    (height, width), (box_height, box_width) = size, preprocessing.resize_to
    if preprocessing.crop_mode == "squash":
        return box_height, box_width
    if box_height != box_width:
        ratio = min(height / box_height, width / box_width)
        return round(height / ratio), round(width / ratio)
    if width >= height:
        return box_height, width * box_height // height
    return height * box_width // width, box_width


def _resized(
    image: Image.Image,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """`image`, or a box (left, top, right, bottom) of it, resized to `size` (height, width): columns, then rows.

    Between the two the levels are rounded, so their order tells. Pillow had this one until 13, which takes rows first
    where that is less work; the phones and the models' training know the one order only. The exception is Pillow's too:
    of what is more than a hundred times as tall as wide, the columns made wider would take gigabytes.
    """
    west, north, east, south = box or (0, 0, image.width, image.height)
    height, width = size
    if height < image.height > 100 * image.width:
        low = image.resize((image.width, height), resample, (0, north, image.width, south))
        return low.resize((width, height), resample, (west, 0, east, height))
    narrow = image.resize((width, image.height), resample, (west, 0, east, image.height))
    return narrow.resize((width, height), resample, (0, north, width, south))


def _resized_part(
    image: Image.Image, size: tuple[int, int], rows: slice, columns: slice, resample: Image.Resampling
) -> Image.Image:
    """`rows` and `columns` of what `image` resized to `size` (height, width) would be, without the rest of it."""
    cut: list[tuple[int, int]] = []  # what of the source, in whole pixels, the filter can reach
    box: list[tuple[float, float]] = []  # what of the cut the part comes from
    for side, resized, part in ((image.width, size[1], columns), (image.height, size[0], rows)):
        scale = side / resized
        reach = math.ceil(2 * max(scale, 1)) + 1
        first, last = max(0, math.floor(part.start * scale) - reach), min(side, math.ceil(part.stop * scale) + reach)
        cut.append((first, last))
        box.append((part.start * scale - first, part.stop * scale - first))
    (left, right), (top, bottom) = cut
    (west, east), (north, south) = box
    wanted = rows.stop - rows.start, columns.stop - columns.start
    return _resized(image.crop((left, top, right, bottom)), wanted, resample, (west, north, east, south))


def _centred(side: int, crop: int) -> tuple[slice, slice]:
    """The part of a side to take and where in the crop to put it, rounded as torchvision's CenterCrop does."""
    if side >= crop:
        start = round((side - crop) / 2)  # halves to even
        return slice(start, start + crop), slice(0, crop)
    before = (crop - side) // 2
    return slice(0, side), slice(before, before + side)


def to_input(pixels: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What the model takes: float32 (B, C, H, W) in 0..255, of one uint8 (H, W, C) or several of one size.

    C is 3, or 1 of a grey image.
    """
    import numpy as np

    batch = np.asarray(pixels)
    if batch.ndim == 3:
        batch = batch[None]
    if batch.ndim != 4 or batch.shape[-1] not in (1, 3):
        raise ValueError(f"to_input takes (H, W, 3 or 1) or several of them, not {batch.shape}")
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)


def normalize(images: Images, preprocessing: Preprocessing) -> Images:
    """What the float reference takes: (images / 255 - mean) / std a channel, of floats (B, C, H, W) in 0..255.

    A NumPy array gives one and a tensor gives one, of the same dtype and on the same device.
    """
    import numpy as np

    white = preprocessing.input_range[1]
    both = preprocessing.mean, preprocessing.std
    if isinstance(images, np.ndarray):
        mean, std = (np.array(values, images.dtype)[:, None, None] for values in both)
    else:
        mean, std = (images.new_tensor(values)[:, None, None] for values in both)
    return (images / white - mean) / std
