"""The observers of a run: called by hook, one after the other in the order of the benchmark file.

An observer that raises when a run starts ends it: nothing is trained yet. One that raises later, or tries to end the
program, is not called again; the others are, and the training goes on. What it raised is said when the run has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pluggy

from fusionbench import hookspecs
from fusionbench.contract.isolation import OWNER, contained, reason_of
from fusionbench.errors import FusionBenchError, PluginError

START = "fusionbench_run_started"


class Observers:
    """Objects with ``fusionbench_*`` hooks."""

    def __init__(self, observers: Sequence[Any]) -> None:
        self._counts: Counter[str] = Counter()
        self.each: Callable[[], None] | None = None
        """Called when an observer is done with a hook."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for observer in reversed(observers):  # pluggy calls the last one first
            manager.register(observer)
        self._hooks = manager.hook
        self._failed: dict[int, FusionBenchError] = {}
        for name in (n for n in vars(hookspecs) if n.startswith("fusionbench_")):
            for implementation in getattr(manager.hook, name).get_hookimpls():
                if not implementation.hookwrapper and not getattr(implementation, "wrapper", False):
                    guarded = self._guarded(name, implementation.plugin, implementation.function)
                    implementation.function = self._counted(name, guarded)

    def tell(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook of every observer that has not failed yet, and return what they return.

        Raises:
            PluginError: One of them raised at the start of the run; with its place, not with a traceback.
        """
        return list(getattr(self._hooks, hook)(**arguments))

    def count(self, *hooks: str) -> int:
        """Return how many observers follow the hooks, all together."""
        return sum(self._counts[hook] for hook in hooks)

    def _counted(self, hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self._counts[hook] += 1

        def call(*arguments: Any) -> Any:
            found = function(*arguments)
            if self.each is not None:
                self.each()
            return found

        return call

    def raise_what_failed(self) -> None:
        """Say what observers raised.

        Raises:
            PluginError: One of them raised; with its place, not with a traceback.
            FusionBenchError: One of them said what is wrong.
        """
        for problem in self._failed.values():
            raise problem

    def _guarded(self, hook: str, observer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        label = str(getattr(observer, OWNER, type(observer).__name__))

        def call(*arguments: Any) -> Any:
            if id(observer) in self._failed:
                return None
            try:
                with contained(label):
                    return function(*arguments)
            except FusionBenchError as problem:
                found = problem
            except Exception as problem:  # noqa: BLE001 - whatever an observer raises is its own failure
                found = _failure(hook, problem)
            if hook == START:
                raise found
            self._failed[id(observer)] = found
            return None

        return call if not type(observer).__module__.startswith("fusionbench.") else function


def _failure(hook: str, problem: Exception) -> PluginError:
    found = PluginError(
        f"an observer failed in {hook}: {reason_of(problem)}\n"
        "  results are stored; run again when it is mended, or leave it out of 'observers'"
    )
    found.__cause__ = problem
    return found
