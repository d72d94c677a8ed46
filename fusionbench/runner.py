"""A run: config -> names -> data -> features -> plan -> tune -> refit -> score -> store -> observers.

What is stored is not trained again; what fails is recorded with its reason and tried again next time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench import analysis, hookspecs
from fusionbench.completion import complete_table, fit_imputer
from fusionbench.config import Benchmark
from fusionbench.errors import ConfigError, FusionBenchError, PluginError
from fusionbench.execution import Job, Scores, Trained, reason_of, train_jobs
from fusionbench.features import Inputs, encode
from fusionbench.keys import digest
from fusionbench.metrics import primary
from fusionbench.missingness import Condition, Pattern, mask_digest, masks_for
from fusionbench.plan import (
    COMPLETE,
    Arm,
    Blueprint,
    FitJob,
    ModalityPart,
    Resolved,
    StudyJob,
    common_key,
    condition_label,
    conditions,
    make_jobs,
)
from fusionbench.population import Population
from fusionbench.progress import Progress
from fusionbench.results import FitResult, Store
from fusionbench.splits import Fold, make_folds
from fusionbench.table import Table, make_table
from fusionbench.training import Fit, Member, predict_conditions
from fusionbench.tuning import Winner, tune
from fusionbench.types import Dataset, Encoder, InputSpec, Missingness, MissingnessContext, Modality

ENCODING_ROWS = 64  # rows of one pass of a frozen encoder
COMPLETED_TABLES = 8  # how many tables of an imputer of inputs are kept in memory


@dataclass(frozen=True)
class RunPlan:
    """What a run is going to do, as observers see it before the first model is trained."""

    benchmark: Benchmark
    dataset: Dataset
    arms: Sequence[Arm]
    conditions: Sequence[Condition]
    folds: Sequence[int]
    studies: Sequence[StudyJob]
    fits: Sequence[FitJob]
    stored: frozenset[str]
    workspace: Path
    random_weights: tuple[str, ...]
    data_digest: str

    @property
    def cells(self) -> int:
        """Number of cells: fits, each under every condition it is scored under."""
        return sum(len(f.scored) for f in self.fits)

    @property
    def cells_stored(self) -> int:
        """How many of them are stored."""
        return sum(len(f.scored) for f in self.fits if f.key in self.stored)

    @cached_property
    def ribbons(self) -> tuple[str, ...]:
        """What every output must say of its numbers."""
        marks = ["SYNTHETIC DATA: no patient is in it"] if self.dataset.synthetic else []
        if self.random_weights:
            marks.append(f"RANDOM ENCODER WEIGHTS: {', '.join(self.random_weights)}")
        return tuple(marks)


@dataclass(frozen=True)
class CellOutcome:
    """One fit, when it is stored, read back, or has failed."""

    job: FitJob
    stored_before: bool
    failure: str | None = None


@dataclass
class RunSummary:
    """What a run leaves, for observers, tables and the report."""

    plan: RunPlan
    tables: analysis.Tables
    failures: list[tuple[str, str]]
    trained: int
    seconds: float
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 all cells done, 1 some failed, 130 interrupted."""
        return 130 if self.interrupted else int(bool(self.failures))


