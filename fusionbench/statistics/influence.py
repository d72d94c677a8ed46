"""What each patient contributes to a score: influence values, of which covariances between scores are sums of products.

Scores are in columns (a line under a condition with a seed); their covariance because of which patients were drawn is
``influence @ influence.T``. A weighted sum of scores has the same weighted sum of influence values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

Floats = NDArray[np.float64]


class Influence(NamedTuple):
    """Scores of one fold with what patients contribute.

    Args:
        values: Float64 ``[...]``: the scores; NaN where they are not defined.
        patients: Float64 ``[..., patients]`` (or ``[..., resamples]``): sums of products are covariances.
    """

    values: Floats
    patients: Floats


class Patients:
    """Which rows belong to which patient.

    Args:
        groups: ``[rows]``: equal for rows of one patient.
    """

    def __init__(self, groups: NDArray[Any]) -> None:
        _, self.codes = np.unique(np.asarray(groups), return_inverse=True)
        self.count = int(self.codes.max(initial=-1)) + 1
        rows = len(self.codes)
        self._sums = sparse.csr_array(
            (np.ones(rows), (np.arange(rows), self.codes)), shape=(rows, self.count), dtype=np.float64
        )
        self._alone = self.count == rows and bool((self.codes == np.arange(rows)).all())

    def summed(self, by_row: Floats) -> Floats:
        """Sums over each patient's rows: ``[..., rows]`` to ``[..., patients]``."""
        if self._alone:
            return by_row
        flat = by_row.reshape(-1, by_row.shape[-1])
        summed: Floats = np.asarray(flat @ self._sums).reshape(*by_row.shape[:-1], self.count)
        return summed

    def having(self, rows: NDArray[np.bool_]) -> int:
        """How many patients have one of these rows."""
        return len(np.unique(self.codes[rows]))


def auroc_influence(scores: Floats, positive: NDArray[np.bool_], patients: Patients) -> Influence:
    """AUROC with DeLong's (1988) influence values, for several rows of a patient as Obuchowski (1997) sums them.

    With one row for each patient the sum of squares is DeLong's variance exactly.

    Args:
        scores: Float ``[..., rows]``, without NaN.
        positive: Bool ``[rows]``.
        patients: Of the rows.

    Returns:
        NaN and zeros where one of the classes does not occur.
    """
    scores = np.asarray(scores, dtype=np.float64)
    found, others = int(positive.sum()), int((~positive).sum())
    if found == 0 or others == 0:
        empty = scores.shape[:-1]
        return Influence(np.full(empty, np.nan), np.zeros((*empty, patients.count)))
    everywhere = stats.rankdata(scores, axis=-1)
    # how many of the other class score lower, ties by half
    above = (everywhere[..., positive] - stats.rankdata(scores[..., positive], axis=-1)) / others
    below = 1 - (everywhere[..., ~positive] - stats.rankdata(scores[..., ~positive], axis=-1)) / found
    value = above.mean(axis=-1)
    by_row = np.zeros(scores.shape)
    by_row[..., positive] = (above - value[..., None]) / found * _unbiased(patients.having(positive))
    by_row[..., ~positive] = (below - value[..., None]) / others * _unbiased(patients.having(~positive))
    return Influence(value, patients.summed(by_row))


def mean_influence(by_row: Floats, patients: Patients) -> Influence:
    """Mean over rows of what is summed, for example minus the squared error.

    Args:
        by_row: Float ``[..., rows]``.
        patients: Of the rows.
    """
    by_row = np.asarray(by_row, dtype=np.float64)
    value = by_row.mean(axis=-1)
    shares = (by_row - value[..., None]) / by_row.shape[-1] * _unbiased(patients.count)
    return Influence(value, patients.summed(shares))


def _unbiased(count: int) -> float:
    return float(np.sqrt(count / (count - 1))) if count > 1 else 0.0


def resampled_influence(values: Floats, resampled: Floats) -> tuple[Influence, int]:
    """A score of which only resamples are known (average precision, ECE, F1).

    Args:
        values: Float ``[...]``: the scores on the rows as they are.
        resampled: Float ``[..., resamples]``: the same of resampled patients, the same resamples for all. A resample without a
            value for some of those that have one on all rows is dropped for all.

    Returns:
        The scores, and how many resamples were dropped.
    """
    defined = ~np.isnan(values)
    whole = ~np.isnan(resampled[defined]).any(axis=0) if defined.any() else np.ones(resampled.shape[-1], dtype=np.bool_)
    kept = resampled[..., whole]
    if kept.shape[-1] < 2:
        raise ValueError(f"two resamples at least must have a value for every score, found {kept.shape[-1]}")
    shares = (kept - kept.mean(axis=-1, keepdims=True)) / np.sqrt(kept.shape[-1] - 1)
    return Influence(values, np.where(defined[..., None], shares, 0.0)), int((~whole).sum())


def strata_of(positive: NDArray[np.bool_], patients: Patients) -> NDArray[np.int64]:
    """Strata of patients for binary targets and labels: 1 for patients with a positive row (of any label), 0 for the others.

    Args:
        positive: Bool ``[rows]`` or ``[rows, labels]``.
        patients: Of the rows.
    """
    rows = positive if positive.ndim == 1 else positive.any(axis=1)
    strata = np.zeros(patients.count, dtype=np.int64)
    strata[patients.codes[rows]] = 1
    return strata


def strata_of_classes(target: NDArray[np.int64], patients: Patients) -> NDArray[np.int64]:
    """Strata of patients by their most frequent class, the smaller of equals."""
    counts = np.zeros((patients.count, int(target.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (patients.codes, target), 1)
    strata: NDArray[np.int64] = counts.argmax(axis=1)
    return strata


def drawn_counts(
    strata: NDArray[np.int64], patients: Patients, resamples: int, generator: np.random.Generator
) -> NDArray[np.uint16]:
    """How often each row is drawn: of each stratum one patient less than it has, with replacement.

    One less makes the variance of a mean unbiased. A stratum of one keeps its patient.

    Returns:
        ``[rows, resamples]``.
    """
    counts = np.zeros((patients.count, resamples), dtype=np.uint16)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        if len(members) == 1:
            counts[members] = 1
            continue
        drawn = members[generator.integers(0, len(members), (resamples, len(members) - 1))]
        np.add.at(counts, (drawn.T, np.arange(resamples)), 1)
    return counts[patients.codes]


def smaller_class(positive: NDArray[np.bool_], patients: Patients) -> float:
    """Degrees of freedom that a fold adds: patients of the smaller class, less one.

    Args:
        positive: Bool ``[rows]``, or ``[rows, labels]`` (classes: each against the rest), of which those with both classes are
            averaged.
        patients: Of the rows.
    """
    columns = positive.reshape(len(positive), -1).T
    found = [
        min(patients.having(column), patients.having(~column)) - 1
        for column in columns
        if column.any() and not column.all()
    ]
    return float(np.mean(found)) if found else 0.0
