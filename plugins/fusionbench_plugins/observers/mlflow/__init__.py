"""MLflow: every curve of a run as one of its runs, so that methods are compared there."""

from __future__ import annotations

from fusionbench import hookimpl
from fusionbench.hookspecs import Register


@hookimpl
def register_observers(register: Register) -> None:
    """Register ``mlflow``."""
    # the process that logs is a module of this folder too, and does without what the observer needs
    from fusionbench_plugins.observers.mlflow.observer import MlflowTracker

    register("mlflow", MlflowTracker)