class Run:
    """One benchmark in one workspace.

    Args:
        benchmark: The resolved configuration.
        resolved: Its plugins.
        workspace: Folder of cache, results, tracking and reports.
        device: Where models are trained.
        progress: Where long steps report.
    """

    def __init__(
        self, benchmark: Benchmark, resolved: Resolved, workspace: Path, device: torch.device, progress: Progress
    ) -> None:
        self.benchmark, self.resolved, self.workspace = benchmark, resolved, workspace
        self.device, self.progress = device, progress
        self.store = Store(workspace / "results")
        self._masks: dict[int, dict[Condition, NDArray[np.bool_]]] = {}
        self._digests: dict[tuple[Condition, int], str] = {}
        self._completed: dict[tuple[str, int, int, Condition, Condition], tuple[Table, Tensor]] = {}

    # ---------------------------------------------------------------- preparation

    def prepare(self) -> None:
        """Prepare data, features, folds and the plan.

        Raises:
            ConfigError: Encoders, patterns or options do not fit the data.
            DataError: The data are missing or malformed.
        """
        task = self.resolved.task.build()
        cache = self.workspace / "cache"
        self.dataset: Dataset = task.prepare(cache / "tasks" / self.resolved.task.registration.name, self.progress)
        for step in self.dataset.funnel:
            self.progress.note(f"{step.rows:>10,}  {step.step}" + (f"  ({step.note})" if step.note else ""))
        for warning in self.dataset.warnings:
            self.progress.note(f"warning: {warning}")
        self.metric = primary(self.dataset.metric, self.dataset.kind).name
        self._check_modalities()
        inputs, modalities = self._encode(cache / "features")
        self.table: Table = make_table(
            inputs,
            self.dataset.available,
            self.dataset.target,
            self.dataset.kind,
            len(self.dataset.outputs),
            self.device,
        )
        self.blueprint = Blueprint(modalities, self.benchmark, len(self.dataset.outputs), self.dataset.kind)
        self.folds: dict[int, Fold] = {f.index: f for f in make_folds(self.dataset, self.benchmark.splits)}
        self._check_conditions()
        for arm in self.resolved.arms:  # every option is checked before the first model is trained
            self.blueprint.policy(arm, self.blueprint.build(arm, 0, {}))
        self.plan = self._make_plan(modalities)

    def _check_modalities(self) -> None:
        known, named = list(self.dataset.modalities), list(self.benchmark.encoders)
        missing = [m for m in known if m not in named]
        if missing:
            raise ConfigError(f"encoders: none for modality {', '.join(missing)}; the task offers {', '.join(known)}")
        unused = [m for m in named if m not in known]
        if unused:
            self.progress.note(f"warning: the data hold no {', '.join(unused)}; their encoders are not used")

    def _check_conditions(self) -> None:
        problems = []
        for pattern in self.benchmark.missingness.patterns:
            try:
                Pattern.parse(pattern, list(self.dataset.modalities))
            except ConfigError as problem:
                problems.append(f"missingness.patterns: {problem}")
        if problems:
            raise ConfigError(problems)

    def _encode(self, store: Path) -> tuple[dict[str, Inputs], dict[str, ModalityPart]]:
        inputs, parts = {}, {}
        for column, (name, modality) in enumerate(self.dataset.modalities.items()):
            part = self.resolved.encoders[name]
            spec = _input_spec(modality)
            accepted: frozenset[str] = part.registration.target.accepts  # type: ignore[attr-defined]
            if modality.kind not in accepted:
                raise ConfigError(
                    f"{part.where}: encoder '{part.registration.name}' reads {', '.join(sorted(accepted))}, "
                    f"but modality '{name}' is {modality.kind}"
                )
            encoder: Encoder = part.build(spec)
            inputs[name] = encode(
                modality,
                encoder,
                {"data": self.dataset.digest, "modality": name, "plugin": part.registration.identity},
                store,
                self.device,
                ENCODING_ROWS,
                self.progress,
                f"encoding {name}",
                self.dataset.available[:, column],
            )
            decided_by_weights = encoder.frozen or encoder.weights == "pretrained"
            fingerprint = encoder.fingerprint() if decided_by_weights else ""
            parts[name] = ModalityPart(part, spec, encoder.output_dim, not encoder.frozen, fingerprint, encoder.weights)
        return inputs, parts

    def _make_plan(self, modalities: Mapping[str, ModalityPart]) -> RunPlan:
        common = {**common_key(self.benchmark, self.dataset.digest, modalities), "metric": self.metric}
        studies, fits = make_jobs(self.benchmark, self.resolved, common, list(self.folds), self._mask_digest)
        stored = frozenset(f.key for f in fits if self.store.scored(f.key).issuperset(f.labels))
        return RunPlan(
            benchmark=self.benchmark,
            dataset=self.dataset,
            arms=self.resolved.arms,
            conditions=conditions(self.benchmark),
            folds=list(self.folds),
            studies=studies,
            fits=fits,
            stored=stored,
            workspace=self.workspace,
            random_weights=tuple(n for n, m in modalities.items() if m.weights == "random"),
            data_digest=self.dataset.digest,
        )

    def forget(self) -> None:
        """Remove what is stored for this benchmark, so that it is tuned and trained again."""
        self.store.remove([f.key for f in self.plan.fits], [s.key for s in self.plan.studies])
        self.plan = replace(self.plan, stored=frozenset())

    # ---------------------------------------------------------------- execution

    def execute(self, observers: Sequence[Any] = (), limit: int | None = None) -> RunSummary:
        """Train what is not stored, and summarise everything.

        Args:
            observers: Objects with ``fusionbench_*`` hooks.
            limit: Train this many models at most.
        """
        start = time.perf_counter()
        hook = _hooks(observers)
        _tell(hook.fusionbench_run_started, plan=self.plan)
        todo = [f for f in self.plan.fits if f.key not in self.plan.stored][:limit]
        failures: list[tuple[str, str]] = []
        trained, interrupted = 0, False
        for job in self.plan.fits:
            if job.key in self.plan.stored:
                _tell(hook.fusionbench_cell_finished, outcome=CellOutcome(job, stored_before=True))
        try:
            winners = self._tune(todo, failures)
            for outcome in self._train([f for f in todo if f.study in winners], winners):
                trained += outcome.failure is None
                if outcome.failure is not None:
                    failures.append((_name(outcome.job), outcome.failure))
                _tell(hook.fusionbench_cell_finished, outcome=outcome)
        except KeyboardInterrupt:
            interrupted = True
        summary = self._summary(failures, trained, interrupted)
        summary.seconds = time.perf_counter() - start
        _tell(hook.fusionbench_run_finished, summary=summary)
        return summary

    def _tune(self, todo: Sequence[FitJob], failures: list[tuple[str, str]]) -> dict[str, Winner]:
        wanted = {f.study for f in todo}
        studies = [s for s in self.plan.studies if s.key in wanted]
        total = self.benchmark.tuning.trials * len(studies)
        if total == 0:
            return tune(studies, self.benchmark, self.store, self.metric, self._study_job, _NO_STAGE)[0]
        with self.progress.stage("tuning", total, "trials") as stage:
            winners, failed = tune(studies, self.benchmark, self.store, self.metric, self._study_job, stage)
        for study in studies:
            if study.key in failed:
                failures.append((f"{study.arm.label}, fold {study.fold}, tuning", failed[study.key]))
                self.store.save_failure(study.key, {"arm": study.arm.label, "fold": study.fold}, failed[study.key])
        return winners

    def _study_job(self, study: StudyJob, suggested: Mapping[str, Any], owner: Any) -> Job:
        seed = self.benchmark.splits.seeds[0]
        return self._job(study.arm, study.fold, seed, COMPLETE, suggested["common"], suggested["own"], owner)

    def _job(
        self,
        arm: Arm,
        fold: int,
        seed: int,
        condition: Condition,
        common: Mapping[str, float],
        own: Mapping[str, Any],
        owner: Any,
    ) -> Job:
        development = self.folds[fold].development
        table, present = self._rows(arm, fold, seed, condition, condition)
        member = Member(
            build=lambda: self.blueprint.build(arm, seed, own),
            table=table,
            fold=fold,
            seed=seed,
            train=torch.as_tensor(development.train, device=self.device),
            validation=torch.as_tensor(development.validation, device=self.device),
            present=present,
            learning_rate=common["learning_rate"],
            weight_decay=common["weight_decay"],
            corruption=self.blueprint.policy(arm, self.blueprint.build(arm, 0, own)),
        )
        label = f"{arm.label}, fold {fold}, seed {seed}"
        return Job(member, self.blueprint.signature(arm, own), label, owner)

    def _rows(
        self, arm: Arm, fold: int, seed: int, trained_at: Condition, condition: Condition
    ) -> tuple[Table, Tensor]:
        """The table that an arm trains on or is scored on, and who is present (or filled in before)."""
        present = self._shown(condition, seed)
        imputer = self.blueprint.input_imputer(arm)
        if imputer is None:
            return self.table, present
        key = (digest(arm.imputer.identity), fold, seed, trained_at, condition)
        if key not in self._completed:
            if len(self._completed) >= COMPLETED_TABLES:
                self._completed.pop(next(iter(self._completed)))
            train = torch.as_tensor(self.folds[fold].development.train, device=self.device)
            # it learns from what training rows show in training, whatever test rows show later
            fitted = fit_imputer(self.table, imputer, train, self._shown(trained_at, seed))
            self._completed[key] = complete_table(self.table, fitted, present)
        return self._completed[key]

    def _shown(self, condition: Condition, seed: int) -> Tensor:
        return torch.as_tensor(self.mask(condition, seed), device=self.device)

    def _train(self, todo: Sequence[FitJob], winners: Mapping[str, Winner]) -> Iterable[CellOutcome]:
        if not todo:
            return

        def score(jobs: Sequence[Job], population: Population) -> Sequence[Scores]:
            return self._score([j.owner for j in jobs], population, winners)

        with self.progress.stage("training", len(todo), "models") as stage:
            for fits in self._sharing_rows(todo):
                jobs = [
                    self._job(f.arm, f.fold, f.seed, f.condition, winners[f.study].common, winners[f.study].own, f)
                    for f in fits
                ]
                for trained in train_jobs(jobs, self.benchmark.training, self.metric, stage, score):
                    yield from self._keep(trained, winners)

    def _sharing_rows(self, todo: Sequence[FitJob]) -> Iterable[Sequence[FitJob]]:
        """Divide fits so that no two tables of completed rows have to be in memory for one part."""
        parts: dict[Any, list[FitJob]] = {}
        for f in todo:
            completes = self.blueprint.input_imputer(f.arm) is not None
            rows = (digest(f.arm.imputer.identity), f.fold, f.seed, f.condition) if completes else None
            parts.setdefault(rows, []).append(f)
        return parts.values()

    def _keep(self, trained: Trained, winners: Mapping[str, Winner]) -> Iterable[CellOutcome]:
        for job, fit, scores in zip(trained.jobs, trained.fits, trained.scores, strict=True):
            owner: FitJob = job.owner
            finite = all(np.isfinite(p).all() for p in scores.values())
            failure = fit.failure or (None if finite else "diverged: predictions of test rows are not finite")
            if failure is not None:
                self.store.save_failure(owner.key, {"cell": _name(owner)}, failure)
            else:
                known = self.store.load(owner.key)  # the same model, scored under other masks before
                every = {**known.probabilities, **scores} if known is not None else scores
                self.store.save(_result(owner, fit, winners[owner.study], every))
            yield CellOutcome(owner, stored_before=False, failure=failure)

    def _score(
        self, owners: Sequence[FitJob], population: Population, winners: Mapping[str, Winner]
    ) -> Sequence[Scores]:
        """Probabilities of the test rows by condition label, for each member of a population."""
        rows = [self.folds[o.fold].test.open(winners[o.study].digest) for o in owners]
        longest = max(len(r) for r in rows)
        padded = np.stack([np.pad(r, (0, longest - len(r)), mode="edge") for r in rows])
        # the k-th condition of each member: trained and scored at one rate, each has its own
        scored = list(zip(*(o.scored for o in owners), strict=True))
        tests = torch.as_tensor(padded, device=self.device)
        if self.blueprint.input_imputer(owners[0].arm) is None:
            predicted = predict_conditions(population, tests, self._present(owners, tests, scored)).cpu()
        else:  # every condition has rows of its own
            parts = [self._predict_completed(population, owners, tests, cs) for cs in scored]
            predicted = torch.cat(parts).cpu()
        return [
            {label: predicted[k, i, : len(own)].numpy() for k, label in enumerate(owner.labels)}
            for i, (owner, own) in enumerate(zip(owners, rows, strict=True))
        ]

    def _present(self, owners: Sequence[FitJob], tests: Tensor, scored: Sequence[Sequence[Condition]]) -> Tensor:
        """Bool ``[conditions, models, n, modalities]``."""
        masks = [
            torch.stack(
                [
                    self._rows(o.arm, o.fold, o.seed, o.condition, c)[1][r]
                    for o, r, c in zip(owners, tests, cs, strict=True)
                ]
            )
            for cs in scored
        ]
        return torch.stack(masks)

    def _predict_completed(
        self, population: Population, owners: Sequence[FitJob], tests: Tensor, scored: Sequence[Condition]
    ) -> Tensor:
        first = owners[0]  # members of a population share a table: one fold, one seed, one imputer
        population.table, _ = self._rows(first.arm, first.fold, first.seed, first.condition, scored[0])
        return predict_conditions(population, tests, self._present(owners, tests, [scored]))

    def mask(self, condition: Condition, seed: int) -> NDArray[np.bool_]:
        """Bool ``[rows, modalities]``: who is present under a condition; the same for every arm."""
        if condition == COMPLETE:
            return self.dataset.available
        if seed not in self._masks:
            wanted = [c for c in conditions(self.benchmark) if c != COMPLETE]
            mechanism: Missingness = self.resolved.mechanism.build()
            context = MissingnessContext(
                self.dataset.available,
                tuple(self.dataset.modalities),
                self.dataset.target,
                self._summaries if mechanism.uses_summaries else None,
            )
            name = self.resolved.mechanism.registration.name
            drawn = masks_for(mechanism, context, wanted, name=name, seed=seed)
            self._masks[seed] = dict(zip(wanted, drawn, strict=True))
        return self._masks[seed][condition]

    def _mask_digest(self, condition: Condition, seed: int) -> str:
        if (condition, seed) not in self._digests:
            self._digests[condition, seed] = mask_digest(self.mask(condition, seed))
        return self._digests[condition, seed]

    @cached_property
    def _summaries(self) -> NDArray[np.float64]:
        columns = [
            analysis.first_component(self.table.values[n].cpu().numpy(), self.dataset.available[:, i])
            for i, n in enumerate(self.dataset.modalities)
        ]
        return np.stack(columns, axis=1)

    # ---------------------------------------------------------------- summary

    def _summary(self, failures: list[tuple[str, str]], trained: int, interrupted: bool) -> RunSummary:
        settings = self.benchmark.missingness
        study = analysis.Study(
            dataset=self.dataset,
            metric=self.metric,
            folds=self.folds,
            mask=self.mask,
            where=settings.where,
            evaluation=self.benchmark.evaluation,
            patterns=settings.patterns,
            rates=settings.rates,
            trials=self.benchmark.tuning.trials,
        )
        with self.progress.stage("intervals", len(analysis.WITH_INTERVALS), "metrics") as stage:
            found = [(f, r) for f in self.plan.fits if (r := self.store.load(f.key)) is not None]
            # one that was stored for other masks, and was not reached this time, is a gap
            results = [(f, r) for f, r in found if r.probabilities.keys() >= set(f.labels)]
            tables = analysis.tabulate(results, study, self.plan.fits, self.store, stage)
        return RunSummary(self.plan, tables, failures, trained, 0.0, interrupted, list(self.dataset.warnings))


