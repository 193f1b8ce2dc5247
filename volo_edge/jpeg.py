"""Whether a JPEG has all of its pixels.

Of one that was cut short and closed, libjpeg makes the missing pixels grey (the missing detail of a progressive one,
none), and only warns, where nobody hears it. But it decodes whatever follows a scan that is not complete, and passes
over what follows a complete one. So the pixels of a whole JPEG stay as they are when bytes are put behind its scans.

Source: ITU-T T.81, B.1.1 (markers) and B.2.1 (where they stand).
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length: TEM, RST0..7, SOI
_AFTER_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_FILLING = bytes(range(1, 200)) * 20  # any codes but 0xff, of which a marker is made


def may_lack_pixels(image: Image.Image) -> bool:
    """Whether `image`, decoded from a JPEG, could be one that was cut short: it ends in grey, or has several scans."""
    last = image.getpixel((image.width - 1, image.height - 1))
    levels = last if isinstance(last, tuple) else (last,)
    return "progressive" in image.info or all(126 <= (level or 0) <= 129 for level in levels)


def lacks_pixels(data: bytes, image: Image.Image) -> bool:
    """Whether the scans in `data` are less than the whole of `image`, which was decoded from it."""
    from PIL import Image

    with Image.open(io.BytesIO(_filled(data)), formats=("JPEG",)) as filled:
        return bool(filled.tobytes() != image.tobytes())


def _filled(data: bytes) -> bytes:
    """The first image in `data` with bytes behind each of its scans."""
    parts, done, place = [], 0, 2
    while place + 4 <= len(data):
        if data[place] != 0xFF or data[place + 1] == 0xFF:  # fill bytes
            place += 1
            continue
        marker = data[place + 1]
        if marker == _END:
            break
        place += 2 if marker in _ALONE else 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker == _SCAN:
            following = _AFTER_SCAN.search(data, place)
            place = following.start() if following else len(data)
            parts += [data[done:place], _FILLING]
            done = place
    return b"".join((*parts, data[done : place + 2]))
