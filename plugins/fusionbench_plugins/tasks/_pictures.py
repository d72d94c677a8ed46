"""What the tasks with pictures share: one file to a small grey square."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits: I, I;16, I;16B, F


def decode(content: bytes, size: int) -> NDArray[np.uint8]:
    """Return a picture as uint8 ``[size, size]``: grey, shorter side to ``size``, centre.

    Raises:
        ValueError: It is not a readable picture of 8 bits; the reason holds nothing of it.
    """
    from PIL import Image, ImageOps

    if not content:
        raise ValueError("empty")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            deep, frames = picture.mode.startswith(_DEEP), getattr(picture, "n_frames", 1)
            picture.draft("L", (2 * size, 2 * size))  # a JPEG of 3000 pixels is decoded at a fraction of its size
            fitted = ImageOps.fit(picture.convert("L"), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("not a readable picture") from None
    # converted to 8 bits, the values above 255 would all be white; of a stack, only the first picture would be read
    if deep:
        raise ValueError("more than 8 bits: choose a window of grey values and save 8 bits")
    if frames > 1:
        raise ValueError("several pictures in one file: save each slice as a file")
    return np.asarray(fitted, dtype=np.uint8)
