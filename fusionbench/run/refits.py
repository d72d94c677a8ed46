"""The models of a run whose options are known: trained, or restored, then scored and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fusionbench.analysis.embedding_maps import maps_as_json
from fusionbench.contract.isolation import contained, reason_of
from fusionbench.errors import DataError, FusionBenchError, WorkspaceError
from fusionbench.plan.jobs import FitJob
from fusionbench.progress import Progress
from fusionbench.records import CellOutcome, RunPlan
from fusionbench.run.capacity import Sizes
from fusionbench.run.execution import Job, Restore, Scores, Trained, train_jobs
from fusionbench.run.mapping import map_member
from fusionbench.run.rows import ModelRows
from fusionbench.run.scoring import Scoring
from fusionbench.run.tuning import Winner
from fusionbench.store.results import PREDICTED, FitResult, Store
from fusionbench.training.members import Fit
from fusionbench.training.population import Population
from fusionbench.training.prediction import as_probabilities

SAME: Final = 0.01
"""How far probabilities of one model may lie apart on two devices."""
OTHER_WEIGHTS: Final = "the kept weights are not those of this model"


class Refits:
    """Trains what is not stored.

    Args:
        plan: What is stored already.
        winners: By study key, the options that its models take.
        rows: The rows of the run.
        store: Where results go.
        metric: Selects epochs.
        progress: Where it reports.
        sizes: Sizes of populations that fit into memory.
    """

    def __init__(
        self,
        plan: RunPlan,
        winners: Mapping[str, Winner],
        rows: ModelRows,
        store: Store,
        metric: str,
        progress: Progress,
        sizes: Sizes,
    ) -> None:
        self._plan, self._winners, self._rows = plan, winners, rows
        self._store, self._metric, self._progress = store, metric, progress
        self._sizes = sizes
        self._settings = plan.benchmark.training
        self._scoring = Scoring(rows, metric)

    def outcomes(self, todo: Sequence[FitJob]) -> Iterator[CellOutcome]:
        """Yield every model when it is stored or has failed; first those whose weights are kept."""
        kept = {f.key for f in todo if f.key in self._plan.kept and self._store.has_sound_weights(f.key)}
        others: set[str] = set()
        for outcome in self._work("scoring", [f for f in todo if f.key in kept], self._restore):
            if outcome.failure == OTHER_WEIGHTS:
                others.add(outcome.job.key)
            else:
                yield outcome
        yield from self._work("training", [f for f in todo if f.key not in kept or f.key in others], None)

    def _work(self, title: str, todo: Sequence[FitJob], restore: Restore | None) -> Iterator[CellOutcome]:
        """Train models, or restore those that were trained before, and score them."""
        if not todo:
            return

        def score(jobs: Sequence[Job], population: Population) -> Sequence[Scores]:
            if restore is None and self._settings.keep_weights:
                for i, job in enumerate(jobs):
                    self._store.save_weights(job.owner.key, population.state_of(i))
            self._keep_maps(jobs, population)
            return self._scoring.logits([j.owner for j in jobs], population, self._winners)

        with self._progress.stage(title, len(todo), "models") as stage:
            for fits in self._sharing_rows(todo):
                jobs = []
                for f in fits:
                    try:
                        with contained(f.arm.label):
                            jobs.append(self._job(f))
                    except (DataError, WorkspaceError, OSError):
                        raise
                    except Exception as problem:  # noqa: BLE001 - what cannot be built fails its own cells only
                        yield self._failed(f, reason_of(problem))
                        stage.advance(1, f.arm.label)
                for trained in train_jobs(jobs, self._settings, self._metric, stage, score, restore, self._sizes):
                    yield from self._keep(trained, restored=restore is not None)

    def _job(self, fit: FitJob) -> Job:
        winner = self._winners[fit.study]
        return self._rows.job(fit.arm, fit.fold, fit.seed, fit.condition, winner.common, winner.own, fit)

    def _failed(self, fit: FitJob, reason: str) -> CellOutcome:
        outcome = CellOutcome(fit, stored_before=False, failure=reason)
        self._store.save_failure(fit.key, {"cell": outcome.name}, reason)
        return outcome

    def _restore(self, jobs: Sequence[Job], population: Population) -> Sequence[Fit]:
        population.restore_members([self._store.weights(j.owner.key) for j in jobs])
        known = [self._store.load(j.owner.key) for j in jobs]
        return [Fit() if k is None else Fit(score=k.score, best_epoch=k.best_epoch) for k in known]

    def _keep_maps(self, jobs: Sequence[Job], population: Population) -> None:
        """Map what the imputers of the chosen models make of test rows, while the models are there."""
        for i, job in enumerate(jobs):
            fit: FitJob = job.owner
            if fit.key in self._plan.mapped:
                winner = self._winners[fit.study]
                tests = self._rows.folds[fit.fold].test.open(winner.digest)
                tuned = replace(fit, arm=fit.arm.tuned(winner.own))
                maps = map_member(population, i, tuned, torch.as_tensor(tests, device=self._rows.device), self._rows)
                self._store.save_maps(fit.key, maps_as_json(maps))

    def _sharing_rows(self, todo: Sequence[FitJob]) -> Iterator[Sequence[FitJob]]:
        """Divide fits so that no two tables of completed rows have to be in memory for one part."""
        parts: dict[Any, list[FitJob]] = {}
        for f in todo:
            try:
                completes = self._rows.blueprint.input_imputer(f.arm) is not None
            except FusionBenchError:  # it fails again when its models are built
                completes = False
            arm = f.arm.tuned(self._winners[f.study].own)
            rows = (arm.completion, f.fold, f.seed, f.condition) if completes else None
            parts.setdefault(rows, []).append(f)
        yield from parts.values()

    def _keep(self, trained: Trained, *, restored: bool) -> Iterator[CellOutcome]:
        for job, fit, scores in zip(trained.jobs, trained.fits, trained.scores, strict=True):
            owner: FitJob = job.owner
            failure = fit.failure or _not_finite(scores)
            if failure is None and restored and not self._agrees(owner.key, scores):
                failure = OTHER_WEIGHTS
                self._store.refuse_weights(owner.key, "it predicts other values than are stored of this model")
            outcome = CellOutcome(owner, stored_before=restored, failure=failure)
            if failure == OTHER_WEIGHTS:
                pass  # trained again in a moment
            elif failure is not None:
                self._store.save_failure(owner.key, {"cell": outcome.name}, failure)
            else:
                self._store.save(self._with_known(owner, fit, scores, restored=restored))
            yield outcome

    def _agrees(self, key: str, scores: Scores) -> bool:
        """Whether restored weights predict what is stored of the same model."""
        known = self._store.load(key)
        if known is None:
            return False
        kind = self._rows.dataset.kind
        return all(
            _alike(getattr(known, what)[label], found, kind)
            for what in ("logits", "validation")
            for label, found in scores[what].items()
            if label in known.predicted[what]
        )

    def _with_known(self, owner: FitJob, fit: Fit, scores: Scores, *, restored: bool) -> FitResult:
        known = self._store.load(owner.key)  # the same model, scored under other masks before
        if known is None:
            return _result(owner, fit, self._winners[owner.study], scores)
        traces = known.traces if fit.traces is None else fit.traces
        history = _numbers(fit.history) or known.history
        merged: dict[str, Any] = {}
        for what in PREDICTED:
            new, old = scores[what], known.predicted[what]
            merged[what] = {**new, **old} if restored else {**old, **new}  # what is stored stays as it is
        return replace(known, traces=traces, history=history, **merged)


def _not_finite(scores: Scores) -> str | None:
    """Say of which rows predictions are not finite, if any are not."""
    for what, rows in (("logits", "test"), ("validation", "validation")):
        if not all(np.isfinite(z).all() for z in scores.get(what, {}).values()):
            return f"diverged: predictions of {rows} rows are not finite"
    return None


def _alike(known: NDArray[np.float32], found: NDArray[np.float32], kind: Any) -> bool:
    """Whether two arrays of logits say the same; logits of 50 and 60 do."""
    if known.shape != found.shape:
        return False
    a, b = (as_probabilities(torch.as_tensor(z), kind) for z in (known, found))
    return bool(((a - b).abs() <= SAME).all())


def _numbers(history: Sequence[float]) -> list[float] | None:
    """Scores as they are stored; None where there are none, or one that is no number."""
    return [float(score) for score in history] if history and np.isfinite(history).all() else None


def _result(job: FitJob, fit: Fit, winner: Winner, scores: Scores) -> FitResult:
    return FitResult(
        key=job.key,
        options={**winner.common, **winner.own},
        study=winner.digest,
        score=fit.score,
        best_epoch=fit.best_epoch,
        epochs=fit.epochs,
        epochs_allowed=fit.allowed,
        parameters=fit.parameters,
        seconds=fit.seconds,
        rows=fit.rows,
        memory=fit.memory,
        traces=fit.traces,
        history=_numbers(fit.history),
        made_by={role or "strategy": part.registration.identity for role, part in job.arm.parts.items()},
        **scores,
    )
