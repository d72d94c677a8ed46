"""Bounds: what nobody asks for is refused with the bound, what somebody may ask for is not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fusionbench.config import bounds
from fusionbench.config.sections import EvaluationSection, SplitsSection, TrainingSection, TuningSection

CASES = [
    (SplitsSection, "folds", bounds.MOST_FOLDS),
    (TrainingSection, "epochs", bounds.MOST_EPOCHS),
    (TrainingSection, "batch_size", bounds.MOST_ROWS),
    (TrainingSection, "workers", bounds.MOST_WORKERS),
    (TrainingSection, "population", bounds.MOST_MODELS),
    (TuningSection, "trials", bounds.MOST_TRIALS),
    (EvaluationSection, "resamples", bounds.MOST_RESAMPLES),
]


@pytest.mark.parametrize(("section", "name", "most"), CASES)
def test_a_bound_is_accepted_and_one_more_is_not(section, name, most):
    assert getattr(section(**{name: most}), name) == most
    with pytest.raises(ValidationError, match=str(most)):
        section(**{name: most + 1})
