"""Folds under the name that observers import; they lie in the folder ``data``."""

from fusionbench.data.splits import make_folds

__all__ = ["make_folds"]
