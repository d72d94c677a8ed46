"""The rule against numbers that were computed elsewhere from its text."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench.statistics.components import PatientCovariance
from tests.statistics.sheet import compare, numbers, sheet

FROM_SCORES = (
    "near_copies",
    "one_fold",
    "one_line",
    "one_run",
    "one_seed",
    "ties_constants",
    "two_lines",
    "three_groups",
)


@pytest.mark.parametrize("name", [*FROM_SCORES, "unstable_line"])
def test_the_rule_gives_the_numbers_of_its_text(name):
    given = sheet(name)
    patients = PatientCovariance.of(np.array(given["inputs"]["P"]), float(numbers(given["inputs"]["df_pat"])))
    compare(given["inputs"]["theta"], patients, given["expected"])
