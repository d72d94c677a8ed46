"""One run whose tables several test files look at."""

from __future__ import annotations

import pytest

from tests.builders import run_toy

GRID = {
    "missingness": {"patterns": ["random", "a"], "rates": [0, 0.4, 0.8]},
    "splits": {"folds": 2, "seeds": [0, 1]},
    "imputers": ["zero", "mean"],
}


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """One run with two patterns, three rates, two folds and two seeds."""
    return run_toy(tmp_path_factory.mktemp("analysis"), **GRID)
