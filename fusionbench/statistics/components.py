"""Where the scatter of scores comes from: patients, training runs, training sets.

Lines are readers, training runs are readings: the model of Obuchowski and Rockette (1995) with Hillis' (2007) degrees of
freedom, and a factor by which lines differ more from fold to fold than patients make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

EQUAL = 1e-12
"""Numbers no further apart are equal."""
UNSTABLE = 0.01
"""Chance that some line of a pool of stable ones is called unstable, at each look."""


class PatientCovariance(NamedTuple):
    """Covariance of scores that comes from which patients are in the test part, fold by fold.

    Args:
        same: Float64 ``[folds, lines, lines]``: mean over all pairs of seeds, a seed with itself too.
        cross: The same over pairs of different seeds, symmetric; with one seed the same as ``same``.
        scatter: Whether a line's score depends on patients at all: bool ``[lines]``.
        df: Degrees of freedom with which it is estimated; infinite: it is known.
    """

    same: Floats
    cross: Floats
    scatter: NDArray[np.bool_]
    df: float

    @classmethod
    def of(cls, covariance: Floats, df: float) -> PatientCovariance:
        """Take it from whole matrices: float ``[folds, seeds, lines, seeds, lines]``."""
        p = np.asarray(covariance, dtype=np.float64)
        seeds = p.shape[1]
        same = p.mean(axis=(1, 3))
        own = np.einsum("ksmsl->kml", p)
        cross = (p.sum(axis=(1, 3)) - own) / (seeds * (seeds - 1)) if seeds > 1 else same
        variances = np.einsum("ksmsm->ksm", p)
        return cls(same, (cross + cross.transpose(0, 2, 1)) / 2, variances.max(axis=(0, 1)) > EQUAL, df)

    @classmethod
    def of_influence(cls, influence: list[Floats], df: float) -> PatientCovariance:
        """Take it from influence values: by fold, float ``[seeds, lines, patients]``."""
        same, cross, scatter = [], [], []
        for values in influence:
            seeds = len(values)
            mean = values.mean(axis=0)
            whole = mean @ mean.T
            same.append(whole)
            if seeds > 1:
                own = sum(v @ v.T for v in values)
                cross.append((seeds * seeds * whole - own) / (seeds * (seeds - 1)))
            else:
                cross.append(whole)
            scatter.append(np.square(values).sum(axis=-1).max(axis=0))
        return cls(np.stack(same), np.stack(cross), np.max(scatter, axis=0) > EQUAL, df)


@dataclass(frozen=True)
class Components:
    """The parts of the variance of M lines over K folds and S seeds.

    Args:
        theta: Float64 ``[folds, seeds, lines]``: the scores, higher is better.
        patients: What patients add.
        same: Covariance of line values over patients, these trained models given: ``[lines, lines]``.
        cross: The same if models were trained again, negative eigenvalues set to 0.
        constant: Bool ``[lines]``: every score is equal and no patient changes it.
        fixed: Constant, or the same with every seed: a method without chance.
        pool: Positions of the lines that share one run variance.
        unstable: Positions of lines whose own runs scatter more, in the order in which they left the pool.
        ms_run: Mean square of runs over the pool: the run variance of one of its lines.
        df_run: Its degrees of freedom; infinite where there is no such mean square.
        run: ``[lines]``: run variance of each line.
        df_own: Degrees of freedom of an unstable line's run variance.
        ms_fold: Mean square of lines from fold to fold.
        df_fold: Its degrees of freedom.
        ms_res: Mean square of what is left.
        df_res: Its degrees of freedom.
        pat_fold: What of ``ms_fold`` patients explain.
        dispersion: How much more lines differ from fold to fold than patients make them, at least 1.
    """

    theta: Floats
    patients: PatientCovariance
    same: Floats
    cross: Floats
    constant: NDArray[np.bool_]
    fixed: NDArray[np.bool_]
    pool: tuple[int, ...]
    unstable: tuple[int, ...]
    ms_run: float
    df_run: float
    run: Floats
    df_own: float
    ms_fold: float
    df_fold: float
    ms_res: float
    df_res: float
    pat_fold: float
    dispersion: float

    @property
    def folds(self) -> int:
        """Their number."""
        return int(self.theta.shape[0])

    @property
    def seeds(self) -> int:
        """Their number."""
        return int(self.theta.shape[1])

    @property
    def lines(self) -> int:
        """Their number."""
        return int(self.theta.shape[2])

    @property
    def value(self) -> Floats:
        """``[lines]``: mean over folds and seeds."""
        value: Floats = self.theta.mean(axis=(0, 1))
        return value

    @property
    def covariance(self) -> Floats:
        """``[lines, lines]``: of the line values, if they were trained again."""
        return self.dispersion * self.cross + np.diag(self.run / self.seeds)


def components(theta: Floats, patients: PatientCovariance) -> Components:
    """Take the scatter of scores apart.

    Args:
        theta: Float ``[folds, seeds, lines]``, without NaN; higher is better.
        patients: What comes from which patients were in the test parts.

    Raises:
        ValueError: Shapes do not fit, or a score is not finite.
    """
    theta = np.asarray(theta, dtype=np.float64)
    if theta.ndim != 3 or 0 in theta.shape or not np.isfinite(theta).all():
        raise ValueError(f"scores must be finite numbers [folds, seeds, lines], found shape {theta.shape}")
    folds, seeds, lines = theta.shape
    if patients.same.shape != (folds, lines, lines):
        raise ValueError(f"patients' covariance is {patients.same.shape}, where scores ask for {(folds, lines, lines)}")
    same = patients.same.sum(axis=0) / folds**2
    cross = patients.cross.sum(axis=0) / folds**2
    cross = _without_negative(cross) if seeds > 1 else cross
    constant = (np.ptp(theta, axis=(0, 1)) <= EQUAL) & ~patients.scatter
    fixed = constant | (np.ptp(theta, axis=1).max(axis=0) <= EQUAL) if seeds > 1 else constant
    pool, unstable = _pool(theta, np.flatnonzero(~fixed).tolist())
    ms_run, df_run = _mean_square_of_runs(theta.mean(axis=0), pool)
    run = np.zeros(lines)
    run[pool] = ms_run
    for line in unstable:
        run[line] = _own_run_variance(theta, line, pool, ms_run)
    spread = pool if len(pool) >= 2 else np.flatnonzero(~constant).tolist()
    ms_fold, df_fold, ms_res, df_res, pat_fold = _over_folds(
        theta[:, :, spread], patients.cross[:, spread][:, :, spread]
    )
    dispersion = max((ms_fold - ms_res / seeds) / pat_fold, 1.0) if pat_fold > 0 else 1.0
    return Components(
        theta, patients, same, cross, constant, fixed, tuple(pool), tuple(unstable), ms_run, df_run, run,
        folds * (seeds - 1), ms_fold, df_fold, ms_res, df_res, pat_fold, dispersion,
    )  # fmt: skip


def _without_negative(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    cleared: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
    return cleared


def symmetric_root(matrix: Floats) -> Floats:
    """The symmetric root of a covariance matrix; negative eigenvalues count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def centred(table: Floats, *axes: int) -> Floats:
    """Subtract means along axes, one axis after the other."""
    for axis in axes:
        table = table - table.mean(axis=axis, keepdims=True)
    return table


