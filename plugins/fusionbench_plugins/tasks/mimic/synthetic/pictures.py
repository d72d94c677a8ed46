"""Draws chest pictures: lungs, heart, diaphragm, spine, opacities; written as grey JPEGs.

Evidence raises the opacity around the hila and in the lower zones. Interplay moves opacity between the
upper zones (right against left) and coarsens a fine pattern in both lungs. The cardiac factor widens the
heart. All are nearly linear in the mean grey level of regions; position, exposure and noise vary.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench_plugins.tasks.mimic.synthetic.latents import Floats

Grey = NDArray[np.float32]

ASPECT = 0.83  # short side / long side, as of 2544 x 3056
_QUALITY = 92
_HILA = ((-0.4, 0.2), (0.4, 0.2))
_APICES = ((-0.4, -0.38), (0.4, -0.38))


class Canvas(NamedTuple):
    """Shape of the pictures, and whether they are taken from the side."""

    height: int
    width: int
    lateral: bool = False


def canvas_for(image_size: int, upright: bool, lateral: bool = False) -> Canvas:
    """Return landscape for bedside pictures, portrait for upright ones."""
    short = round(image_size * ASPECT)
    return Canvas(image_size, short, lateral) if upright else Canvas(short, image_size, lateral)


def draw_pictures(shown: Floats, cardiac: Floats, canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture per row.

    Args:
        shown: ``[pictures, 2]``, evidence and interplay, about standard normal.
        cardiac: ``[pictures]``, standard normal.
        canvas: What all of them look like.
        rng: For position, exposure and noise.

    Returns:
        ``[pictures, height, width]``, 0 is black.
    """
    count = len(shown)
    evidence, interplay, heart = (np.clip(v, -3.2, 3.2).astype(np.float32) for v in (*shown.T, cardiac))
    x, y = _coordinates(count, canvas, rng)
    lungs = _lungs(x, y, canvas.lateral)
    picture = 0.66 - 0.46 * lungs
    hilar = np.clip(0.24 + 0.075 * evidence, 0, None)
    for side, (cx, cy) in zip((-1, 1), _HILA, strict=True):
        wobble = rng.normal(0, 0.012, count).astype(np.float32)
        picture += lungs * _column(hilar + wobble) * _blob(x, y, cx, cy, 0.42)
        picture += lungs * _column(0.14 + 0.042 * side * interplay + wobble) * _blob(x, y, *_APICES[side > 0], 0.28)
    picture += lungs * _column(0.035 + 0.01 * interplay) * rng.standard_normal(x.shape, dtype=np.float32)
    shape = ((x - 0.1) / _column(0.3 + 0.035 * heart)) ** 2 + ((y - 0.38) / 0.34) ** 2
    picture += (0.8 - picture) * _soft(1 - shape, 0.15)
    picture += (0.74 - picture) * _soft(y - 0.68, 0.05)
    picture += (0.78 - picture) * 0.6 * _soft(np.float32(0.09) - np.abs(x), 0.03)
    exposure = rng.normal(0, 0.012, (2, count)).astype(np.float32)
    picture = picture * _column(1 + exposure[0]) + _column(exposure[1])
    picture += 0.02 * rng.standard_normal(x.shape, dtype=np.float32)
    grey: NDArray[np.uint8] = np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8)
    return grey


def _column(values: Floats | Grey) -> Grey:
    return np.asarray(values, np.float32)[:, None, None]


def _coordinates(count: int, canvas: Canvas, rng: np.random.Generator) -> tuple[Grey, Grey]:
    """-1 to 1 across each side, slightly shifted from picture to picture."""
    x, y = np.linspace(-1, 1, canvas.width, dtype=np.float32), np.linspace(-1, 1, canvas.height, dtype=np.float32)
    shift = rng.normal(0, 0.015, (2, count)).astype(np.float32)
    shape = (count, canvas.height, canvas.width)
    return (np.broadcast_to(x + _column(shift[0]), shape), np.broadcast_to(y[:, None] + _column(shift[1]), shape))


def _soft(inside: Grey, width: float) -> Grey:
    """Rise from 0 to 1 where ``inside`` turns positive."""
    edge: Grey = 1 / (1 + np.exp(-np.clip(inside / np.float32(width), -20, 20)))
    return edge


def _blob(x: Grey, y: Grey, cx: float, cy: float, radius: float) -> Grey:
    blob: Grey = np.exp(-((x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2) / np.float32(radius**2))
    return blob


def _lungs(x: Grey, y: Grey, lateral: bool) -> Grey:
    centre = np.float32(0.12 if lateral else 0.42)
    fields = [_soft(1 - ((x - c) / 0.34) ** 2 - ((y + 0.02) / 0.72) ** 2, 0.12) for c in (-centre, centre)]
    return np.maximum(*fields)


def jpeg_bytes(picture: NDArray[np.uint8]) -> bytes:
    """Encode one picture ``[height, width]``."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
