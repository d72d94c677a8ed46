"""A run: config -> names -> data -> features -> plan -> tune -> refit -> score -> store -> observers.

What is stored is not trained again; what fails is recorded with its reason and tried again next time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pluggy
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionbench import analysis, hookspecs
from fusionbench.completion import complete_table, fit_imputer
from fusionbench.config import Benchmark
from fusionbench.errors import ConfigError, DataError, FusionBenchError, PluginError, did_you_mean
from fusionbench.estimate import Estimate, Work, upper_bound
from fusionbench.execution import Job, Restore, Scores, Trained, train_jobs
from fusionbench.features import Inputs, encode
from fusionbench.isolation import reason_of
from fusionbench.metrics import METRICS, primary, score
from fusionbench.missingness import MASK_NAME, Condition, Pattern, mask_digest, masks_for
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
from fusionbench.preparation import funnel_lines, prepare_task
from fusionbench.progress import Progress
from fusionbench.report.blocks import Section, sections_of
from fusionbench.results import FitResult, Store
from fusionbench.splits import Fold, make_folds
from fusionbench.subsets import is_subset, prevalence_of, shown_mask, with_prevalence
from fusionbench.table import Table, make_table
from fusionbench.traces import trace_table
from fusionbench.training import Fit, Member, padded, predict_conditions
from fusionbench.tuning import Asked, Winner, defaults, tune
from fusionbench.types import Dataset, Encoder, InputSpec, Missingness, MissingnessContext, Modality

ENCODING_ROWS = 64  # rows of one pass of a frozen encoder
ESTIMATED_MODELS = 16  # of each arm, timed together to say how long a run takes
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
    kept: frozenset[str] = frozenset()
    """Keys of trained models that only have to be scored under more conditions."""
    only: str | None = None
    """Pattern (as of a shell) of the arms that are worked on; None: all."""
    identities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What decides results beside the arms: task, encoders, mechanism."""

    @property
    def todo(self) -> list[FitJob]:
        """Models that are not stored with every condition, of the arms that are worked on."""
        return [f for f in self.fits if f.key not in self.stored and self.wants(f.arm)]

    @property
    def to_train(self) -> list[FitJob]:
        """Models that are neither stored nor kept."""
        return [f for f in self.todo if f.key not in self.kept]

    def wants(self, arm: Arm) -> bool:
        """Whether an arm is worked on."""
        return self.only is None or any(fnmatchcase(name, self.only) for name in (arm.title, arm.label))

    @property
    def cells(self) -> int:
        """Number of cells: fits, each under every condition it is scored under."""
        return sum(len(f.points) for f in self.fits)

    @property
    def cells_stored(self) -> int:
        """How many of them are stored."""
        return sum(len(f.points) for f in self.fits if f.key in self.stored)

    @cached_property
    def ribbons(self) -> tuple[str, ...]:
        """What every output must say of its numbers."""
        marks = ["SYNTHETIC DATA: no patient is in it"] if self.dataset.synthetic else []
        if self.random_weights:
            marks.append(f"RANDOM ENCODER WEIGHTS: {', '.join(self.random_weights)}")
        return tuple(marks)


@dataclass(frozen=True)
class CellOutcome:
    """One fit, when it is stored, read back (also to be scored under more conditions), or has failed."""

    job: FitJob
    stored_before: bool
    failure: str | None = None


