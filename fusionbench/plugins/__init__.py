"""The plugin manager: what can be had under which name, and loading it."""

from fusionbench.plugins.catalogue import Plugins

__all__ = ["Plugins"]
