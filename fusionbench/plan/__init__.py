"""From a benchmark to the work it means: parts, arms, studies, fits, and their keys."""

from fusionbench.missingness.conditions import condition_label

__all__ = ["condition_label"]
