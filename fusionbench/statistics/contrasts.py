"""Every line against one baseline, at many points at once: which differences hold, corrected for all that were looked at.

At each point the pair's own numbers are those of :mod:`fusionbench.statistics.pairs`. What is added is the correction: the
largest of all |t|, over lines and points, on simulated profiles in which nothing differs from the baseline. Points of one curve
go up and down together (the same patients, the same trained models), and the simulation knows how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.components import Components, PatientCovariance, centred, symmetric_root
from fusionbench.statistics.groups import LEVEL
from fusionbench.statistics.pairs import EQUIVALENCE, half_width, variance_of_differences
from fusionbench.statistics.simulation import DRAWS, SEED, dispersions, max_t_p
from fusionbench.statistics.verdict import Verdict, verdict_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contrasts:
    """Lines minus the baseline, as arrays ``[points, lines]``; the baseline's own column is 0, with p 1.

    Args:
        difference: Of the values, higher is better.
        low: Lower end of the interval if trained again; NaN where one run is all there is, and so for all p but the last.
        high: Its upper end.
        p: Two-sided, of this line at this point alone.
        p_adjusted: For all lines at all points.
        low_these_models: Lower end of the interval of these trained models.
        high_these_models: Its upper end.
        p_these_models: Two-sided.
        p_best: A line could be the best at a point where this exceeds the level (model confidence set of the point).
    """

    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    p_adjusted: Floats
    low_these_models: Floats
    high_these_models: Floats
    p_these_models: Floats
    p_best: Floats


def contrasts_of(
    theta: Floats,
    influence: Sequence[Floats],
    df: float,
    baseline: int,
    *,
    confidence: float = 0.95,
    equivalence: float = EQUIVALENCE,
    level: float = LEVEL,
    draws: int = DRAWS,
) -> Contrasts:
    """Compare lines with a baseline at every point.

    Args:
        theta: Float ``[folds, seeds, points, lines]``, finite, higher is better.
        influence: By fold, float ``[seeds, points, lines, patients]``: what each patient contributes.
        df: Degrees of freedom with which patients' covariance is known.
        baseline: Position of a line.
        confidence: Of the intervals.
        equivalence: Half width of the region of practical equivalence.
        level: Of the sets of lines that could be the best.
        draws: Simulated profiles.

    Raises:
        ValueError: Shapes do not fit, or a score is not finite.
    """
    points, lines = theta.shape[2:]
    verdicts = [
        verdict_of(
            theta[:, :, p],
            PatientCovariance.of_influence([v[:, p] for v in influence], df),
            confidence=confidence,
            equivalence=equivalence,
            level=level,
            draws=draws,
        )
        for p in range(points)
    ]
    rows = [contrast_of(v, baseline, confidence) for v in verdicts]
    if lines > 1 and theta.shape[0] * theta.shape[1] > 1:
        cross = _joint_patients(influence, df)
        simulated = _simulated([v.components for v in verdicts], cross, baseline, draws)
        adjusted = max_t_p(np.stack([row["t"] for row in rows]).ravel(), simulated).reshape(points, lines)
        adjusted[:, baseline] = 1.0
        # a simulated p is a count: it never falls below the exact one of the line alone
        adjusted = np.maximum(adjusted, np.stack([row["p"] for row in rows]))
    else:
        adjusted = np.full((points, lines), np.nan)
    wanted = [name for name in Contrasts.__dataclass_fields__ if name != "p_adjusted"]
    return Contrasts(**{name: np.stack([row[name] for row in rows]) for name in wanted}, p_adjusted=adjusted)


def contrast_of(verdict: Verdict, baseline: int, confidence: float = 0.95) -> dict[str, Floats]:
    """Fields of :class:`Contrasts` at one point, as ``[lines]``: with ``t``, without ``p_adjusted``."""
    found, pairs = verdict.components, verdict.pairs
    mine = (pairs.first == baseline) | (pairs.second == baseline)
    others = np.where(pairs.first == baseline, pairs.second, pairs.first)[mine]
    sign = np.where(pairs.second[mine] == baseline, 1.0, -1.0)
    low, high = (
        np.where(sign > 0, pairs.low[mine], -pairs.high[mine]),
        np.where(sign > 0, pairs.high[mine], -pairs.low[mine]),
    )
    difference = sign * pairs.difference[mine]
    half = half_width(pairs.se_these_models[mine], np.full(mine.sum(), found.patients.df), confidence)
    again = verdict.groups is not None  # one run says nothing of other trainings
    unknown = np.full(found.lines, np.nan)
    return {
        "difference": _placed(difference, others, np.zeros(found.lines)),
        "t": _placed(sign * pairs.t[mine], others, np.zeros(found.lines)),
        "low": _placed(low, others, np.zeros(found.lines)) if again else unknown,
        "high": _placed(high, others, np.zeros(found.lines)) if again else unknown,
        "p": _placed(pairs.p[mine], others, np.ones(found.lines)) if again else unknown,
        "low_these_models": _placed(difference - half, others, np.zeros(found.lines)),
        "high_these_models": _placed(difference + half, others, np.zeros(found.lines)),
        "p_these_models": _placed(pairs.p_these_models[mine], others, np.ones(found.lines)),
        "p_best": verdict.groups.p_best if verdict.groups is not None else unknown,
    }


def _placed(values: Floats, places: NDArray[np.intp], row: Floats) -> Floats:
    row[places] = values
    return row


# --------------------------------------------------------------------------------------------
# profiles on which nothing differs


def _joint_patients(influence: Sequence[Floats], df: float) -> Floats:
    """Covariance over patients, if trained again, of every line at every point with every other: ``[points lines] x 2``."""
    flat = [v.reshape(len(v), -1, v.shape[-1]) for v in influence]
    found = PatientCovariance.of_influence(flat, df)
    whole: Floats = found.cross.sum(axis=0) / len(flat) ** 2
    return whole


def _simulated(found: Sequence[Components], cross: Floats, baseline: int, draws: int) -> Floats:
    """Statistics ``[points lines, draws]`` of lines against the baseline where nothing differs; 0 without variance."""
    points, lines = len(found), found[0].lines
    generator = np.random.Generator(np.random.PCG64(SEED))
    numerator = generator.standard_normal((draws, points * lines)) @ symmetric_root(_covariance(found, cross))
    numerator = numerator.T.reshape(points, lines, draws)
    # one cohort, one training of each line: an estimate that is too low at one point is so at the others
    patients = _scaled_chi(found[0].patients.df, (lines, draws), generator)
    pooled = _scaled_chi(found[0].df_run, (1, draws), generator)
    own = _scaled_chi(found[0].df_own, (lines, draws), generator)
    simulated = np.zeros((points, lines, draws))
    for p, one in enumerate(found):
        in_pool = np.isin(np.arange(lines), one.pool)[:, None]
        run = one.run[:, None] * np.where(in_pool, pooled, own) / one.seeds
        apart = np.diagonal(one.cross)[:, None] + one.cross[baseline, baseline] - 2 * one.cross[:, [baseline]]
        variance = dispersions(one, draws, generator) * apart * patients + run + run[baseline]
        certain = ~(variance_of_differences(one.covariance)[:, baseline] > 0)
        difference = numerator[p] - numerator[p, baseline]
        np.divide(difference, np.sqrt(np.maximum(variance, 0)), out=simulated[p], where=variance > 0)
        simulated[p, certain] = 0.0
    return simulated.reshape(points * lines, draws)


def _scaled_chi(df: float, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Chi-squares over their degrees of freedom; ones where a variance is known, or is not estimated at all."""
    if not np.isfinite(df) or df <= 0:
        return np.ones(shape)
    drawn: Floats = generator.chisquare(df, shape) / df
    return drawn


