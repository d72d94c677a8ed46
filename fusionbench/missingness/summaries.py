"""One number for each row of a modality, for mechanisms that look at what is observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator


def first_component(values: NDArray[Any], available: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return one standardised number for each row: its first principal component; 0 where not available.

    Of the two directions the one with the larger sum of cubed loadings is taken, on every machine.

    Args:
        values: ``[rows, ...]``.
        available: Bool ``[rows]``.
    """
    from scipy.sparse.linalg import svds

    result = np.zeros(len(values))
    if available.sum() < 2:
        return result
    flat = values[available].reshape(int(available.sum()), -1).astype(np.float64)
    spread = flat.std(axis=0)
    varies = spread > 1e-9 * np.abs(flat).max(axis=0)
    if not varies.any():
        return result
    centred = (flat - flat.mean(axis=0))[:, varies] / spread[varies]
    if min(centred.shape) == 1:
        axis = np.ones(1) if centred.shape[1] == 1 else centred[0]
    else:  # one axis of a series or an image, without the others
        start = numpy_generator("first component").normal(size=min(centred.shape))
        axis = svds(centred, k=1, v0=start)[2][0]
    component = centred @ (axis if (axis**3).sum() >= 0 else -axis)
    result[available] = component / (component.std() or 1.0)
    return result
