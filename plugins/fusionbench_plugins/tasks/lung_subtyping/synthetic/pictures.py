"""Draws CT and PET slices of a nodule: density, size and rim follow what CT shows, uptake follows what PET shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
_ROWS_AT_ONCE = 256


def draw_ct(shown: NDArray[np.float64], size: int, rng: np.random.Generator) -> Grey:
    """Draw uint8 ``[rows, size, size]``: dark lung with vessels, and a nodule, from faint and small to solid and large."""
    x, y = _grid(len(shown), size, rng)
    z = np.clip(shown, -3, 3).astype(np.float32)[:, None, None]
    radius = np.clip(0.22 + 0.05 * z, 0.06, 0.5)
    distance = np.hypot(x, y)
    inside = _soft((radius - distance) / 0.06)
    density = np.clip(0.28 + 0.11 * z, 0.02, 0.75)
    core = _soft((radius * np.clip(0.35 + 0.18 * z, 0.0, 0.95) - distance) / 0.05)  # the solid part
    angle = np.arctan2(y, x)
    spikes = (
        np.clip(z, 0, None) * 0.05 * np.clip(np.cos(9 * angle), 0, None) * np.exp(-(((distance - radius) / 0.12) ** 2))
    )
    vessels = 0.05 * np.clip(np.sin(7 * x + 5 * y), 0.6, None)
    picture = 0.14 + vessels + density * inside + 0.22 * core * inside + spikes
    return _grey(picture + 0.035 * rng.standard_normal(picture.shape, dtype=np.float32))


def draw_pet(shown: NDArray[np.float64], size: int, rng: np.random.Generator) -> Grey:
    """Draw uint8 ``[rows, size, size]``: dark ground, some uptake of the mediastinum, and the nodule's."""
    x, y = _grid(len(shown), size, rng)
    z = np.clip(shown, -3, 3).astype(np.float32)[:, None, None]
    uptake = np.clip(0.25 + 0.13 * z, 0.0, 0.8)
    nodule = uptake * np.exp(-((x**2 + y**2) / 0.12))
    mediastinum = 0.25 * np.exp(-(((x + 0.9) ** 2 + (y - 0.1) ** 2) / 0.15))
    picture = 0.08 + nodule + mediastinum
    return _grey(picture + 0.05 * rng.standard_normal(picture.shape, dtype=np.float32))


def in_parts(rows: int) -> list[slice]:
    """Return the parts in which pictures are drawn, so that a large cohort needs little memory."""
    return [slice(start, min(start + _ROWS_AT_ONCE, rows)) for start in range(0, rows, _ROWS_AT_ONCE)]


def _grid(rows: int, size: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    side = np.linspace(-1, 1, size, dtype=np.float32)
    shift = rng.normal(0, 0.06, (2, rows, 1, 1)).astype(np.float32)
    shape = (rows, size, size)
    return np.broadcast_to(side + shift[0], shape), np.broadcast_to(side[:, None] + shift[1], shape)


def _soft(inside: NDArray[np.float32]) -> NDArray[np.float32]:
    edge = 1 / (1 + np.exp(-np.clip(inside, -20, 20)))
    return np.asarray(edge, dtype=np.float32)


def _grey(picture: NDArray[np.float32]) -> Grey:
    grey: Grey = np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8)
    return grey
