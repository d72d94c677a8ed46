"""The dials of the made-up lung cohort, and who is in it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator

SHARES = (0.10, 0.16, 0.18, 0.24, 0.20, 0.12)
"""Of the six classes, from the least to the most invasive."""
MODALITIES = ("ct", "pet", "report")
_RANGES: dict[str, tuple[float, float]] = {
    "examinations": (60, 20_000),
    "ct": (0.0, 4.0),
    "pet": (0.0, 4.0),
    "report": (0.0, 4.0),
    "redundancy": (0.0, 0.95),
    "pet_missing": (0.0, 0.9),
    "report_missing": (0.0, 0.9),
    "image_size": (32, 512),
}
_WHOLE = ("examinations", "seed", "image_size")


@dataclass(frozen=True)
class SyntheticLung:
    """What a made-up lung cohort is made of.

    Invasiveness t is the number of the class, standardised. Modality m shows ``u_m = d_m t + e_m`` with standard normal e_m, any
    two of which have the correlation ``redundancy``. CT tells most, the report nearly as much, PET least, which is the order of
    the single modalities that OmniFuse's table 2 names; the dials were chosen for that, and never looked at again.

    Args:
        examinations: Rows; one patient in four has two.
        seed: Same seed and settings, same files.
        ct: How far the classes lie apart in the CT, in standard deviations of its noise for one of t.
        pet: The same for PET.
        report: The same for the report.
        redundancy: Correlation of what disturbs any two modalities, given the class.
        pet_missing: Share of examinations without PET.
        report_missing: Share without a report.
        image_size: Pixels of a side.

    Raises:
        ValueError: A dial is out of range.
    """

    examinations: int = 1000
    seed: int = 0
    ct: float = 1.3
    pet: float = 0.8
    report: float = 1.1
    redundancy: float = 0.2
    pet_missing: float = 0.25
    report_missing: float = 0.1
    image_size: int = 64

    def __post_init__(self) -> None:
        """Check every dial."""
        problems = []
        for field in fields(self):
            value, whole = getattr(self, field.name), field.name in _WHOLE
            low, high = _RANGES.get(field.name, (-(2**63), 2**63 - 1))
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                what = "a whole number" if whole else "a number"
                problems.append(f"synthetic: {field.name} must be {what} from {low:g} to {high:g}, found {value!r:.40}")
        if problems:
            raise ValueError("\n".join(problems))


class Examinations(NamedTuple):
    """Who is in a cohort.

    Args:
        patient: Int64 ``[rows]``.
        label: Int64 ``[rows]``, 0 to 5.
        shown: Float64 ``[rows, 3]``, what CT, PET and report show, standardised.
        available: Bool ``[rows, 3]``.
    """

    patient: NDArray[np.int64]
    label: NDArray[np.int64]
    shown: NDArray[np.float64]
    available: NDArray[np.bool_]


def draw_examinations(settings: SyntheticLung) -> Examinations:
    """Draw patients, classes, what each modality shows, and which of them are there."""
    rng, rows = numpy_generator("synthetic lung cohort", seed=settings.seed), settings.examinations
    second = np.arange(rows) % 5 == 4  # the second examination of the patient before: one of four has two
    patient = np.cumsum(~second) - 1
    own = rng.choice(len(SHARES), size=rows, p=SHARES)
    label = np.where(second, np.roll(own, 1), own)  # a tumour stays what it is
    spread = np.sqrt(np.average((np.arange(6) - 2.5) ** 2, weights=SHARES))
    t = (label - 2.5) / spread
    shared, alone = rng.standard_normal((rows, 1)), rng.standard_normal((rows, 3))
    noise = np.sqrt(settings.redundancy) * shared + np.sqrt(1 - settings.redundancy) * alone
    distance = np.array([settings.ct, settings.pet, settings.report])
    shown = (distance * t[:, None] + noise) / np.sqrt(1 + distance**2)
    missing = np.array([0.0, settings.pet_missing, settings.report_missing])
    return Examinations(patient, label, shown, rng.random((rows, 3)) >= missing)