@dataclass
class RunSummary:
    """What a run leaves, for observers, tables and the report."""

    plan: RunPlan
    tables: analysis.Tables
    traces: pd.DataFrame
    failures: list[tuple[str, str]]
    trained: int
    seconds: float
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    """What observers add to the report."""

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
        cache = self.workspace / "cache"
        self.dataset: Dataset = prepare_task(self.resolved.task, self.workspace, self.progress)
        for line in funnel_lines(self.dataset):
            self.progress.note(line)
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
        problems = [
            f"{arm.strategy.where}.modalities: the task offers {', '.join(known)}; found {', '.join(sorted(unknown))}"
            for arm in self.resolved.arms
            if (unknown := set(arm.modalities or ()) - set(known))
        ]
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))

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
        studies, fits = make_jobs(
            self.benchmark, self.resolved, common, list(self.folds), self._mask_digest, list(self.dataset.modalities)
        )
        # a model that was trained without recording what is to be drawn now is trained again
        there, weights = self.store.keys(), self.store.keys_with_weights()
        usable = [
            f
            for f in fits
            if f.key in there and (not self.benchmark.training.traces or self.store.traces(f.key) is not None)
        ]
        stored = frozenset(f.key for f in usable if self.store.scored(f.key).issuperset(f.labels))
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
            kept=frozenset(f.key for f in usable if f.key not in stored and f.key in weights),
            identities={
                "task": self.resolved.task.identity,
                **{f"encoder of {n}": m.identity for n, m in modalities.items()},
                "missingness": self.resolved.mechanism.identity,
            },
        )

    def select(self, only: str) -> None:
        """Work on the arms of a name only: ``dwfuse``, ``concat*``, ``concat / mean``; the tables show all.

        Raises:
            ConfigError: No arm has such a name.
        """
        self.plan = replace(self.plan, only=only)
        labels = [arm.label for arm in self.plan.arms]
        if not any(map(self.plan.wants, self.plan.arms)):
            hint = did_you_mean(only, [arm.title for arm in self.plan.arms])
            raise ConfigError(f"--only {only}: no arm has this name{hint}\n  arms: {', '.join(labels)}")

    def estimate(self) -> Estimate:
        """Say how long the training that is left takes if no model stops early; times two epochs of each arm."""
        by_arm: dict[str, list[FitJob]] = {}
        for f in self.plan.to_train:
            by_arm.setdefault(f.arm.label, []).append(f)
        trials = self.benchmark.tuning.trials
        works = [
            Work(
                label,
                len(fits) + trials * len({f.study for f in fits if self.store.sealed_study(f.study) is None}),
                partial(self._with_defaults, fits[:ESTIMATED_MODELS]),
            )
            for label, fits in by_arm.items()
        ]
        with self.progress.stage("estimating", len(works), "arms") as stage:
            return upper_bound(works, self.benchmark.training, self.metric, stage)

    def _with_defaults(self, fits: Sequence[FitJob]) -> list[Job]:
        rates = defaults(self.benchmark)
        return [self._job(f.arm, f.fold, f.seed, f.condition, rates, {}, f) for f in fits]

    def forget(self) -> None:
        """Remove what is stored for the arms that are worked on, so that they are tuned and trained again."""
        wanted = [f for f in self.plan.fits if self.plan.wants(f.arm)]
        self.store.remove([f.key for f in wanted], {f.study for f in wanted})
        forgotten = {f.key for f in wanted}
        self.plan = replace(self.plan, stored=self.plan.stored - forgotten, kept=self.plan.kept - forgotten)

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
        todo = self.plan.todo[:limit]
        self._keep_masks()
        failures: list[tuple[str, str]] = []
        trained, interrupted = 0, False
        for job in self.plan.fits:
            if job.key in self.plan.stored:
                _tell(hook.fusionbench_cell_finished, outcome=CellOutcome(job, stored_before=True))
        try:
            winners = self._tune(todo, failures)
            for outcome in self._train([f for f in todo if f.study in winners], winners):
                trained += outcome.failure is None and not outcome.stored_before
                if outcome.failure is not None:
                    failures.append((_name(outcome.job), outcome.failure))
                _tell(hook.fusionbench_cell_finished, outcome=outcome)
        except KeyboardInterrupt:
            interrupted = True
        summary = self._summary(failures, trained, interrupted)
        summary.seconds = time.perf_counter() - start
        summary.sections = sections_of(_tell(hook.fusionbench_report_sections, summary=summary))
        _tell(hook.fusionbench_run_finished, summary=summary)
        return summary

    def _keep_masks(self) -> None:
        """Store the masks of every condition and seed, so that they can be cited and reused."""
        for seed in self.benchmark.splits.seeds:
            for condition in self.plan.conditions:
                self.store.save_mask(self._mask_digest(condition, seed)[:MASK_NAME], self.mask(condition, seed))

    def _tune(self, todo: Sequence[FitJob], failures: list[tuple[str, str]]) -> dict[str, Winner]:
        wanted = {f.study for f in todo}
        studies = [s for s in self.plan.studies if s.key in wanted]
        total = self.benchmark.tuning.trials * len(studies)
        compare = self._compare if self.benchmark.tuning.condition == "mean" else None
        if total == 0:
            return tune(studies, self.benchmark, self.store, self.metric, self._study_job, _NO_STAGE)[0]
        with self.progress.stage("tuning", total, "trials") as stage:
            winners, failed = tune(studies, self.benchmark, self.store, self.metric, self._study_job, stage, compare)
        for study in studies:
            if study.key in failed:
                failures.append((f"{study.arm.label}, fold {study.fold}, tuning", failed[study.key]))
                self.store.save_failure(study.key, {"arm": study.arm.label, "fold": study.fold}, failed[study.key])
        return winners

    def _study_job(self, study: StudyJob, suggested: Mapping[str, Any], owner: Any) -> Job:
        seed = self.benchmark.splits.seeds[0]
        return self._job(study.arm, study.fold, seed, study.condition, suggested["common"], suggested["own"], owner)

    def _compare(self, asked: Sequence[Asked], population: Population) -> list[float]:
        """Mean validation score of each trial over all conditions; higher is better."""
        seed = self.benchmark.splits.seeds[0]
        arms = [(s.arm.tuned(suggested["own"]), s) for s, suggested in asked]
        rows, counted = padded([self._development(arm, s.fold, seed, s.condition)[1] for arm, s in arms])
        trained = [self.folds[s.fold].development.train for _, s in arms]
        prevalence = torch.as_tensor(np.stack([prevalence_of(self.dataset, r) for r in trained]), device=self.device)
        scores = []
        for c in conditions(self.benchmark):
            found = [self._rows(arm, s.fold, seed, s.condition, c) for arm, s in arms]
            population.table = found[0][0]  # members of a population share it
            present = torch.stack([p[r] for (_, p), r in zip(found, rows, strict=True)])
            predicted = predict_conditions(population, rows, present[None])[0]
            # a row that has nothing of what its arm may see is predicted as test rows are
            sees = torch.stack([self._shown(c, seed, a)[r].any(dim=1) for (a, _), r in zip(arms, rows, strict=True)])
            predicted = torch.where(sees[..., None], predicted, prevalence[:, None])
            target = population.table.target[rows]
            scores.append(score(self.metric, predicted.double(), target, self.dataset.kind, counted.double()))
        mean: list[float] = torch.stack(scores).mean(dim=0).tolist()
        return mean if METRICS[self.metric].higher_is_better else [-v for v in mean]

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
        train, validation = self._development(arm, fold, seed, condition)
        table, present = self._rows(arm.tuned(own), fold, seed, condition, condition)
        member = Member(
            build=lambda: self.blueprint.build(arm, seed, own),
            table=table,
            fold=fold,
            seed=seed,
            train=train,
            validation=validation,
            present=present,
            learning_rate=common["learning_rate"],
            weight_decay=common["weight_decay"],
            corruption=self.blueprint.policy(arm, self.blueprint.build(arm, 0, own)),
        )
        label = f"{arm.label}, fold {fold}, seed {seed}"
        return Job(member, self.blueprint.signature(arm, own), label, owner)

    def _development(self, arm: Arm, fold: int, seed: int, condition: Condition) -> tuple[Tensor, Tensor]:
        """Training and validation rows that show anything of what the arm may see."""
        rows = self.folds[fold].development
        usable = self._shown(condition, seed, arm).any(dim=1)
        parts = [torch.as_tensor(part, device=self.device) for part in (rows.train, rows.validation)]
        train, validation = [part[usable[part]] for part in parts]
        if len(train) == 0 or len(validation) == 0:
            raise DataError(
                f"{arm.strategy.where}.modalities: fold {fold} has {len(train)} training and {len(validation)} "
                f"validation rows with any of {', '.join(arm.modalities or ())} at {condition_label(condition)}; "
                "each needs one at least: add a modality, or leave the strategy out"
            )
        return train, validation

    def _rows(
        self, arm: Arm, fold: int, seed: int, trained_at: Condition, condition: Condition
    ) -> tuple[Table, Tensor]:
        """The table that an arm trains on or is scored on, and who is present (or filled in before)."""
        present = self._shown(condition, seed, arm)
        imputer = self.blueprint.input_imputer(arm)
        if imputer is None:
            return self.table, present
        key = (arm.completion, fold, seed, trained_at, condition)
        if key not in self._completed:
            if len(self._completed) >= COMPLETED_TABLES:
                self._completed.pop(next(iter(self._completed)))
            train = torch.as_tensor(self.folds[fold].development.train, device=self.device)
            # it learns from what training rows show in training, whatever test rows show later
            fitted = fit_imputer(self.table, imputer, train, self._shown(trained_at, seed, arm))
            self._completed[key] = complete_table(self.table, fitted, present)
        return self._completed[key]

    def _shown(self, condition: Condition, seed: int, arm: Arm) -> Tensor:
        """Bool ``[rows, modalities]``: who is present under a condition, of what the arm may see."""
        names = list(self.dataset.modalities)
        columns = np.isin(names, arm.seen(names))
        return torch.as_tensor(self.mask(condition, seed) & columns, device=self.device)

    def _train(self, todo: Sequence[FitJob], winners: Mapping[str, Winner]) -> Iterable[CellOutcome]:
        kept = [f for f in todo if f.key in self.plan.kept]
        yield from self._work("scoring", kept, winners, self._restore)
        yield from self._work("training", [f for f in todo if f.key not in self.plan.kept], winners, None)

    def _work(
        self, title: str, todo: Sequence[FitJob], winners: Mapping[str, Winner], restore: Restore | None
    ) -> Iterable[CellOutcome]:
        """Train models, or restore those that were trained before, and score them."""
        if not todo:
            return

        def score(jobs: Sequence[Job], population: Population) -> Sequence[Scores]:
            if restore is None and self.benchmark.training.keep_weights:
                for i, job in enumerate(jobs):
                    self.store.save_weights(job.owner.key, population.state_of(i))
            return self._score([j.owner for j in jobs], population, winners)

        with self.progress.stage(title, len(todo), "models") as stage:
            for fits in self._sharing_rows(todo, winners):
                jobs = [
                    self._job(f.arm, f.fold, f.seed, f.condition, winners[f.study].common, winners[f.study].own, f)
                    for f in fits
                ]
                for trained in train_jobs(jobs, self.benchmark.training, self.metric, stage, score, restore):
                    yield from self._keep(trained, winners, restored=restore is not None)

    def _restore(self, jobs: Sequence[Job], population: Population) -> Sequence[Fit]:
        population.restore_members([self.store.weights(j.owner.key) for j in jobs])
        known = [self.store.load(j.owner.key) for j in jobs]
        return [Fit() if k is None else Fit(score=k.score, best_epoch=k.best_epoch) for k in known]

    def _sharing_rows(self, todo: Sequence[FitJob], winners: Mapping[str, Winner]) -> Iterable[Sequence[FitJob]]:
        """Divide fits so that no two tables of completed rows have to be in memory for one part."""
        parts: dict[Any, list[FitJob]] = {}
        for f in todo:
            completes = self.blueprint.input_imputer(f.arm) is not None
            arm = f.arm.tuned(winners[f.study].own)
            rows = (arm.completion, f.fold, f.seed, f.condition) if completes else None
            parts.setdefault(rows, []).append(f)
        return parts.values()

    def _keep(self, trained: Trained, winners: Mapping[str, Winner], *, restored: bool) -> Iterable[CellOutcome]:
        for job, fit, scores in zip(trained.jobs, trained.fits, trained.scores, strict=True):
            owner: FitJob = job.owner
            finite = all(np.isfinite(p).all() for p in scores.values())
            failure = fit.failure or (None if finite else "diverged: predictions of test rows are not finite")
            if failure is not None:
                self.store.save_failure(owner.key, {"cell": _name(owner)}, failure)
            else:
                known = self.store.load(owner.key)  # the same model, scored under other masks before
                if known is None:
                    self.store.save(_result(owner, fit, winners[owner.study], scores))
                else:
                    traces = known.traces if fit.traces is None else fit.traces
                    self.store.save(replace(known, traces=traces, probabilities={**known.probabilities, **scores}))
            yield CellOutcome(owner, stored_before=restored, failure=failure)

    def _score(
        self, owners: Sequence[FitJob], population: Population, winners: Mapping[str, Winner]
    ) -> Sequence[Scores]:
        """Probabilities of the test rows by condition label, for each member of a population."""
        owners = [replace(o, arm=o.arm.tuned(winners[o.study].own)) for o in owners]
        rows = [self.folds[o.fold].test.open(winners[o.study].digest) for o in owners]
        # the k-th condition of each member: trained and scored at one rate, each has its own
        most = max(len(o.scored) for o in owners)
        scored = list(zip(*(o.scored + o.scored[-1:] * (most - len(o.scored)) for o in owners), strict=True))
        tests, _ = padded([torch.as_tensor(r, device=self.device) for r in rows])
        if self.blueprint.input_imputer(owners[0].arm) is None:
            predicted = predict_conditions(population, tests, self._present(owners, tests, scored)).cpu()
        else:  # every condition has rows of its own
            parts = [self._predict_completed(population, owners, tests, cs) for cs in scored]
            predicted = torch.cat(parts).cpu()
        return [
            {
                label: self._or_prevalence(owner, condition, own, predicted[k, i, : len(own)].numpy())
                for k, (label, condition) in enumerate(zip(owner.labels, owner.scored, strict=True))
            }
            for i, (owner, own) in enumerate(zip(owners, rows, strict=True))
        ]

    def _or_prevalence(
        self, owner: FitJob, condition: Condition, rows: NDArray[np.int64], predicted: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The predictions; the training prevalence for rows that have nothing of what the arm may see."""
        if owner.arm.modalities is None:
            return predicted
        seen = self._shown(condition, owner.seed, owner.arm).cpu().numpy()[rows]
        return with_prevalence(predicted, seen, prevalence_of(self.dataset, self.folds[owner.fold].development.train))

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
        if is_subset(condition):
            return shown_mask(self.dataset.available, list(self.dataset.modalities), condition)
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
            reads=self._reads(),
            tuning={k: self.store.cost_of_study(k) for k in {f.study for f in self.plan.fits}},
        )
        with self.progress.stage("intervals", len(analysis.WITH_INTERVALS), "metrics") as stage:
            found = [(f, r) for f in self.plan.fits if (r := self.store.load(f.key)) is not None]
            # one that was stored for other masks, and was not reached this time, is a gap
            results = [(f, r) for f, r in found if r.probabilities.keys() >= set(f.labels)]
            tables = analysis.tabulate(results, study, self.plan.fits, self.store, stage)
        traces = trace_table(results if self.benchmark.training.traces else [])
        notes = list(self.dataset.warnings)
        return RunSummary(self.plan, tables, traces, failures, trained, 0.0, interrupted, notes)

    def _reads(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """By arm (strategy, imputer), the modalities that its models look at."""
        return {
            (arm.title, arm.imputer_name): tuple(self.blueprint.build(arm, 0, {}).modalities)
            for arm in self.resolved.arms
        }


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
        memory=fit.memory,
        traces=fit.traces,
        made_by={role or "strategy": part.registration.identity for role, part in job.arm.parts.items()},
        probabilities=scores,
    )


def _name(job: FitJob) -> str:
    trained = "" if job.condition == COMPLETE else f", trained at {condition_label(job.condition)}"
    return f"{job.arm.label}, fold {job.fold}, seed {job.seed}{trained}"


def _input_spec(modality: Modality) -> InputSpec:
    shape = () if isinstance(modality.values, Sequence) else tuple(modality.values.shape[1:])
    flags = () if modality.standardise is None else tuple(map(bool, modality.standardise))
    return InputSpec(modality.kind, shape, flags)


def _tell(hook: Any, **arguments: Any) -> list[Any]:
    """Call a hook of every observer, and return what they return.

    One that raises ends the run with its place, not with a traceback.
    """
    try:
        return list(hook(**arguments))
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
