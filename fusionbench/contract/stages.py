"""The life of a training run, as plugins see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor


class TrainingClock(NamedTuple):
    """How far training has come: epochs completed (0 before the first), and planned."""

    completed: int
    planned: int

    @property
    def fraction(self) -> float:
        """Completed share of the planned epochs, 0 to 1."""
        return self.completed / max(self.planned, 1)


class SplitLosses(NamedTuple):
    """Losses of one replica over whole splits, in evaluation mode, before and after a stage.

    Each is a mapping from the names of ``aux`` entries of :meth:`FusionStrategy.head_losses` to float. The errors are
    standard errors of the mean change from before to after, rows paired; infinite where fewer than two rows count.
    """

    train_before: Mapping[str, float]
    train_after: Mapping[str, float]
    holdout_before: Mapping[str, float]
    holdout_after: Mapping[str, float]
    train_error: Mapping[str, float] = {}
    holdout_error: Mapping[str, float] = {}


@dataclass(frozen=True)
class Stage:
    """One stretch of training with its own state.

    Args:
        name: For logs and the ledger.
        epochs: How many; a float below or equal to 1 is a share of the benchmark's epochs.
        overrides: Values for the strategy's buffers, set when the stage begins.
        replicas: When given, the stage is run once for each of these further overrides, side by side.
        holdout: Share of the training rows kept out of this stage, stratified by target.
        frozen: Parameter prefixes that this stage does not train (``encoder.``, ``fusion.heads.``, ...).
        keep: Prefixes of the parameters that the next stage inherits, each from its best epoch;
            the others return to their initial values. None: all are kept.
        resumes: Go on where the trained stage before this one stopped: from its last epoch, with its optimiser, its
            patience and its best epoch so far, as if they were one. False: from its best epoch, with a new optimiser.
        select: Which validation score picks the best epoch: ``joint`` (the prediction) or
            ``per_modality`` (each modality's own head, which picks that modality's encoder).
        finish: Called with one :class:`SplitLosses` per replica; returns overrides for the stages after it.
    """

    name: str
    epochs: int | float = 1.0
    overrides: Mapping[str, Tensor] = field(default_factory=dict)
    replicas: Sequence[Mapping[str, Tensor]] = ()
    holdout: float = 0.0
    frozen: tuple[str, ...] = ()
    keep: tuple[str, ...] | None = None
    resumes: bool = False
    select: Literal["joint", "per_modality"] = "joint"
    finish: Callable[[Sequence[SplitLosses]], Mapping[str, Tensor]] | None = None


class Trial(Protocol):
    """The part of an Optuna trial that a search space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Suggest a float in ``[low, high]``."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Suggest an integer in ``[low, high]``."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of ``choices``."""
