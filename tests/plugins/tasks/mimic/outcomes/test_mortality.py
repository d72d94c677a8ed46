"""Death in the hospital admission, as an outcome."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fusionbench_plugins.tasks.mimic.outcomes.mortality import Mortality
from fusionbench_plugins.tasks.mimic.tables import extract
from fusionbench_plugins.tasks.mimic.tables.window import Window

OUTCOME = Mortality()


def deaths(died, rows):
    return np.arange(rows) < died


def test_the_label_is_what_the_extraction_left(tmp_path):
    pd.DataFrame({"stay_id": [3, 1, 2], "label": [True, False, True]}).to_parquet(tmp_path / extract.STAYS)
    found = OUTCOME.target(None, tmp_path, SimpleNamespace(folder=tmp_path), tmp_path)
    assert (found.tolist(), found.dtype) == ([1, 0, 1], np.int64)


@pytest.mark.parametrize(("died", "refused"), [(0, True), (1, False), (9, False), (10, True)])
def test_without_both_outcomes_there_is_nothing_to_learn(died, refused):
    said = OUTCOME.refusal(deaths(died, 10))
    assert said == (f"{died} of 10 stays died: there is nothing to tell apart." if refused else "")


@pytest.mark.parametrize(("died", "few"), [(49, True), (50, False), (150, False), (151, True)])
def test_few_of_either_outcome_are_remarked_upon(died, few):
    said = OUTCOME.remarks(deaths(died, 200))
    assert said == ((f"only {died} of 200 stays died: every interval is wide",) if few else ())


def test_the_sentence_counts_stays_and_deaths():
    options = SimpleNamespace(window=Window(24), step_hours=2.0, rules="sound", cohort_words="last_ap")
    assert OUTCOME.describe(deaths(3, 10), options) == (
        "In-hospital mortality from the first 24 h of 10 ICU stays (3 died), 2 h steps, rule set sound, last_ap cohort"
    )
