"""MedFuse's transforms of chest X-rays, on the device and for a batch at once.

Training: shorter side 256, horizontal flip, rotation to 45 degrees, shift to 15 %, scale 0.85 to 1.15, centre crop 224.
Test: shorter side 256, centre crop 224. Other sizes keep the ratio of 256 to 224.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionbench.noise import NoiseSource

FLIPPED: Final = 0.5  # share of pictures; torchvision's default, which the paper's code leaves as it is
DEGREES: Final = 45.0
SHIFT: Final = 0.15  # of width and of height
SCALE: Final = (0.85, 1.15)


class Geometry(NamedTuple):
    """What happens to each picture: mirrored, turned and scaled about its centre, then shifted.

    Args:
        mirror: Float ``[batch]``: -1 mirrors left and right, 1 does not.
        angle: Float ``[batch]``, radians, clockwise.
        scale: Float ``[batch]``, above 1 enlarges.
        right: Float ``[batch]``, shift as a share of the width.
        down: Float ``[batch]``, shift as a share of the height.
    """

    mirror: Tensor
    angle: Tensor
    scale: Tensor
    right: Tensor
    down: Tensor


def geometry_of(uniform: Tensor) -> Geometry:
    """Turn numbers in [0, 1), ``[batch, 5]``, into MedFuse's distribution of geometries."""
    flip, turn, size, right, down = uniform.unbind(dim=1)
    return Geometry(
        mirror=torch.where(flip < FLIPPED, -1.0, 1.0),
        angle=math.radians(DEGREES) * (2 * turn - 1),
        scale=SCALE[0] + (SCALE[1] - SCALE[0]) * size,
        right=SHIFT * (2 * right - 1),
        down=SHIFT * (2 * down - 1),
    )


def framed(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width to which a picture is resized before ``size`` pixels of its centre are looked at."""
    shorter = size + 2 * round(size / 14)  # 256 for 224
    scale = shorter / min(height, width)
    # an even margin: the crop then lies on whole pixels
    return size + 2 * round((height * scale - size) / 2), size + 2 * round((width * scale - size) / 2)


def centre(pictures: Tensor, size: int) -> Tensor:
    """Return the square of ``size`` pixels in the middle of ``[batch, channels, height, width]``."""
    top, left = ((n - size) // 2 for n in pictures.shape[-2:])
    return pictures[..., top : top + size, left : left + size]


def transformed(pictures: Tensor, geometry: Geometry, size: int) -> Tensor:
    """Return the middle ``size`` pixels of transformed pictures, bilinear, black where nothing is.

    Pixel by pixel without matrix products: those would be made in bfloat16 under autocast, and in another order for
    another number of rows.

    Args:
        pictures: Float32 ``[batch, channels, height, width]``, 0 = black.
        geometry: Of each picture.
        size: Side of the result.
    """
    height, width = pictures.shape[-2:]
    mirror, angle, scale, right, down = (g.to(pictures)[:, None, None] for g in geometry)
    offsets = torch.arange(size, device=pictures.device, dtype=pictures.dtype) - (size - 1) / 2
    # from a pixel of the result back to where it comes from, in pixels from the centre
    x, y = offsets[None, None, :] - right * width, offsets[None, :, None] - down * height
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    from_x, from_y = mirror * (cosine * x + sine * y), cosine * y - sine * x
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class MedFusePictures(NoiseSource):
    """Resize and crop as MedFuse does; in training flip, turn, scale and shift by what the loop drew.

    Args:
        size: Side of the result, in pixels.

    Shapes:
        Reads float32 ``[batch, channels, height, width]``, 0 = black; returns ``[batch, channels, size, size]``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """Return five numbers in [0, 1) for each picture."""
        return torch.rand(batch_size, 5, generator=generator)

    def forward(self, pictures: Tensor) -> Tensor:
        """Transform by the drawn numbers; the plain centre in evaluation mode or without a draw."""
        height, width = pictures.shape[-2:]
        frame = framed(height, width, self.size)
        pictures = F.interpolate(pictures, size=frame, mode="bilinear", antialias=True, align_corners=False)
        if not self.training or self.noise.numel() == 0:
            return centre(pictures, self.size)
        return transformed(pictures, geometry_of(self.noise), self.size)