def _covariance(found: Sequence[Components], cross: Floats) -> Floats:
    """Of every line's value at every point, if trained again: ``[points lines] x 2``."""
    points, lines = len(found), found[0].lines
    spread = np.repeat(np.sqrt([one.dispersion for one in found]), lines)
    whole = cross * np.outer(spread, spread)
    if found[0].seeds > 1:
        alike, run = _runs_alike(found), np.stack([np.sqrt(one.run / one.seeds) for one in found])
        for line in range(lines):
            places = np.arange(points) * lines + line
            whole[np.ix_(places, places)] += alike * np.outer(run[:, line], run[:, line])
    return whole


def _runs_alike(found: Sequence[Components]) -> Floats:
    """Correlation between points of what training adds to a line's value: ``[points, points]``, pooled over stable lines."""
    pool = sorted(set.intersection(*(set(one.pool) for one in found)))
    if len(pool) < 2:  # nothing tells: apart is the careful answer
        return np.eye(len(found))
    left = np.stack([centred(one.theta.mean(axis=0)[:, pool], 0, 1).ravel() for one in found])
    products = left @ left.T
    own = np.sqrt(np.diagonal(products))
    alike: Floats = np.divide(products, np.outer(own, own), out=np.eye(len(found)), where=np.outer(own, own) > 0)
    return alike
