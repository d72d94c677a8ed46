"""The dials of the synthetic cohort."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

MODALITIES = ("ehr", "cxr", "report")
VERSIONS = ("2.2", "3.1")

_RANGES: dict[str, tuple[float, float]] = {
    "stays": (10, 50_000),
    "prevalence": (0.01, 0.99),
    "ehr": (0.0, 4.0),
    "cxr": (0.0, 4.0),
    "report": (0.0, 4.0),
    "redundancy": (0.0, 0.95),
    "synergy": (0.0, 0.9),
    "label_noise": (0.0, 1.0),
    "cxr_missing": (0.0, 0.95),
    "report_missing": (0.0, 0.95),
    "informative_missingness": (0.0, 4.0),
    "image_size": (32, 1024),
}
_WHOLE = ("stays", "seed", "image_size")


@dataclass(frozen=True)
class SyntheticSettings:
    """What a synthetic cohort is made of; :mod:`.latents` has the equations.

    With the defaults the best possible AUROC is near .83 from the EHR, .74 from the image, .73 from the
    report and .88 from all three: the picture of OmniFuse's table 2.

    Args:
        stays: ICU stays that survive into the mortality cohort; stays that its rules exclude come on top.
        seed: Same seed and settings, same bytes.
        prevalence: Expected share of stays that die in hospital.
        ehr: Informativeness: how far deaths lie from survivors, in standard deviations of the evidence
            that the EHR carries. Alone, without label noise, it gives an AUROC of Phi(ehr / sqrt 2).
        cxr: The same for the image.
        report: The same for the report.
        redundancy: Correlation of the noise of two equally informative modalities (less where they
            differ): 0 is independent evidence, near 1 the weaker one adds nothing to the stronger.
        synergy: How strongly a second latent of each modality correlates across modalities in those who
            die. It says nothing about the outcome unless two modalities are seen together.
        label_noise: Share of stays whose outcome is drawn afresh, whatever their latents.
        cxr_missing: Share of stays without an AP image in the first 48 hours.
        report_missing: Share of the remaining stays whose image has no report.
        informative_missingness: Log odds ratio of having an image (and then a report) for those who
            die against survivors; 0: what is missing says nothing.
        image_size: Long side of the pictures, pixels.
        version: MIMIC-IV release whose codes and calendar are followed.

    Raises:
        ValueError: All values that are out of range, one line each.
    """

    stays: int = 2000
    seed: int = 0
    prevalence: float = 0.2
    ehr: float = 1.45
    cxr: float = 0.965
    report: float = 0.92
    redundancy: float = 0.35
    synergy: float = 0.3
    label_noise: float = 0.05
    cxr_missing: float = 0.2
    report_missing: float = 0.1
    informative_missingness: float = 0.0
    image_size: int = 96
    version: str = "2.2"

    def __post_init__(self) -> None:
        problems = [p for f in fields(self) if (p := _problem(f.name, getattr(self, f.name)))]
        if problems:
            raise ValueError("\n".join(problems))

    @property
    def informativeness(self) -> tuple[float, float, float]:
        """Informativeness of ``MODALITIES``, in order."""
        return self.ehr, self.cxr, self.report


def _problem(name: str, value: object) -> str:
    place = f"synthetic cohort: {name}"
    if name == "version":
        return "" if value in VERSIONS else f"{place}: found {value!r}; use one of {', '.join(map(repr, VERSIONS))}"
    if isinstance(value, bool) or not isinstance(value, int if name in _WHOLE else Real):
        return f"{place}: found {value!r}; use a{' whole' if name in _WHOLE else ''} number"
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if not low <= float(value) <= high:  # also catches NaN
        return f"{place}: found {value!r}; use {low:g} to {high:g}"
    return ""