# --------------------------------------------------------------------------------------------
# runs


def _pool(theta: Floats, candidates: list[int]) -> tuple[list[int], list[int]]:
    """Divide lines with chance into those that share one run variance and those that scatter more."""
    folds, seeds = len(theta), int(theta.shape[1])
    pool, unstable = list(candidates), list[int]()
    if seeds == 1:
        return pool, unstable
    least = max(ceil(len(pool) / 2), 2)
    deviations = theta - theta.mean(axis=1, keepdims=True)
    level = 1 - UNSTABLE / max(len(candidates), 1)
    while len(pool) > least:
        others = [[o for o in pool if o != line] for line in pool]
        ratios = [_ratio(deviations, line, o) for line, o in zip(pool, others, strict=True)]
        worst = int(np.argmax(ratios))
        rest = len(pool) - 1
        if not ratios[worst] > stats.f.ppf(level, folds * (seeds - 1), folds * (seeds - 1) * (rest - 1)):
            break
        unstable.append(pool.pop(worst))
    return pool, unstable


def _ratio(deviations: Floats, line: int, others: list[int]) -> float:
    """F of one line's scatter over seeds against that of others."""
    folds, seeds = len(deviations), int(deviations.shape[1])
    middle = deviations[:, :, others].mean(axis=2)
    own = float(np.square(deviations[:, :, line] - middle).sum()) / (folds * (seeds - 1))
    theirs = _scatter_of(deviations, others)
    if theirs == 0:
        return np.inf if own > 0 else 0.0
    return own / (theirs * (1 + 1 / len(others)))


