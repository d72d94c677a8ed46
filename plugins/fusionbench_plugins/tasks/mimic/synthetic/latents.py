"""What is behind each stay: the outcome, the latents of each modality, the phenotype factors.

For one stay, with ``pi`` the prevalence and modalities m = ehr, cxr, report::

    c ~ Bernoulli(pi)                          what the latents depend on
    y = c, or with chance label_noise a fresh Bernoulli(pi)            the outcome in the record
    u | c ~ Normal(c d, R)                     evidence, one number per modality
    w | c ~ Normal(0, C_c)                     interplay, one number per modality

    R_mn   = redundancy * min(d_m, d_n) / max(d_m, d_n),   R_mm = 1
    C_1,mn = synergy,   C_0,mn = -synergy / 2,             C_mm = 1

``d_m`` is the informativeness of modality m; what it renders (vital signs, grey levels, words) is a
nearly lossless picture of (u_m, w_m). The consequences that make the dials clean:

* u_m alone separates with AUROC Phi(d_m / sqrt 2), whatever the other dials are.
* With redundancy near 1 all evidence of a weaker modality is contained in that of the stronger:
  d' R^-1 d falls from the sum of squares to the square of the largest. d_m = 0 gives R_mn = 0.
* w_m alone is standard normal for everybody: it says nothing. Together with w_n it does, through the
  product: synergy that no sum of unimodal predictions can find.

Image and report are available with odds that may depend on c (log odds ratio
``informative_missingness``); given c this is independent of u and w, and the report needs
the image. :mod:`.truth` has the posteriors that follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.settings import MODALITIES, SyntheticSettings

FACTORS = ("cardiac", "respiratory", "renal", "metabolic", "neurologic")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Latents:
    """One row per stay.

    Args:
        inclined: Bool ``[rows]``: the outcome before label noise, which drives everything else.
        died: Bool ``[rows]``: the outcome.
        evidence: ``[rows, 3]``: what each modality says about the outcome by itself.
        interplay: ``[rows, 3]``: what says something only together with another modality's.
        available: Bool ``[rows, 3]``: True = the record holds the modality. The EHR always is.
        factors: ``[rows, 5]``: phenotype factors, independent of the outcome.
    """

    inclined: Bools
    died: Bools
    evidence: Floats
    interplay: Floats
    available: Bools
    factors: Floats

    def standard_evidence(self, settings: SyntheticSettings) -> Floats:
        """Evidence with mean 0 and variance 1 over the population, for rendering: ``[rows, 3]``."""
        distance, share = np.array(settings.informativeness), settings.prevalence
        standard: Floats = (self.evidence - share * distance) / np.sqrt(1 + share * (1 - share) * distance**2)
        return standard


def draw_latents(rows: int, settings: SyntheticSettings) -> Latents:
    """Draw ``rows`` stays from the model."""
    rng = numpy_generator("synthetic cohort: outcomes", seed=settings.seed)
    inclined = rng.random(rows) < settings.prevalence
    fresh = rng.random(rows) < settings.prevalence
    died = np.where(rng.random(rows) < settings.label_noise, fresh, inclined)
    factors = numpy_generator("synthetic cohort: factors", seed=settings.seed).standard_normal((rows, len(FACTORS)))
    signals = numpy_generator("synthetic cohort: signals", seed=settings.seed)
    return Latents(inclined, died, *draw_signals(inclined, settings, signals), factors)


def draw_signals(
    inclined: Bools, settings: SyntheticSettings, rng: np.random.Generator
) -> tuple[Floats, Floats, Bools]:
    """Draw evidence, interplay and availability given the outcome before label noise."""
    normal = rng.standard_normal((2, len(inclined), 3))
    noise = normal[0] @ np.linalg.cholesky(noise_covariance(settings)).T
    evidence = noise + inclined[:, None] * np.array(settings.informativeness)
    dead, alive = (normal[1] @ np.linalg.cholesky(c).T for c in interplay_covariances(settings))
    interplay = np.where(inclined[:, None], dead, alive)
    chance = 1 - availability_odds(settings)[inclined.astype(int)]  # P(missing | outcome), image and report
    image, report = (rng.random((len(inclined), 2)) >= chance).T
    available = np.stack([np.ones_like(image), image, image & report], axis=1)
    return evidence, interplay, available


def noise_covariance(settings: SyntheticSettings) -> Floats:
    """``R``: float ``[3, 3]``."""
    distance = np.array(settings.informativeness)
    low, high = np.minimum.outer(distance, distance), np.maximum.outer(distance, distance)
    return _with_unit_diagonal(settings.redundancy * low / np.where(high > 0, high, 1))


def interplay_covariances(settings: SyntheticSettings) -> tuple[Floats, Floats]:
    """``C_1`` (those inclined to die) and ``C_0``: float ``[3, 3]`` each."""
    ones = np.ones((len(MODALITIES), len(MODALITIES)))
    return _with_unit_diagonal(settings.synergy * ones), _with_unit_diagonal(-settings.synergy / 2 * ones)


def _with_unit_diagonal(matrix: Floats) -> Floats:
    return np.where(np.eye(len(matrix), dtype=bool), 1.0, matrix)


def availability_odds(settings: SyntheticSettings) -> Floats:
    """Chance of being available, ``[2, 2]``: row c, columns image and report-given-image.

    The mean over the population of each column is exactly one minus the missing share.
    """
    ratio, share = np.exp(settings.informative_missingness), settings.prevalence
    image = _two_rates(1 - settings.cxr_missing, ratio, share)
    with_image = share * image[1] / (share * image[1] + (1 - share) * image[0])
    return np.stack([image, _two_rates(1 - settings.report_missing, ratio, with_image)], axis=1)


def _two_rates(mean: float, ratio: float, share: float) -> Floats:
    """Rates ``(r_0, r_1)`` with odds ratio ``ratio`` and ``(1 - share) r_0 + share r_1 = mean``."""
    if ratio == 1 or mean == 1:
        return np.array([mean, mean])
    # r_1 = ratio r / (1 + (ratio - 1) r) turns the mean into a r^2 + b r - mean = 0 with r = r_0
    a, b = (1 - share) * (ratio - 1), 1 - share + share * ratio - mean * (ratio - 1)
    low = (-b + np.sqrt(b * b + 4 * a * mean)) / (2 * a)
    return np.array([low, ratio * low / (1 + (ratio - 1) * low)])
