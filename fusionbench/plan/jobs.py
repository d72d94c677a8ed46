"""From a benchmark to the work it means: studies, fits, cells, each with its content address.

A *study* tunes one arm on one fold. A *fit* is one trained model
of an arm for a fold, a seed and a training condition. A *cell* is a fit scored under one condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fusionbench.config.alternatives import NO_RESULT
from fusionbench.config.sections import Benchmark
from fusionbench.keys import PROTOCOL_VERSION, digest
from fusionbench.missingness.conditions import COMPLETE, Condition, condition_label
from fusionbench.missingness.masks import MASK_NAME
from fusionbench.missingness.subsets import is_subset, subset_conditions
from fusionbench.plan.arithmetic import Arithmetic
from fusionbench.plan.parts import Arm, ModalityPart, Resolved


@dataclass(frozen=True)
class FitJob:
    """One model to train, and the conditions it is scored under.

    Args:
        arm: What is trained.
        fold: Number of the fold.
        seed: Number of the repetition.
        condition: What the training and validation rows lack.
        study: Key of the study that chooses its hyper-parameters.
        key: Content address of the trained model.
        scored: What the test rows lack, each time it is scored.
        labels: For each of these, the name of its predictions in the store; it holds the digest of the mask.
        untuned: Whether it has the defaults, beside one that is tuned.
    """

    arm: Arm
    fold: int
    seed: int
    condition: Condition
    study: str
    key: str
    scored: tuple[Condition, ...]
    labels: tuple[str, ...]
    untuned: bool = False

    @property
    def points(self) -> tuple[Condition, ...]:
        """The conditions that lie on degradation curves: all of ``scored`` but the subsets of modalities."""
        return tuple(c for c in self.scored if not is_subset(c))


@dataclass(frozen=True)
class StudyJob:
    """One arm to tune on one fold.

    Args:
        arm: What is tuned.
        fold: Number of the fold.
        key: Content address of the study.
        condition: What training and validation rows lack.
        inner: Over how many inner folds a trial is trained.
    """

    arm: Arm
    fold: int
    key: str
    condition: Condition = COMPLETE
    inner: int = 1


def conditions(benchmark: Benchmark) -> list[Condition]:
    """Return every test or training condition, complete data first; rate 0 is the same for all patterns."""
    rates = benchmark.missingness.rates
    cells = [Condition(p, r) for p in benchmark.missingness.patterns for r in rates if r > 0]
    return ([COMPLETE] if 0 in rates else []) + cells


def judged_by(benchmark: Benchmark) -> Literal["complete", "mean", "each"]:
    """Return what trials of tuning are compared by; ``ranked`` is what lines are ranked by."""
    asked = benchmark.tuning.condition
    if asked == "ranked":
        return "mean" if len(conditions(benchmark)) > 1 else "complete"
    return asked


def schedule(benchmark: Benchmark, names: Sequence[str]) -> list[tuple[Condition, tuple[Condition, ...]]]:
    """Return training conditions, each with the conditions its models are scored under.

    Models that training showed everything are scored under every subset of the modalities too.
    """
    every = tuple(conditions(benchmark))
    subsets = (
        tuple(subset_conditions(names)) if benchmark.evaluation.subsets and not benchmark.missingness.absent else ()
    )
    where = benchmark.missingness.where
    if where == "test":
        return [(COMPLETE, every + subsets)]
    scored = {c: {"train": (COMPLETE,), "both": (c,), "grid": every}[where] for c in every}
    return [(c, scored[c] + (subsets if c == COMPLETE else ())) for c in every]


def common_key(
    benchmark: Benchmark, data_digest: str, modalities: Mapping[str, ModalityPart], arithmetic: Arithmetic
) -> dict[str, Any]:
    """Return the part of every key that all arms share; of precision, what is computed in and not what was asked for."""
    asked = {"precision", "precision_forced", "features"}
    training = benchmark.training.model_dump(mode="json", exclude={*NO_RESULT, *asked}) | arithmetic.key
    return {
        "protocol": PROTOCOL_VERSION,
        "data": data_digest,
        "encoders": {n: m.identity for n, m in modalities.items()},
        "model": benchmark.model.model_dump(mode="json"),
        "training": training,
        "splits": benchmark.splits.model_dump(mode="json", exclude={"use", "seeds"}),
    }


def make_jobs(
    benchmark: Benchmark,
    resolved: Resolved,
    common: Mapping[str, Any],
    folds: Sequence[int],
    mask: Callable[[Condition, int, int], str],
    names: Sequence[str],
    inner: Callable[[int], int] = lambda _: 1,
    used: Callable[[Condition, int, int], str] | None = None,
) -> tuple[list[StudyJob], list[FitJob]]:
    """Return every study and every fit of the benchmark, in a fixed order.

    Args:
        benchmark: The configuration.
        resolved: Its plugins.
        common: What all keys share.
        folds: Numbers of the folds.
        mask: Digest of who is present under a condition, for a seed and a fold. What is hidden decides a result, however
            it was drawn; so mechanisms, files and code that hide alike share results, and others do not.
        names: The modalities.
        inner: By fold, over how many inner folds a trial is trained.
        used: As ``mask``, of rows that a model is used on; None: the same.
    """
    used = mask if used is None else used
    scheduled = schedule(benchmark, names)
    elsewhere = {"storage", "condition", "untuned", "inner_folds"} | (
        {"prune_after"} if benchmark.tuning.prune_after is None else set()
    )
    tuning = benchmark.tuning.model_dump(mode="json", exclude=elsewhere)
    budget = tuning if benchmark.tuning.trials else None
    tuned_with = benchmark.splits.seeds[0]
    each = judged_by(benchmark) == "each" and benchmark.tuning.trials > 0

    def compared_by(condition: Condition, fold: int) -> list[Any]:
        """What a study of models that are trained under a condition looks at, beyond the record as it is."""
        if judged_by(benchmark) == "mean" and benchmark.tuning.trials:
            return ["mean", *[used(c, tuned_with, fold) for c in conditions(benchmark)]]
        return ["each", mask(condition, tuned_with, fold)] if each and condition != COMPLETE else []

    studies: list[StudyJob] = []
    fits: list[FitJob] = []
    for arm in resolved.arms:
        searched = arm.searched if benchmark.tuning.trials and benchmark.tuning.own else []
        for fold in folds:
            several = inner(fold) if benchmark.tuning.trials else 1
            common_to_fold = [common, arm.identity, budget, fold, tuned_with, *searched]
            splits = [f"{several} inner folds"] if several > 1 else []
            keys = {c: digest(common_to_fold + compared_by(c, fold) + splits) for c, _ in scheduled}
            by_key = {keys[c]: c if each else COMPLETE for c, _ in scheduled}
            studies += [StudyJob(arm, fold, key, c, several) for key, c in by_key.items()]
            for seed in benchmark.splits.seeds:
                for condition, scored in scheduled:
                    study = keys[condition]
                    key = digest([study, seed, None if condition == COMPLETE else mask(condition, seed, fold)])
                    labels = tuple(f"{condition_label(c)}#{used(c, seed, fold)[:MASK_NAME]}" for c in scored)
                    fits.append(FitJob(arm, fold, seed, condition, study, key, scored, labels))
    return studies, fits


def untuned_jobs(
    benchmark: Benchmark, common: Mapping[str, Any], fits: Sequence[FitJob], mask: Callable[[Condition, int, int], str]
) -> list[FitJob]:
    """Return, for each model that is tuned, the one with the defaults; it has the key that it has where nothing is tuned.

    It is scored at the points of its curve only. Arguments are as of :func:`make_jobs`, and its fits.
    """
    if not (benchmark.tuning.trials and benchmark.tuning.untuned):
        return []
    tuned_with = benchmark.splits.seeds[0]
    found = []
    for fit in fits:
        study = digest([common, fit.arm.identity, None, fit.fold, tuned_with])
        hidden = None if fit.condition == COMPLETE else mask(fit.condition, fit.seed, fit.fold)
        labels = tuple(label for c, label in zip(fit.scored, fit.labels, strict=True) if not is_subset(c))
        key = digest([study, fit.seed, hidden])
        found.append(replace(fit, study=study, key=key, scored=fit.points, labels=labels, untuned=True))
    return found
