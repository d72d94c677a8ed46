"""The observers of a run: called by hook, one after the other in the order of the benchmark file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from fusionbench import hookspecs
from fusionbench.contract.isolation import reason_of
from fusionbench.errors import FusionBenchError, PluginError


class Observers:
    """Objects with ``fusionbench_*`` hooks."""

    def __init__(self, observers: Sequence[Any]) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for observer in reversed(observers):  # pluggy calls the last one first
            manager.register(observer)
        self._hooks = manager.hook

    def tell(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook of every observer, and return what they return.

        Raises:
            PluginError: One of them raised; it ends the run with its place, not with a traceback.
        """
        try:
            return list(getattr(self._hooks, hook)(**arguments))
        except FusionBenchError:
            raise
        except Exception as problem:
            raise PluginError(
                f"an observer failed in {hook}: {reason_of(problem)}\n"
                "  results are stored; run again when it is mended, or leave it out of 'observers'"
            ) from problem