def _scatter_of(deviations: Floats, lines: list[int]) -> float:
    """Mean square of lines around their mean, over seeds within folds."""
    folds, seeds = len(deviations), int(deviations.shape[1])
    if len(lines) < 2:
        return 0.0
    around = centred(deviations[:, :, lines], 2)
    return float(np.square(around).sum()) / (folds * (seeds - 1) * (len(lines) - 1))


def _mean_square_of_runs(by_seed: Floats, pool: list[int]) -> tuple[float, float]:
    """Mean square of ``[seeds, lines]`` over the pool, and its degrees of freedom."""
    seeds = len(by_seed)
    if seeds == 1 or not pool:
        return 0.0, np.inf
    if len(pool) == 1:
        return float(by_seed[:, pool[0]].var(ddof=1)), seeds - 1
    df = float((seeds - 1) * (len(pool) - 1))
    return float(np.square(centred(by_seed[:, pool], 0, 1)).sum()) / df, df


def _own_run_variance(theta: Floats, line: int, pool: list[int], ms_run: float) -> float:
    """Run variance of an unstable line: the largest of three estimates."""
    folds, seeds = len(theta), int(theta.shape[1])
    by_seed = theta.mean(axis=0)
    against = by_seed[:, line] - by_seed[:, pool].mean(axis=1)
    over_seeds = float(against.var(ddof=1)) - ms_run / len(pool)
    deviations = theta - theta.mean(axis=1, keepdims=True)
    own = float(np.square(deviations[:, :, line] - deviations[:, :, pool].mean(axis=2)).sum()) / (folds * (seeds - 1))
    within_folds = (own - _scatter_of(deviations, pool) / len(pool)) / folds
    return max(over_seeds, within_folds, ms_run)


# --------------------------------------------------------------------------------------------
# folds


def _over_folds(theta: Floats, cross: Floats) -> tuple[float, float, float, float, float]:
    """Mean squares of folds and of what is left, with degrees of freedom, and what patients explain of the first."""
    folds, seeds, lines = theta.shape
    if folds == 1 or lines < 2:
        return 0.0, np.inf, 0.0, np.inf, 0.0
    df_fold = (folds - 1) * (lines - 1)
    ms_fold = float(np.square(centred(theta.mean(axis=1), 0, 1)).sum()) / df_fold
    variances = np.einsum("kii->ki", cross)
    differences = variances[:, :, None] + variances[:, None, :] - 2 * cross
    first, second = np.triu_indices(lines, k=1)
    pat_fold = float(differences[:, first, second].mean()) / 2
    if seeds == 1:
        return ms_fold, df_fold, 0.0, np.inf, pat_fold
    df_res = df_fold * (seeds - 1)
    return ms_fold, df_fold, float(np.square(centred(theta, 0, 1, 2)).sum()) / df_res, df_res, pat_fold
