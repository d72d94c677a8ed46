"""What is known of a cohort when it is drawn: counts and shares, and no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fusionbench import Dataset


class Measured(NamedTuple):
    """How one variable was charted.

    Args:
        read: Events of its items in the cohort's windows, as they stand in the tables.
        other_unit: Of these, in another unit than the item's label says (converted by rule set ``sound``).
        out_of_range: Beyond the limits at which a value is impossible.
        clipped: Moved to the limit of what is plausible.
        late: Laboratory results that were stored after the end of what may be read.
        stays: Share of stays with one value at least, before or after admission to the unit.
        steps: Share of steps in which something was measured.
    """

    read: int
    other_unit: int
    out_of_range: int
    clipped: int
    late: int
    stays: float
    steps: float


@dataclass(frozen=True)
class Overview:
    """What the lines say and the picture shows.

    Args:
        dataset: As it would be trained on.
        variables: By name, in the order of the columns.
        after_end: Events after the end of what may be read.
    """

    dataset: Dataset
    variables: Mapping[str, Measured]
    after_end: int
