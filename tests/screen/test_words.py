"""Counts and times as a screen shows them."""

from __future__ import annotations

import pytest

from fusionbench.screen.words import duration, planned_models_of_trials, planned_trials, tuning_words
from tests.builders import make_run


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (3.4, "3 s"), (119, "119 s"), (150, "2.5 min"), (1800, "30 min"), (7200, "2.0 h")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_trials_on_inner_folds_are_counted_apart_from_their_models(tmp_path):
    tuned = {"trials": 3, "common": {}}
    plain, some = (make_run(tmp_path, tuning={**tuned, "inner_folds": k}).plan for k in (1, 4))
    assert (planned_trials(plain), planned_models_of_trials(plain)) == (12, 12)
    assert (planned_trials(some), planned_models_of_trials(some)) == (12, 48)
    assert tuning_words(plain) == "12 tuning trials"
    assert tuning_words(some) == "12 tuning trials (each on 4 inner folds: 48 models)"
