"""The hooks: how plugins register, and how they follow a run.

A plugin may take fewer arguments than a hook offers. Hooks gain arguments; they do not lose them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusionbench.contract.registration import PROJECT, Register, hookimpl, hookspec

if TYPE_CHECKING:
    from fusionbench.contract.blocks import Section
    from fusionbench.records import CellOutcome, RunPlan, RunSummary

__all__ = [  # the hooks themselves are found by their mark
    "PROJECT",
    "Register",
    "hookimpl",
    "hookspec",
]


@hookspec
def register_tasks(register: Register) -> None:
    """Register tasks. Called once, when the plugin is loaded. Each target is a ``fusionbench.Task``."""


@hookspec
def register_encoders(register: Register) -> None:
    """Register encoders. Called once, when the plugin is loaded. Each target is a ``fusionbench.Encoder``."""


@hookspec
def register_imputers(register: Register) -> None:
    """Register imputers. Called once, when the plugin is loaded. Each target is a ``fusionbench.Imputer``."""


@hookspec
def register_fusion_strategies(register: Register) -> None:
    """Register strategies. Called once, when the plugin is loaded. Each is a ``fusionbench.FusionStrategy``."""


@hookspec
def register_regularisers(register: Register) -> None:
    """Register regularisers. Called once, when the plugin is loaded. Each is a ``fusionbench.Regulariser``."""


@hookspec
def register_missingness(register: Register) -> None:
    """Register mechanisms. Called once, when the plugin is loaded. Each is a ``fusionbench.Missingness``."""


@hookspec
def register_papers(register: Register) -> None:
    """Register papers. Called once, when the plugin is loaded. Each target is a ``fusionbench.Paper``."""


@hookspec
def register_executors(register: Register) -> None:
    """Register executors. Called once, when the plugin is loaded. Each target is a ``fusionbench.Executor``."""


@hookspec
def register_observers(register: Register) -> None:
    """Register observers of runs. Called once, when the plugin is loaded.

    Each target is a class whose instances implement any of the ``fusionbench_*`` hooks below; it is
    constructed with the resolved configuration (``config``) and the workspace folder (``workspace``).
    """


@hookspec
def fusionbench_run_started(plan: RunPlan) -> None:
    """Called when every name is resolved and the plan is made, before the first cell is trained."""


@hookspec
def fusionbench_cell_finished(outcome: CellOutcome) -> None:
    """Called when one cell is stored, read back from the store, or has failed."""


@hookspec
def fusionbench_report_sections(summary: RunSummary) -> list[Section] | None:
    """Called once at the end, before ``fusionbench_run_finished``: returns sections that the report shows after its own.

    Their titles are unique in the report. Nothing about a row or a patient belongs in them.
    """


@hookspec
def fusionbench_run_finished(summary: RunSummary) -> None:
    """Called once at the end, also when cells failed or the run was interrupted."""
