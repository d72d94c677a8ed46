"""What the tasks with pictures share: one file to a small grey square.

A picture is read as a viewer draws it, or refused: nothing that the file says is left out on the way to grey values.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits: I, I;16, I;16B, F
# how Pillow names what it unpacks (RGB;16B, LA;16B, I;12): modes of 8 bits hide that only the high byte is kept
_DEEP_RAW = re.compile(r";(12|16|24|32|64)(?![0-9])")
_PACKED = frozenset({"BGR;16"})  # a pixel of 16 bits, 5 or 6 for each colour
_TOO_DEEP = "more than 8 bits: choose a window of grey values and save 8 bits"
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_2000_SIZE = b"\xff\x4f\xff\x51"  # the marker that begins a code stream, and the one of its sizes


def decode(content: bytes, size: int) -> NDArray[np.uint8]:
    """Return a picture as uint8 ``[size, size]``: grey, the right way up, shorter side to ``size``, centre.

    Raises:
        ValueError: It is not a readable picture of 8 bits without transparent parts; the reason holds nothing of it.
    """
    from PIL import Image, ImageOps

    if not content:
        raise ValueError("empty")
    if content.startswith(b"version https://git-lfs"):
        raise ValueError("a Git-LFS pointer, not the picture: fetch the pictures with 'git lfs pull'")
    if content[128:132] == b"DICM":
        raise ValueError("DICOM, which is not read: choose a window of grey values and save 8 bits")
    if content.startswith(b"\xff\xd8") and _jpeg_bits(None, content) > 8:  # Pillow does not open it
        raise ValueError(_TOO_DEEP)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            deep, frames = _deep(picture, content), getattr(picture, "n_frames", 1)
            if not deep and frames == 1:
                picture.draft("L", (2 * size, 2 * size))  # a JPEG of 3000 pixels is decoded at a fraction of its size
                see_through = _see_through(picture)
                fitted = ImageOps.fit(_upright(picture).convert("L"), (size, size), Image.Resampling.BILINEAR)
    except (
        OSError,
        SyntaxError,
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        raise ValueError("not a readable picture") from None
    # converted to 8 bits, the values above 255 would all be white; of a stack, only the first picture would be read
    if deep:
        raise ValueError(_TOO_DEEP)
    if frames > 1:
        raise ValueError("several pictures in one file: save each slice as a file")
    # what is drawn there depends on the ground, which the file does not have
    if see_through:
        raise ValueError("transparent parts: lay it on a ground and save it without transparency")
    return np.asarray(fitted, dtype=np.uint8)


def blank(picture: NDArray[np.uint8]) -> bool:
    """Whether a picture is one even grey: there is nothing in it to see."""
    return bool(picture.min() == picture.max())


def _deep(picture: Image.Image, content: bytes) -> bool:
    """Whether the file holds more than 8 bits for each colour, whatever Pillow makes of it."""
    if picture.mode.startswith(_DEEP):
        return True
    bits = _BITS.get(str(picture.format))
    if bits is not None:
        return bits(picture, content) > 8
    words = [word for tile in getattr(picture, "tile", ()) for word in _words(tile[3])]
    return any(_DEEP_RAW.search(word) for word in words if word not in _PACKED)


def _words(arguments: object) -> list[str]:
    return [a for a in (arguments if isinstance(arguments, tuple) else (arguments,)) if isinstance(a, str)]


def _png_bits(_: Image.Image, content: bytes) -> int:
    return content[24]  # of the first chunk, which has a fixed layout


def _sgi_bits(_: Image.Image, content: bytes) -> int:
    return 8 * content[3]


def _tiff_bits(picture: Image.Image, _: bytes) -> int:
    found = getattr(picture, "tag_v2", {}).get(258, 1)
    return int(max(found if isinstance(found, tuple) else (found,)))


def _ppm_bits(_: Image.Image, content: bytes) -> int:
    words = re.sub(rb"#[^\r\n]*", b"", content[:4096]).split(maxsplit=4)
    largest = words[3] if len(words) > 3 and words[0] not in (b"P1", b"P4") else b"1"
    return int(largest).bit_length() if largest.isdigit() else 8


def _jpeg_bits(_: Image.Image | None, content: bytes) -> int:
    """Bits of each colour, from the header of the frame."""
    at = 2
    while at + 5 <= len(content) and content[at] == 0xFF:
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in _START_OF_FRAME:
            return content[at + 4]
        at += 1 if marker == 0xFF else 2 + length
    return 8


def _jpeg_2000_bits(_: Image.Image, content: bytes) -> int:
    """Most bits of a component, from the sizes at the head of the code stream."""
    at = content.find(_JPEG_2000_SIZE)
    if at < 0:
        return 8
    at += len(_JPEG_2000_SIZE) + 36
    components = int.from_bytes(content[at : at + 2], "big")
    return max([(depth & 0x7F) + 1 for depth in content[at + 2 : at + 2 + 3 * components : 3]], default=8)


def _avif_bits(_: Image.Image, content: bytes) -> int:
    at = content.find(b"av1C")
    return 10 if at >= 0 and content[at + 6 : at + 7] and content[at + 6] & 0x40 else 8


_BITS: dict[str, Callable[[Image.Image, bytes], int]] = {
    "PNG": _png_bits,
    "SGI": _sgi_bits,
    "TIFF": _tiff_bits,
    "PPM": _ppm_bits,
    "JPEG": _jpeg_bits,
    "MPO": _jpeg_bits,
    "JPEG2000": _jpeg_2000_bits,
    "AVIF": _avif_bits,
}
"""By format, how many bits a colour has in the file."""


def _upright(picture: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF says that the camera or the scanner was held."""
    from PIL import ImageOps

    picture.load()  # what is wrong with the pixels is raised here, and not taken for a damaged EXIF
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001 - a block of EXIF that cannot be read says nothing: libraries raise many things
        return picture


def _see_through(picture: Image.Image) -> bool:
    """Whether a part of the picture is not opaque."""
    if not picture.has_transparency_data:
        return False
    alpha = picture.convert("RGBA").getchannel("A")
    return bool(np.asarray(alpha).min() < 255)
