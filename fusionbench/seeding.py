"""Seeds keyed by purpose and axis.

Two strategies that share a fold and a seed share batch orders, corruption draws and masks, because
neither the strategy's name nor the order of work enters the key. Their difference is then paired.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

Axis = str | int | float | bool | None


def seed_for(purpose: str, **axes: Axis) -> int:
    """Return a 63-bit seed that depends on the purpose and the axes, and on nothing else.

    Args:
        purpose: What the numbers are for, for example ``"batch order"``.
        axes: The coordinates that may change them, for example ``seed=0, fold=2, epoch=7``.
    """
    key = json.dumps([purpose, sorted(axes.items())], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def numpy_generator(purpose: str, **axes: Axis) -> np.random.Generator:
    """Return a NumPy generator seeded by :func:`seed_for`."""
    import numpy as np

    return np.random.default_rng(seed_for(purpose, **axes))


def torch_generator(purpose: str, **axes: Axis) -> torch.Generator:
    """Return a CPU torch generator seeded by :func:`seed_for`.

    Draws are made on the CPU and moved, so that every device sees the same numbers.
    """
    import torch

    return torch.Generator().manual_seed(seed_for(purpose, **axes))
