"""The contract under one name: what plugins are and what they are given; it lies in the folder ``contract``."""

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
    Component,
    CorruptionPolicy,
    Encoder,
    FittedStrategy,
    FusionStrategy,
    Imputer,
    Learner,
    Predict,
    Provenance,
    Regulariser,
)
from fusionbench.contract.mechanism import Missingness, MissingnessContext
from fusionbench.contract.papers import Paper, PaperPart
from fusionbench.contract.stages import SplitLosses, Stage, TrainingClock, Trial

__all__ = [
    "Batch",
    "Component",
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
    "Learner",
    "Message",
    "Missingness",
    "MissingnessContext",
    "Modality",
    "Paper",
    "PaperPart",
    "Perform",
    "Predict",
    "Problem",
    "Provenance",
    "Regulariser",
    "SplitLosses",
    "Stage",
    "Task",
    "TrainingClock",
    "Trial",
    "Tries",
    "Unit",
    "UnitResult",
    "Watch",
    "attempt",
]  # fmt: skip
