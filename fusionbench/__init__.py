"""fusionbench: which multimodal fusion strategy to trust when modalities go missing."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import takes as long as all the rest of a help text
if TYPE_CHECKING:
    from typing import Any

    from fusionbench.contract.batch import Batch, FusionOutput, FusionSpec, HeadSpec, InputSpec
    from fusionbench.contract.data import Dataset, Findings, FunnelStep, InputKind, Modality, Task
    from fusionbench.contract.executors import (
        Executor,
        Message,
        Perform,
        Problem,
        Tries,
        Unit,
        UnitResult,
        Watch,
        attempt,
    )
    from fusionbench.contract.learners import (
        CorruptionPolicy,
        Encoder,
        FittedStrategy,
        FusionStrategy,
        Imputer,
        Predict,
        Provenance,
        Regulariser,
    )
    from fusionbench.contract.mechanism import Missingness, MissingnessContext
    from fusionbench.contract.papers import Paper, PaperPart
    from fusionbench.contract.registration import hookimpl
    from fusionbench.contract.stages import SplitLosses, Stage, TrainingClock, Trial
    from fusionbench.targets import TargetKind

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "CorruptionPolicy",
    "Dataset",
    "Encoder",
    "Executor",
    "Findings",
    "FittedStrategy",
    "FunnelStep",
    "FusionOutput",
    "FusionSpec",
    "FusionStrategy",
    "HeadSpec",
    "Imputer",
    "InputKind",
    "InputSpec",
    "Message",
    "Missingness",
    "MissingnessContext",
    "Modality",
    "Model",
    "Paper",
    "PaperPart",
    "Perform",
    "Predict",
    "Problem",
    "Provenance",
    "Regulariser",
    "Results",
    "SplitLosses",
    "Stage",
    "TargetKind",
    "Task",
    "TrainingClock",
    "Trial",
    "Tries",
    "Unit",
    "UnitResult",
    "Watch",
    "attempt",
    "dataset",
    "fit",
    "hookimpl",
    "load",
    "run",
]

_OF_EXECUTORS = (
    "Executor",
    "Message",
    "Perform",
    "Problem",
    "Tries",
    "Unit",
    "UnitResult",
    "Watch",
    "attempt",
)


def __dir__() -> list[str]:
    # what a notebook completes: the promised names, whether they are loaded or not
    return sorted({*__all__, "__version__", "__doc__", "__file__"})


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: the contract is loaded when a plugin asks for it, not for --help
    if name in __all__:
        import importlib

        if name == "run":  # the package of this name can be called
            return importlib.import_module("fusionbench.run")
        module = {
            "Model": "fusionbench.api.models",
            "Results": "fusionbench.api.results",
            "dataset": "fusionbench.api.memory",
            "fit": "fusionbench.api.models",
            "load": "fusionbench.api.running",
            "TargetKind": "fusionbench.targets",
            "hookimpl": "fusionbench.contract.registration",  # needs no torch
            "Paper": "fusionbench.contract.papers",
            "PaperPart": "fusionbench.contract.papers",
            **dict.fromkeys(_OF_EXECUTORS, "fusionbench.contract.executors"),
        }.get(name, "fusionbench.types")
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'fusionbench' has no attribute {name!r}")
