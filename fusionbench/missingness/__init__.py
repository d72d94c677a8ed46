"""Who lacks what: patterns, rates, mechanisms and masks; hiding in training; subsets of the modalities."""

from fusionbench.missingness.conditions import Pattern
from fusionbench.missingness.mechanisms import GivenMasks, thresholds_from

__all__ = ["GivenMasks", "Pattern", "thresholds_from"]
