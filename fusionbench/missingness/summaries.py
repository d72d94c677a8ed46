"""One number for each row of a modality, for mechanisms that look at what is observed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator


def first_component(
    values: NDArray[Any], available: NDArray[np.bool_], train: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Return one number for each row: its first principal component, as fitted on training rows; 0 where not available.

    Of the two directions the one with the larger sum of cubed loadings is taken, on every machine.

    Args:
        values: ``[rows, ...]``.
        available: Bool ``[rows]``.
        train: The rows whose mean, spread and axis are taken; over them the component has mean 0 and spread 1. None: all.
    """
    from scipy.sparse.linalg import svds

    result = np.zeros(len(values))
    fitted_on = np.flatnonzero(available) if train is None else train[available[train]]
    if len(fitted_on) < 2:
        return result
    flat = values[fitted_on].reshape(len(fitted_on), -1).astype(np.float64)
    mean, spread = flat.mean(axis=0), flat.std(axis=0)
    varies = spread > 1e-9 * np.abs(flat).max(axis=0)
    if not varies.any():
        return result
    centred = (flat - mean)[:, varies] / spread[varies]
    if min(centred.shape) == 1:
        axis = np.ones(1) if centred.shape[1] == 1 else centred[0]
    else:  # one axis of a series or an image, without the others
        start = numpy_generator("first component").normal(size=min(centred.shape))
        axis = svds(centred, k=1, v0=start)[2][0]
    axis = axis if (axis**3).sum() >= 0 else -axis
    scale = (centred @ axis).std() or 1.0
    result[fitted_on] = centred @ axis / scale
    others = np.setdiff1d(np.flatnonzero(available), fitted_on)
    for rows in np.array_split(others, 1 + len(others) // max(len(fitted_on), 1)):  # no more memory than the fit took
        held = values[rows].reshape(len(rows), flat.shape[1]).astype(np.float64)
        result[rows] = (held - mean)[:, varies] / spread[varies] @ axis / scale
    return result
