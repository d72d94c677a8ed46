"""A run: prepare, tune, train, score, summarise.

The package can be called: ``fusionbench.run("mimic_ihm")`` is what Python users write, and a package and a function of one name
are one object here (:func:`fusionbench.api.running.run` does the work).
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Called(ModuleType):
    """This package, which runs a benchmark when it is called."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Run a benchmark; see ``help(fusionbench.run)``."""
        from importlib import import_module

        return import_module("fusionbench.api.running").run(*arguments, **settings)

    def __dir__(self) -> list[str]:
        return ["__call__", "__doc__"]

    @property
    def __signature__(self) -> Any:
        from importlib import import_module
        from inspect import signature

        return signature(import_module("fusionbench.api.running").run)

    def __getattribute__(self, name: str) -> Any:
        if name == "__doc__" and "fusionbench.api.running" in sys.modules:
            return sys.modules["fusionbench.api.running"].run.__doc__
        return super().__getattribute__(name)


sys.modules[__name__].__class__ = _Called
