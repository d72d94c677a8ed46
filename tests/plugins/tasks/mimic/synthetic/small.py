"""A tiny synthetic cohort that tests share."""

from __future__ import annotations

import pandas as pd

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings

TINY = SyntheticSettings(stays=60, seed=3, image_size=48)


def agreement(scores: pd.Series, truth: pd.DataFrame, column: str) -> float:
    """Return the rank correlation of scores by stay with a column of the truth."""
    return scores.corr(truth.set_index("stay_id")[column].loc[scores.index], method="spearman")
