"""The result store under the name that observers import; it lies in the folder ``store``."""

from fusionbench.store.results import Store

__all__ = ["Store"]
