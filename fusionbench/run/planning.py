"""From a prepared benchmark to its plan: every study and model with its key, and what of them is stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fusionbench.analysis.embedding_maps import mapped_fits, maps_from_json
from fusionbench.plan.jobs import FitJob, StudyJob, common_key, conditions, make_jobs, untuned_jobs
from fusionbench.records import RunPlan

if TYPE_CHECKING:
    from pathlib import Path

    from fusionbench.config.sections import Benchmark
    from fusionbench.data.prepared import Prepared
    from fusionbench.plan.parts import Resolved
    from fusionbench.run.rows import ModelRows
    from fusionbench.store.results import Store
    from fusionbench.training.blueprint import Blueprint


@dataclass(frozen=True)
class _Jobs:
    """What a benchmark means, whatever is stored of it."""

    studies: Sequence[StudyJob]
    fits: Sequence[FitJob]
    untuned: Sequence[FitJob]


@dataclass(frozen=True)
class Planning:
    """Makes the plans of one run: its jobs once, what is stored of them each time.

    Args:
        benchmark: The configuration.
        resolved: Its plugins.
        prepared: Its data.
        rows: Who is present under which condition.
        blueprint: How models are built.
        store: Where results lie.
        workspace: Folder of everything.
        file: The benchmark file, where there is one.
    """

    benchmark: Benchmark
    resolved: Resolved
    prepared: Prepared
    rows: ModelRows
    blueprint: Blueprint
    store: Store
    workspace: Path
    file: Path | None = None

    @cached_property
    def jobs(self) -> _Jobs:
        """Every study and model, with its key."""
        prepared = self.prepared
        shared = common_key(self.benchmark, prepared.dataset.digest, prepared.modalities, self.blueprint.arithmetic)
        common = {**shared, "metric": prepared.metric}
        studies, fits = make_jobs(
            self.benchmark,
            self.resolved,
            common,
            list(prepared.folds),
            self.rows.mask_digest,
            list(prepared.dataset.modalities),
            lambda fold: len(self.rows.inner(fold)),
            self.rows.used_digest,
        )
        return _Jobs(studies, fits, untuned_jobs(self.benchmark, common, fits, self.rows.mask_digest))

    @cached_property
    def keys(self) -> frozenset[str]:
        """Of every model."""
        return frozenset(f.key for f in (*self.jobs.fits, *self.jobs.untuned))

    def plan(self, share: Collection[str] | None = None) -> RunPlan:
        """Return what is to be done now.

        Args:
            share: Keys of the models that are worked on, where others are left to others: then nothing else is looked at in
                the store, and counts as not stored. None: all.
        """
        jobs, benchmark, traced = self.jobs, self.benchmark, self.benchmark.training.traces
        every = [f for f in (*jobs.fits, *jobs.untuned) if share is None or f.key in share]
        there, weights = self.store.keys(), self.store.keys_with_weights()
        # what is damaged is set aside by the look at it, and is not there then
        scored = {f.key: self.store.scored(f.key) for f in every if f.key in there}
        # a model that was trained without recording what is to be drawn now is trained again
        usable = [f for f in every if scored.get(f.key) and (not traced or self.store.traces(f.key) is not None)]
        mapped = mapped_fits(jobs.fits) if traced else frozenset()
        unmapped = {f.key for f in every if f.key in mapped and maps_from_json(self.store.maps(f.key)) is None}
        stored = frozenset(f.key for f in usable if f.key not in unmapped and scored[f.key].issuperset(f.labels))
        if benchmark.tuning.trials:
            for study in {f.study: None for f in every if not f.untuned}:
                self.store.sealed_study(study)  # a damaged one is sealed again, whatever is to be trained
        return RunPlan(
            benchmark=benchmark,
            dataset=self.prepared.dataset,
            arms=self.resolved.arms,
            conditions=conditions(benchmark),
            folds=list(self.prepared.folds),
            studies=jobs.studies,
            fits=jobs.fits,
            stored=stored,
            workspace=self.workspace,
            random_weights=tuple(n for n, m in self.prepared.modalities.items() if m.weights == "random"),
            data_digest=self.prepared.dataset.digest,
            kept=frozenset(f.key for f in usable if f.key not in stored and f.key in weights),
            share=None if share is None else frozenset(share),
            identities={
                "task": self.resolved.task.identity,
                **{f"encoder of {n}": m.identity for n, m in self.prepared.modalities.items()},
                "missingness": self.resolved.mechanism.identity,
            },
            file=self.file,
            mapped=mapped,
            untuned=jobs.untuned,
            arithmetic=self.blueprint.arithmetic,
            protocol=self.blueprint.protocol(self.resolved.arms),
            opened=self.store,
            papers=self.resolved.papers,
        )
