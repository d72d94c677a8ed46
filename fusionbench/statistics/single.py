"""One line alone: how certain its value is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionbench.statistics.components import Components, centred
from fusionbench.statistics.pairs import half_width, satterthwaite

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Singles:
    """Values of lines with intervals, as arrays ``[lines]``.

    Args:
        value: Mean over folds and seeds.
        within: Variance over training runs of one seed.
        fold: Variance that other training sets add.
        variance: Of the value, if trained again.
        df: Its degrees of freedom.
        interval: ``[lines, 2]``, if trained again.
        interval_these_models: ``[lines, 2]``, of these trained models on other patients.
    """

    value: Floats
    within: Floats
    fold: Floats
    variance: Floats
    df: Floats
    interval: Floats
    interval_these_models: Floats


def singles_of(found: Components, *, unit: bool, confidence: float = 0.95) -> Singles:
    """Say how certain the value of each line is.

    Args:
        found: Components of the score.
        unit: The score lies between 0 and 1 and high is good: intervals are made on the logit scale, and stay inside.
        confidence: Of the intervals.
    """
    within, df_within = _within(found)
    fold = _fold(found)
    patients = np.diagonal(found.cross)
    variance = within / found.seeds + patients + fold
    df = np.full(found.lines, np.inf)
    for line in range(found.lines):  # runs of a line have degrees of freedom of their own
        terms = [
            (np.array(within[line] / found.seeds), float(df_within[line])),
            (np.array(patients[line]), found.patients.df),
        ]
        df[line] = float(satterthwaite(np.array(variance[line]), terms))
    these = np.diagonal(found.same)
    known = np.full(found.lines, found.patients.df)
    return Singles(
        found.value, within, fold, variance, df,
        _interval(found.value, variance, df, unit, confidence),
        _interval(found.value, these, known, unit, confidence),
    )  # fmt: skip


def _within(found: Components) -> tuple[Floats, Floats]:
    """Variance over seeds of a line's value, and its degrees of freedom."""
    within, df = np.zeros(found.lines), np.full(found.lines, np.inf)
    if found.seeds == 1:
        return within, df
    by_seed = found.theta.mean(axis=0)
    pool = list(found.pool)
    pooled = float(by_seed[:, pool].var(axis=0, ddof=1).mean()) if pool else 0.0
    if pool:
        shared = float(by_seed[:, pool].mean(axis=1).var(ddof=1))
        uncertain = shared**2 / (found.seeds - 1)
        if len(pool) > 1:
            uncertain += (pooled - shared) ** 2 / found.df_run
        within[pool] = pooled
        df[pool] = pooled**2 / uncertain if uncertain > 0 else np.inf
    for line in found.unstable:
        within[line], df[line] = max(pooled, float(found.run[line])), found.df_own
    return within, df


def _fold(found: Components) -> Floats:
    """What other training sets add: the excess scatter over folds, by Nadeau and Bengio's (2003) ratio."""
    fold = np.zeros(found.lines)
    lines = list(found.pool) or np.flatnonzero(~found.constant).tolist()
    if found.folds == 1 or not lines:
        return fold
    theta = found.theta[:, :, lines]
    left = 0.0
    if found.seeds > 1:
        left = float(np.square(centred(theta, 0, 1)).sum())
        left /= (found.folds - 1) * (found.seeds - 1) * len(lines)
    scatter = float(theta.mean(axis=1).var(axis=0, ddof=1).mean())
    patients = float(np.einsum("kmm->km", found.patients.cross)[:, lines].mean())
    excess = max(scatter - left / found.seeds - patients, 0.0)
    fold[~found.constant] = excess * (1 / found.folds + 1 / (found.folds - 1))
    return fold


def _interval(value: Floats, variance: Floats, df: Floats, unit: bool, confidence: float) -> Floats:
    half = half_width(np.sqrt(np.maximum(variance, 0)), df, confidence)
    plain = np.stack([value - half, value + half], axis=-1)
    inside = (value > 0) & (value < 1) & (variance > 0)
    if not unit or not inside.any():
        return plain
    safe = np.where(inside, value, 0.5)
    middle, reach = np.log(safe / (1 - safe)), half / (safe * (1 - safe))
    ends = np.stack([middle - reach, middle + reach], axis=-1)
    folded: Floats = np.where(inside[:, None], 1 / (1 + np.exp(-np.clip(ends, -700, 700))), plain)
    return folded
