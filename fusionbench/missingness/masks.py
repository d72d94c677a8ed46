"""Who is present, for a mechanism, a pattern and a rate.

A mechanism gives every cell of rows x modalities a threshold; a pattern says which cells may be hidden and
which go together; a rate hides the cells whose threshold is below it. So masks are nested over rates, and
they are keyed by mechanism, pattern and seed, never by strategy: everyone meets the same absences.

A mechanism that has masks instead of thresholds (:class:`GivenMasks`) is asked for them; they need not be nested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fusionbench.missingness.conditions import Pattern

NEVER = 1.0
"""The threshold of a cell that no rate hides."""


def pattern_thresholds(
    pattern: Pattern,
    thresholds: NDArray[np.float64],
    available: NDArray[np.bool_],
    names: Sequence[str],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Restrict a mechanism's thresholds to a pattern: cells it never hides get :data:`NEVER`.

    ``block`` members share the threshold of the first member; ``all`` and ``one`` take the first column as the threshold of
    the row, so that a rate is a share of rows; ``shares`` hides each member at its own share of the rate.

    Args:
        pattern: What goes together.
        thresholds: Float ``[rows, modalities]`` in [0, 1).
        available: Bool ``[rows, modalities]``.
        names: Modality names, in column order.
        generator: Draws the subset that each row keeps under ``all``.

    Returns:
        Float64 ``[rows, modalities]`` in [0, 1].
    """
    if pattern.kind == "random":
        return thresholds
    result = np.full(thresholds.shape, NEVER)
    if pattern.kind == "block":
        columns = [names.index(member) for member in pattern.members]
        result[:, columns] = thresholds[:, columns[:1]]
    elif pattern.kind == "all":
        kept = _drawn_subsets(available, generator)
        result = np.where(kept, NEVER, thresholds[:, :1])
    elif pattern.kind == "one":
        chosen = _drawn_one(available, generator)
        result[chosen] = thresholds[chosen.any(axis=1), 0]
    elif pattern.kind == "shares":
        columns = [names.index(member) for member in pattern.members]
        # hidden at a rate where its own threshold is below its share of it
        result[:, columns] = np.minimum(thresholds[:, columns] / np.array(pattern.shares), NEVER)
    return result


def _drawn_one(available: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Bool ``[rows, modalities]``: for each row one of its modalities, uniformly drawn; none for rows with a single one."""
    count = available.sum(axis=1)
    place = 1 + (generator.random(len(available)) * count).astype(np.int64)
    chosen: NDArray[np.bool_] = available & (available.cumsum(axis=1) == place[:, None]) & (count > 1)[:, None]
    return chosen


def _drawn_subsets(available: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Bool ``[rows, modalities]``: for each row a proper non-empty subset of its modalities, uniformly drawn.

    Rows with one modality keep it.
    """
    count = available.sum(axis=1)
    # subsets as numbers: bit k of 1 .. 2^count - 2 says whether the row's k-th available modality stays
    subset = 1 + (generator.random(len(available)) * np.maximum(2**count - 2, 1)).astype(np.int64)
    position = np.maximum(available.cumsum(axis=1) - 1, 0)
    kept: NDArray[np.bool_] = available & ((subset[:, None] >> position) & 1).astype(np.bool_)
    return kept


def present_mask(available: NDArray[np.bool_], thresholds: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Hide the cells whose threshold is below the rate, and leave no row empty.

    In each row the available cell with the largest threshold (the first of them on ties) is never hidden, so
    what is hidden at a rate stays hidden at every higher one. The price: where a pattern may hide all that a
    row has, fewer cells vanish than the rate says (two modalities under ``random``: ``r - r ** 2 / 2``);
    :func:`achieved_rate` says how many did.

    Args:
        available: Bool ``[rows, modalities]``, one True in each row at least.
        thresholds: Float ``[rows, modalities]`` in [0, 1].
        rate: 0 <= rate < 1.

    Returns:
        Bool ``[rows, modalities]``, True = present; never True where not available.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), found {rate}")
    last = np.where(available, thresholds, -1.0).argmax(axis=1)
    kept = thresholds >= rate
    kept[np.arange(len(kept)), last] = True
    return available & kept


def achieved_rate(available: NDArray[np.bool_], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the available cells that are hidden, by modality.

    Args:
        available: Bool ``[rows, modalities]``.
        present: Bool ``[..., rows, modalities]``.

    Returns:
        Float64 ``[..., modalities]``; NaN for a modality that no row has.
    """
    held = available.sum(axis=0)
    hidden = held - (present & available).sum(axis=-2)
    shares: NDArray[np.float64] = np.divide(hidden, held, out=np.full(hidden.shape, np.nan), where=held > 0)
    return shares


def achieved_share(available: NDArray[np.bool_], present: NDArray[np.bool_]) -> float:
    """Return the share of all available cells that are hidden, ``[rows, modalities]`` both."""
    return float(1 - (present & available).sum() / max(available.sum(), 1))


MASK_NAME = 16
"""Characters of a mask's digest that name it in tables and in the store."""


def mask_digest(mask: NDArray[np.bool_]) -> str:
    """Hash a mask of any shape, to cite it: equal digests, equal absences."""
    shape = "x".join(map(str, mask.shape))
    return hashlib.sha256(shape.encode() + b":" + np.packbits(mask).tobytes()).hexdigest()
