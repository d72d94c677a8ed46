"""A run: config -> names -> data -> features -> plan -> tune -> refit -> score -> store -> observers.

What is stored is not trained again; what fails is recorded with its reason and tried again next time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from fusionbench.analysis.answer import answer_of, situation_of
from fusionbench.analysis.cells import Evaluation, with_intervals
from fusionbench.analysis.dead import dead_notes
from fusionbench.analysis.embedding_maps import EmbeddingMap, map_tables, maps_from_json
from fusionbench.analysis.epochs import score_table
from fusionbench.analysis.expectations import expected_of
from fusionbench.analysis.published import values_beside
from fusionbench.analysis.ranking.guards import doubts_of, guard_notes
from fusionbench.analysis.ranking.leaderboard import controls_of
from fusionbench.analysis.tables import tabulate
from fusionbench.analysis.traces import trace_table
from fusionbench.analysis.tuning import trial_rows
from fusionbench.config.sections import Benchmark
from fusionbench.contract.blocks import sections_of
from fusionbench.contract.data import Dataset
from fusionbench.data.encoding import check_missingness, check_modalities, encode_modalities, with_remarks
from fusionbench.data.findings import funnel_lines
from fusionbench.data.preparation import prepare_task
from fusionbench.data.prepared import Prepared
from fusionbench.data.splits import Fold, make_folds
from fusionbench.data.table import RowTable, make_table
from fusionbench.errors import ConfigError, did_you_mean
from fusionbench.metrics.registry import primary
from fusionbench.plan.arithmetic import Abilities, Arithmetic, settle
from fusionbench.plan.estimates import Estimate
from fusionbench.plan.jobs import FitJob, StudyJob, judged_by
from fusionbench.plan.parts import ModalityPart, Resolved
from fusionbench.progress import Progress, SilentProgress, SilentStage
from fusionbench.records import CellOutcome, RunSummary, Worked
from fusionbench.run.arms import reads_of, try_arms
from fusionbench.run.capacity import Sizes
from fusionbench.run.crew import processor_seconds
from fusionbench.run.estimate import Work, sum_of, upper_bound
from fusionbench.run.execution import Job
from fusionbench.run.executors.executor import Executor, ThisProcess
from fusionbench.run.observers import Observers
from fusionbench.run.planning import Planning
from fusionbench.run.refits import Refits
from fusionbench.run.robustness import alternatives_of, compare_settings
from fusionbench.run.rows import ModelRows
from fusionbench.run.scoring import Scoring
from fusionbench.run.searching import defaults
from fusionbench.run.tuning import Winner, tune, untuned
from fusionbench.store.files import to_standard_error
from fusionbench.store.results import FitResult, Store
from fusionbench.store.workspace import Workspace
from fusionbench.tracking.predictions import WARNING as PREDICTIONS_WARNING
from fusionbench.training.blueprint import Blueprint
from fusionbench.training.devices import precision

ESTIMATED_MODELS = 16  # of each arm, timed together to say how long a run takes


class Run:
    """One benchmark in one workspace.

    Args:
        benchmark: The resolved configuration.
        resolved: Its plugins.
        workspace: Folder of cache, results, tracking and reports.
        device: Where models are trained.
        progress: Where long steps report.
        file: The benchmark file, where there is one.
        abilities: What each place can do that models are trained in, where it is not this device: what one cannot do, none does.
        arithmetic: What is computed in, where others decided it; None: as the devices can.

    Raises:
        ConfigError: These devices cannot compute in one precision.
    """

    dataset: Dataset
    metric: str
    table: RowTable
    folds: Mapping[int, Fold]
    modalities: Mapping[str, ModalityPart]
    prepared: Prepared
    planning: Planning

    def __init__(
        self,
        benchmark: Benchmark,
        resolved: Resolved,
        workspace: Path,
        device: torch.device,
        progress: Progress,
        file: Path | None = None,
        abilities: Sequence[Abilities] = (),
        arithmetic: Arithmetic | None = None,
    ) -> None:
        workspace = workspace.absolute()  # whatever the working folder is later
        self.benchmark, self.resolved, self.workspace = benchmark, resolved, workspace
        self.device, self.progress, self.file, self._abilities = device, progress, file, abilities
        self.folders = Workspace(workspace)
        say = to_standard_error if isinstance(progress, SilentProgress) else progress.note
        self.store = Store(self.folders.results.root, say)
        self.arithmetic = arithmetic or settle(benchmark.training, abilities or [precision.abilities(device)])
        self._sizes = Sizes(progress.note)

    # ---------------------------------------------------------------- preparation

    def prepare(self, prepared: Prepared | None = None, share: Collection[str] | None = None) -> None:
        """Prepare data, features, folds and the plan.

        Args:
            prepared: Data and encoders, where they are at hand; None: they are prepared now.
            share: Keys of the models that are worked on; None: all.

        Raises:
            ConfigError: Encoders, patterns or options do not fit the data.
            DataError: The data are missing or malformed.
        """
        self.prepared = self._prepared() if prepared is None else prepared
        self.dataset, self.metric, self.table = self.prepared.dataset, self.prepared.metric, self.prepared.table
        self.folds, self.modalities = self.prepared.folds, self.prepared.modalities
        outputs, kind = len(self.dataset.outputs), self.dataset.kind
        self.blueprint = Blueprint(self.modalities, self.benchmark, outputs, kind, self.arithmetic)
        try_arms(self.resolved.arms, self.blueprint)
        self.rows = ModelRows(self.dataset, self.table, self.folds, self.blueprint, self.resolved.mechanism)
        given = (self.rows, self.blueprint, self.store, self.workspace, self.file)
        self.planning = Planning(self.benchmark, self.resolved, self.prepared, *given)
        self.plan = self.planning.plan(share)
        self.others = alternatives_of(self.benchmark, self._ready, self.progress)
        self.plan = replace(self.plan, robustness=self.others.plans)
        if self.benchmark.tracking.predictions:
            self.progress.note(PREDICTIONS_WARNING)

    def _ready(self, benchmark: Benchmark) -> Run:
        """Return a run of other settings on the data of this one."""
        other = Run(benchmark, self.resolved, self.workspace, self.device, self.progress, self.file, self._abilities)
        same = other.arithmetic.features == self.arithmetic.features
        other.prepare(self.prepared if same else None)
        return other

    def _prepared(self) -> Prepared:
        dataset = prepare_task(self.resolved.task, self.workspace, self.progress)
        for line in funnel_lines(dataset):
            self.progress.note(line)
        metric = primary(dataset.metric, dataset.kind).name
        check_modalities(dataset, self.resolved, self.progress)
        inputs, modalities = encode_modalities(
            dataset, self.resolved, self.folders.features, self.device, self.progress
        )
        dataset = with_remarks(dataset, inputs)
        size, features = len(dataset.outputs), self.arithmetic.features
        table = make_table(inputs, dataset.available, dataset.target, dataset.kind, size, self.device, features)
        folds = {f.index: f for f in make_folds(dataset, self.benchmark.splits)}
        check_missingness(dataset, self.benchmark.missingness)
        return Prepared(dataset, metric, table, folds, modalities)

    def select(self, only: str) -> None:
        """Work on the arms of a name only: ``dwfuse``, ``concat*``, ``concat / mean``; the tables show all.

        Raises:
            ConfigError: No arm has such a name.
        """
        for other in self.others.runs.values():
            other.select(only)
        self.plan = replace(self.plan, only=only, robustness=self.others.plans)
        labels = [arm.label for arm in self.plan.arms]
        if not any(map(self.plan.wants, self.plan.arms)):
            hint = did_you_mean(only, [arm.title for arm in self.plan.arms])
            raise ConfigError(f"--only {only}: no arm has this name{hint}\n  arms: {', '.join(labels)}")

    def take(self, keys: Collection[str]) -> None:
        """Work on the models of these keys only; the others are left to other processes.

        Raises:
            ConfigError: There is no such model in the plan.
        """
        unknown = set(keys) - self.planning.keys
        if unknown:
            raise ConfigError(
                f"{len(unknown)} of {len(keys)} models are not in the plan: the benchmark file, the data or the plugins have "
                "changed since the run was started; start it again"
            )
        self.plan = replace(self.plan, share=frozenset(keys))

    def look_again(self) -> None:
        """See what other processes have stored since the plan was made."""
        before, now = self.plan, self.planning.plan()
        self.plan = replace(now, only=before.only, share=before.share, robustness=before.robustness)

    def estimate(self) -> Estimate:
        """Say how long the training that is left takes if no model stops early; times two epochs of each arm."""
        by_arm: dict[str, list[FitJob]] = {}
        for f in self.plan.to_train:
            by_arm.setdefault(f.arm.label, []).append(f)
        tuned = self.plan.tuned_models
        works = [
            Work(
                label,
                len(fits)
                + sum(tuned[s] for s in {f.study for f in fits if not f.untuned} if self.store.sealed_study(s) is None),
                partial(self._with_defaults, fits[:ESTIMATED_MODELS]),
            )
            for label, fits in by_arm.items()
        ]
        with self.progress.stage("estimating", len(works), "arms") as stage:
            mine = upper_bound(works, self.benchmark.training, self.metric, stage)
        return sum_of(mine, {name: other.estimate() for name, other in self.others.runs.items()})

    def _with_defaults(self, fits: Sequence[FitJob]) -> list[Job]:
        rates = defaults(self.benchmark)
        return [self.rows.job(f.arm, f.fold, f.seed, f.condition, rates, {}, f) for f in fits]

    def forget(self) -> None:
        """Remove what is stored for the arms that are worked on, so that they are tuned and trained again."""
        for other in self.others.runs.values():
            other.forget()
        wanted = self.plan.mine
        self.store.remove([f.key for f in wanted], {f.study for f in wanted})
        forgotten = {f.key for f in wanted}
        self.plan = replace(self.plan, stored=self.plan.stored - forgotten, kept=self.plan.kept - forgotten)

    # ---------------------------------------------------------------- execution

    def execute(
        self, observers: Sequence[Any] = (), limit: int | None = None, executor: Executor | None = None
    ) -> RunSummary:
        """Train what is not stored, and summarise everything.

        Args:
            observers: Objects with ``fusionbench_*`` hooks.
            limit: Train this many models at most.
            executor: Who trains; what it leaves undone is done here. None: everything is.
        """
        processors = processor_seconds()
        before = self._elsewhere(executor, limit)
        start = time.perf_counter()
        telling = Observers(observers)
        worked = self._work(telling, limit, before)
        summary = self._summary(list(worked.failures.values()), len(worked.trained), worked.interrupted)
        rest = limit if limit is None else max(limit - summary.trained, 0)
        compare_settings(summary, self.others, rest, self.progress, executor)
        summary.seconds = worked.seconds + time.perf_counter() - start
        summary.processor = processor_seconds() - processors
        ends = ("fusionbench_report_sections", "fusionbench_run_finished")
        with self.progress.stage("writing", telling.count(*ends), "steps") as stage:
            telling.each = stage.advance
            summary.sections = sections_of(telling.tell(ends[0], summary=summary))
            telling.tell(ends[1], summary=summary)
        telling.raise_what_failed()
        return summary

    def work(self, observers: Sequence[Any] = (), limit: int | None = None, executor: Executor | None = None) -> Worked:
        """Train what is not stored, and leave tables, report and tracking to another run; arguments as of :meth:`execute`."""
        telling = Observers(observers)
        worked = self._work(telling, limit, self._elsewhere(executor, limit))
        telling.raise_what_failed()
        return worked

    def work_on(self, keys: Collection[str]) -> Worked:
        """Train what is not stored of some models, whose masks are kept and whose tables are made elsewhere.

        Raises:
            ConfigError: There is no such model in the plan.
        """
        self.take(keys)
        self.plan = self.planning.plan(keys)
        worked = Worked()
        self._train(self.plan.todo, Observers([]), worked)
        return worked

    def _elsewhere(self, executor: Executor | None, limit: int | None) -> Worked:
        return (executor or ThisProcess()).work(self, self.plan.todo[:limit])

    def _work(self, telling: Observers, limit: int | None, worked: Worked) -> Worked:
        telling.tell("fusionbench_run_started", plan=self.plan)
        self.keep_masks()
        for job in self.plan.fits:
            if job.key in self.plan.stored:
                outcome = CellOutcome(job, stored_before=job.key not in worked.trained)
                telling.tell("fusionbench_cell_finished", outcome=outcome)
            elif job.key in worked.failures:
                reason = worked.failures[job.key][1]
                telling.tell("fusionbench_cell_finished", outcome=CellOutcome(job, stored_before=False, failure=reason))
        if worked.interrupted:
            return worked
        try:
            self._train([f for f in self.plan.todo[:limit] if not worked.failed(f)], telling, worked)
        except KeyboardInterrupt:
            worked.interrupted = True
        return worked

    def keep_masks(self) -> None:
        """Store who is present under every condition, so that masks can be cited and used again."""
        self.rows.keep_masks(list(product(self.plan.conditions, self.benchmark.splits.seeds, self.folds)), self.store)

    def _train(self, todo: Sequence[FitJob], telling: Observers, worked: Worked) -> None:
        winners = self._tune(todo, worked)
        refits = Refits(self.plan, winners, self.rows, self.store, self.metric, self.progress, self._sizes)
        for outcome in refits.outcomes([f for f in todo if f.study in winners]):
            if outcome.failure is not None:
                worked.failures[outcome.job.key] = (outcome.name, outcome.failure)
            elif not outcome.stored_before:
                worked.trained.add(outcome.job.key)
            if not outcome.job.untuned:
                telling.tell("fusionbench_cell_finished", outcome=outcome)

    def _tune(self, todo: Sequence[FitJob], worked: Worked) -> dict[str, Winner]:
        lost = {f.study for f in self.plan.mine if f.study in self.store.lost_studies}
        wanted = {f.study for f in todo if not f.untuned} | lost
        with_defaults = {f.study: untuned(self.benchmark) for f in todo if f.untuned}
        studies = [s for s in self.plan.studies if s.key in wanted]
        judge = "log_loss" if self.benchmark.training.selection == "loss" else self.metric
        compare = Scoring(self.rows, judge).compare if judged_by(self.benchmark) == "mean" else None
        if not (studies and self.benchmark.tuning.trials):
            found, _ = tune(studies, self.benchmark, self.store, self.metric, self._study_job, SilentStage())
            return found | with_defaults
        splits = {s.key: self.rows.splits(s, self.benchmark.splits.seeds[0]) for s in studies}
        total = self.benchmark.tuning.trials * sum(map(len, splits.values()))
        with self.progress.stage("tuning", total, "models of trials" if self.plan.inner_folds else "trials") as stage:
            settled = (self.benchmark, self.store, self.metric, self._study_job, stage, compare, self._sizes)
            winners, failed = tune(studies, *settled, splits)
        for study in studies:
            if study.key in failed:
                worked.failures[study.key] = (f"{study.arm.label}, fold {study.fold}, tuning", failed[study.key])
                self.store.save_failure(study.key, {"arm": study.arm.label, "fold": study.fold}, failed[study.key])
        return winners | with_defaults

    def _study_job(self, study: StudyJob, suggested: Mapping[str, Any], owner: Any, split: int = 0) -> Job:
        seed, common, own = self.benchmark.splits.seeds[0], suggested["common"], suggested["own"]
        return self.rows.job(study.arm, study.fold, seed, study.condition, common, own, owner, split)

    # ---------------------------------------------------------------- summary

    def _summary(self, failures: list[tuple[str, str]], trained: int, interrupted: bool) -> RunSummary:
        settings = self.benchmark.missingness
        study = Evaluation(
            dataset=self.rows.used,
            metric=self.metric,
            folds=self.folds,
            mask=self.rows.used_mask,
            where=settings.where,
            evaluation=self.benchmark.evaluation,
            patterns=settings.patterns,
            rates=settings.rates,
            trials=self.benchmark.tuning.trials,
            reads=reads_of(self.resolved.arms, self.blueprint, list(self.dataset.modalities)),
            tuning={k: self.store.cost_of_study(k) for k in {f.study for f in self.plan.fits}},
            untuned=self._stored(self.plan.untuned),
            trial_rows=trial_rows(self.plan.studies, self.store) if self.benchmark.tuning.trials else [],
            by_metric=self.benchmark.training.selection == "metric",
        )
        metrics = with_intervals(self.metric, self.dataset.kind)
        with self.progress.stage("intervals", len(metrics) + 1, "metrics") as stage:
            results = self._stored(self.plan.fits)
            tables = tabulate(results, study, self.plan.fits, self.store, stage)
        traces = trace_table(results if self.benchmark.training.traces else [])
        maps = [(f, m) for f, _ in results if f.key in self.plan.mapped and (m := self._maps(f)) is not None]
        dead = dead_notes(
            results, self.dataset, self.metric, self.rows.learnt_by, by_loss=self.benchmark.training.selection == "loss"
        )
        batches = [self.rows.batches(f, self.benchmark.training.batch_size) for f, _ in results]
        controls = controls_of(self.plan.fits, settings.where)
        guards = guard_notes(
            results, tables.leaderboard, tables.design, self.benchmark, batches, controls, self.plan.called
        )
        published, unread = values_beside(self.plan, tables)
        said = [*self.arithmetic.notes, *self.dataset.warnings, *self.resolved.without, *unread]
        notes = [*said, *dead, *(guards if results else [])]
        doubts = doubts_of(results, self.benchmark, batches)
        situation = situation_of(self.plan, tables, study, doubts)
        return RunSummary(
            self.plan,
            tables,
            traces,
            failures,
            trained,
            0.0,
            interrupted,
            notes,
            answer=answer_of(situation),
            baseline=situation.baseline,
            maps=map_tables(maps),
            expectations=expected_of(self.benchmark.expect, tables, situation.baseline),
            scores=score_table(results),
            published=published,
        )

    def _stored(self, fits: Sequence[FitJob]) -> list[tuple[FitJob, FitResult]]:
        """What is stored of models; one that was stored for other masks, and was not reached this time, is a gap."""
        found = [(f, r) for f in fits if (r := self.store.load(f.key)) is not None]
        return [(f, r) for f, r in found if r.logits.keys() >= set(f.labels)]

    def _maps(self, fit: FitJob) -> dict[str, EmbeddingMap] | None:
        return maps_from_json(self.store.maps(fit.key))
