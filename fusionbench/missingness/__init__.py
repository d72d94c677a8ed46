"""Who lacks what: patterns, rates, mechanisms and masks; hiding in training; subsets of the modalities."""

from fusionbench.missingness.masks import GivenMasks, Pattern, thresholds_from

__all__ = ["GivenMasks", "Pattern", "thresholds_from"]
