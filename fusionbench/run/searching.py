"""What is searched for every strategy alike, the trial that every search begins with, and which trial is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fusionbench.config.sections import Benchmark
from fusionbench.contract.stages import Trial
from fusionbench.seeding import seed_for
from fusionbench.training.members import Fit

COMMON: Final = ("learning_rate", "weight_decay")
SEARCHED: Final = ("dropout", "encoder_depth", "unpaired_share")
"""What is common too, where a benchmark searches it; else models are as the file says."""
SAME_SCORE: Final = 1e-12
"""Scores this close are equal, and the validation loss decides."""


def defaults(benchmark: Benchmark) -> dict[str, float]:
    """Return what is searched for everybody, as the training section has it."""
    return {name: getattr(benchmark.training, name) for name in COMMON}


def first_trial(benchmark: Benchmark) -> dict[str, float]:
    """Return what the first trial takes: the defaults, as far as they lie in the ranges."""
    model = benchmark.model
    depth = int(model.projection == "mlp")
    own = defaults(benchmark) | {"dropout": model.dropout, "encoder_depth": depth, "unpaired_share": 1.0}
    return {n: own[n] for n, r in benchmark.tuning.common.items() if r.low <= own[n] <= r.high}


def common_of(trial: Trial, benchmark: Benchmark, *, searched: bool = True) -> dict[str, Any]:
    """Ask a trial for everything that is common; what is not searched is as the benchmark has it.

    Args:
        trial: Suggests.
        benchmark: Its ranges and defaults.
        searched: False for what is fitted without gradients: nothing of it means anything there.
    """
    ranges = benchmark.tuning.common if searched else {}
    found: dict[str, Any] = dict(defaults(benchmark))
    for name in (*COMMON, *SEARCHED):
        own = ranges.get(name)
        if own is not None and name == "encoder_depth":
            found[name] = trial.suggest_int(name, int(own.low), int(own.high))
        elif own is not None:
            found[name] = trial.suggest_float(name, own.low, own.high, log=own.log)
    return found


def common_among(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return those of a trial's parameters that are common."""
    return {k: v for k, v in parameters.items() if k in (*COMMON, *SEARCHED)}


def best_of(trials: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the trial with the best score; among those that equal it, the one with the lowest loss, then the earliest.

    On few validation rows a metric of ranks is a staircase: trials whose probabilities differ a lot have one score, and the
    earliest of them would win by its number.

    Args:
        trials: Each with ``score``, ``number``, and ``loss`` (None: it has none).
    """
    most = max((t["score"] for t in trials), default=0.0)
    equal = [t for t in trials if most - t["score"] <= SAME_SCORE]
    return min(equal, key=lambda t: (math.inf if t["loss"] is None else t["loss"], t["number"]), default=None)


def mean_of(fits: Sequence[Fit]) -> Fit:
    """Return how a trial went whose models were trained on several inner folds: means of scores and losses, sums of what it cost.

    A trial is usable where each of its models is; one model is returned as it is.

    Args:
        fits: By inner fold.
    """
    if len(fits) == 1:
        return fits[0]
    failures = [f.failure for f in fits if f.failure is not None]
    return Fit(
        score=sum(f.score for f in fits) / len(fits),
        loss=sum(f.loss for f in fits) / len(fits),
        epochs=sum(f.epochs for f in fits),
        seconds=sum(f.seconds for f in fits),
        pruned=any(f.pruned for f in fits),
        failure=f"{len(failures)} of {len(fits)} inner folds failed; the first said: {failures[0]}"
        if failures
        else None,
    )


@dataclass(frozen=True)
class Named:
    """A trial that puts a prefix before the names of parameters: an imputer's are told apart from a strategy's."""

    trial: Any
    prefix: str

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        """As :meth:`fusionbench.Trial.suggest_float`."""
        return self.trial.suggest_float(self.prefix + name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int) -> Any:
        """As :meth:`fusionbench.Trial.suggest_int`."""
        return self.trial.suggest_int(self.prefix + name, low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As :meth:`fusionbench.Trial.suggest_categorical`."""
        return self.trial.suggest_categorical(self.prefix + name, choices)


def sampler(fold: int) -> Any:
    """Return TPE with a seed for each suggestion, by fold and not by arm: every strategy starts from the same ones."""
    from optuna.samplers import BaseSampler, TPESampler

    class Keyed(BaseSampler):  # type: ignore[misc]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            seed = seed_for("sampler", fold=fold, trial=trial.number, parameter=param_name) % 2**32
            return TPESampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    return Keyed()