class _NoStage:
    def advance(self, steps: float = 1, note: str = "") -> None:
        """Show nothing."""


_NO_STAGE = _NoStage()


def _result(job: FitJob, fit: Fit, winner: Winner, scores: Mapping[str, NDArray[np.float32]]) -> FitResult:
    return FitResult(
        key=job.key,
        options={**winner.common, **winner.own},
        study=winner.digest,
        score=fit.score,
        best_epoch=fit.best_epoch,
        epochs=fit.epochs,
        parameters=fit.parameters,
        seconds=fit.seconds,
        rows=fit.rows,
        probabilities=scores,
    )


def _name(job: FitJob) -> str:
    trained = "" if job.condition == COMPLETE else f", trained at {condition_label(job.condition)}"
    return f"{job.arm.label}, fold {job.fold}, seed {job.seed}{trained}"


def _input_spec(modality: Modality) -> InputSpec:
    shape = () if isinstance(modality.values, Sequence) else tuple(modality.values.shape[1:])
    flags = () if modality.standardise is None else tuple(map(bool, modality.standardise))
    return InputSpec(modality.kind, shape, flags)


def _tell(hook: Any, **arguments: Any) -> None:
    """Call a hook of every observer; one that raises ends the run with its place, not with a traceback."""
    try:
        hook(**arguments)
    except FusionBenchError:
        raise
    except Exception as problem:
        raise PluginError(
            f"an observer failed in {hook.name}: {reason_of(problem)}\n"
            "  results are stored; run again when it is mended, or leave it out of 'observers'"
        ) from problem


def _hooks(observers: Sequence[Any]) -> Any:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for observer in reversed(observers):  # pluggy calls the last one first
        manager.register(observer)
    return manager.hook
