"""Settings of a synthetic cohort."""

from __future__ import annotations

import re

import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings


def test_all_problems_of_settings_are_reported_at_once():
    with pytest.raises(ValueError) as caught:
        SyntheticSettings(
            stays=1, prevalence=1.5, ehr=float("nan"), synergy="much", seed=0.5, version="4", label_noise=True
        )
    lines = str(caught.value).splitlines()
    assert [re.match(r"synthetic cohort: (\w+): found .+; use .+", line)[1] for line in lines] == [
        "stays",
        "seed",
        "prevalence",
        "ehr",
        "synergy",
        "label_noise",
        "version",
    ]
