"""The best predictions that the model of :mod:`.latents` allows.

Given the class c everything is Gaussian, so the posterior of any subset S of modalities is exact::

    L_S = d_S' R_S^-1 (u_S - d_S / 2)
        + (w_S' (C_0,S^-1 - C_1,S^-1) w_S + log det C_0,S - log det C_1,S) / 2
        + log P(available | c = 1) - log P(available | c = 0)
    P(y = 1 | S) = label_noise pi + (1 - label_noise) sigmoid(logit pi + L_S)

No method that sees only S can rank stays better. Label noise takes a clean AUROC A to
1/2 + (1 - label_noise)(A - 1/2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.latents import (
    Latents,
    availability_odds,
    draw_signals,
    interplay_covariances,
    noise_covariance,
)
from fusionbench_plugins.tasks.mimic.synthetic.settings import MODALITIES, SyntheticSettings

Floats = NDArray[np.float64]

SUBSETS = 2 ** len(MODALITIES)
"""Bit m of a subset stands for ``MODALITIES[m]``."""


class PlantedAuroc(NamedTuple):
    """The best possible AUROC, and the standard error of its Monte-Carlo estimate."""

    auroc: float
    mc_error: float


@dataclass(frozen=True)
class Truth:
    """What is known about a written cohort.

    Args:
        stay_id: Int64 ``[stays]``, ascending.
        ceilings: Float64 ``[stays, 8]``, see :func:`ceilings`.
        planted: Best possible AUROC of every subset, see :func:`planted_aurocs`.
        natural: The same with every stay as it is, see :func:`natural_auroc`.
    """

    stay_id: NDArray[np.int64]
    ceilings: Floats
    planted: dict[str, PlantedAuroc]
    natural: PlantedAuroc


def subset_name(bits: int) -> str:
    """Return for example ``ehr+report`` for bits 5."""
    return "+".join(m for i, m in enumerate(MODALITIES) if bits >> i & 1)


# --------------------------------------------------------------------------------------------
# posteriors


def log_likelihood_ratios(evidence: Floats, interplay: Floats, settings: SyntheticSettings) -> Floats:
    """``L_S`` without the availability term, for every subset: float ``[rows, 8]``; column 0 is zero."""
    ratios = np.zeros((len(evidence), SUBSETS))
    for bits in range(1, SUBSETS):
        members = [m for m in range(len(MODALITIES)) if bits >> m & 1]
        ratios[:, bits] = _evidence_ratio(evidence[:, members], members, settings)
        ratios[:, bits] += _interplay_ratio(interplay[:, members], members, settings)
    return ratios


def _evidence_ratio(evidence: Floats, members: list[int], settings: SyntheticSettings) -> Floats:
    distance = np.array(settings.informativeness)[members]
    weights = np.linalg.solve(noise_covariance(settings)[np.ix_(members, members)], distance)
    ratio: Floats = (evidence - distance / 2) @ weights
    return ratio


def _interplay_ratio(interplay: Floats, members: list[int], settings: SyntheticSettings) -> Floats:
    dead, alive = (c[np.ix_(members, members)] for c in interplay_covariances(settings))
    middle = np.linalg.inv(alive) - np.linalg.inv(dead)
    volume = np.log(np.linalg.det(alive) / np.linalg.det(dead))
    ratio: Floats = 0.5 * (np.einsum("ri,ij,rj->r", interplay, middle, interplay) + volume)
    return ratio


def availability_ratio(available: NDArray[np.bool_], settings: SyntheticSettings) -> Floats:
    """Log likelihood ratio of which modalities the record holds: float ``[rows]``."""
    alive, dead = availability_odds(settings)
    present = np.log(dead / alive)
    absent = np.log(np.where(alive < 1, 1 - dead, 1.0) / np.where(alive < 1, 1 - alive, 1.0))
    image, report = available[:, 1], available[:, 2]
    of_report = np.where(image, np.where(report, present[1], absent[1]), 0.0)
    ratio: Floats = np.where(image, present[0], absent[0]) + of_report
    return ratio


def posterior(ratio: Floats, settings: SyntheticSettings) -> Floats:
    """P(died = 1) for a log likelihood ratio."""
    from scipy.special import expit, logit

    inclined = expit(logit(settings.prevalence) + ratio)
    probability: Floats = settings.label_noise * settings.prevalence + (1 - settings.label_noise) * inclined
    return probability


def ceilings(latents: Latents, settings: SyntheticSettings) -> Floats:
    """P(died = 1 | which modalities the record holds, and the latents of those of them in the subset).

    A modality that the record does not hold cannot be seen by anyone, so it does not count in any subset.

    Returns:
        Float ``[rows, 8]``, column = subset bits. Column 0 is the prevalence, shifted by what is
        missing where that is informative.
    """
    ratios = log_likelihood_ratios(latents.evidence, latents.interplay, settings)
    seen = _held(latents.available)[:, None] & np.arange(SUBSETS)
    pattern = availability_ratio(latents.available, settings)
    return posterior(np.take_along_axis(ratios, seen, axis=1) + pattern[:, None], settings)


def _held(available: NDArray[np.bool_]) -> NDArray[np.int64]:
    bits: NDArray[np.int64] = available.astype(np.int64) @ (1 << np.arange(len(MODALITIES)))
    return bits


# --------------------------------------------------------------------------------------------
# the best possible AUROC


def planted_aurocs(settings: SyntheticSettings, draws: int = 100_000) -> dict[str, PlantedAuroc]:
    """Best possible AUROC of every subset among stays that hold it, by name (``ehr+cxr``).

    Availability is independent of the latents given the outcome, so the number is the same for any
    pattern that holds the subset.

    Args:
        settings: The dials; ``stays`` and ``seed`` do not matter.
        draws: Monte-Carlo draws of each outcome class.
    """
    evidence, interplay, _ = _draws_by_class(settings, draws)
    ratios = log_likelihood_ratios(evidence, interplay, settings)
    return {subset_name(bits): _auroc(ratios[:, bits], settings) for bits in range(1, SUBSETS)}


def natural_auroc(settings: SyntheticSettings, draws: int = 100_000) -> PlantedAuroc:
    """Best possible AUROC over all stays as written: with what each holds, and what is missing."""
    evidence, interplay, available = _draws_by_class(settings, draws)
    ratios = log_likelihood_ratios(evidence, interplay, settings)
    seen = np.take_along_axis(ratios, _held(available)[:, None], axis=1)[:, 0]
    return _auroc(seen + availability_ratio(available, settings), settings)


def _draws_by_class(settings: SyntheticSettings, draws: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    # one fixed stream for all settings: two settings differ by their dials, not by luck
    rng = numpy_generator("synthetic cohort: planted aurocs")
    return draw_signals(np.arange(2 * draws) < draws, settings, rng)


def _auroc(scores: Floats, settings: SyntheticSettings) -> PlantedAuroc:
    """AUROC of scores whose first half is inclined to die, after label noise."""
    from scipy.stats import rankdata

    half = len(scores) // 2
    ranks = rankdata(scores)
    beaten = (ranks[:half] - rankdata(scores[:half])) / half  # share of survivors below each death
    beating = 1 - (ranks[half:] - rankdata(scores[half:])) / half
    error = np.sqrt((beaten.var() + beating.var()) / half)  # DeLong
    kept = 1 - settings.label_noise
    return PlantedAuroc(float(0.5 + kept * (beaten.mean() - 0.5)), float(kept * error))
