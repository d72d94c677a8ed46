"""Runs that were kept, and two of them side by side: predictions of the same rows under the same masks, judged by one rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.analysis.ranking.board import curve_weights
from fusionbench.analysis.ranking.comparisons import Difference
from fusionbench.analysis.ranking.design import not_seen
from fusionbench.config.sections import REFERENCES, Benchmark
from fusionbench.errors import DataError, did_you_mean
from fusionbench.missingness.conditions import Condition
from fusionbench.plan.lines import Line, Model, line_of
from fusionbench.report.record import NAME, read_record
from fusionbench.report.suite import NAME as SUITE
from fusionbench.report.suite import read_suite
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.analysis.ranking.scores import ScoreTable
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.store.results import Store

Place = tuple[int, int]
"""Fold and seed."""


@dataclass(frozen=True)
class StoredRun:
    """One run of a benchmark, as its report folder records it."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def workspace(self) -> Workspace | None:
        """The workspace with its predictions; None where the report folder has been taken out of it."""
        found = Workspace.of_report(self.folder)
        return found if found.holds_results else None

    @cached_property
    def benchmark(self) -> Benchmark:
        """What was run."""
        return Benchmark.model_validate(self.record["configuration"])

    @cached_property
    def board(self) -> dict[Line, Mapping[str, Any]]:
        """The leaderboard, from the best line down."""
        nan = float("nan")
        lines = [{k: nan if v is None else v for k, v in line.items()} for line in self.record["leaderboard"]]
        return {line_of(line): line for line in lines if line["strategy"] not in REFERENCES}

    @cached_property
    def fits(self) -> dict[Line, list[Mapping[str, Any]]]:
        """By line, the models behind it."""
        found: dict[Line, list[Mapping[str, Any]]] = {}
        for fit in self.record["fits"]:
            found.setdefault(Line(*fit["line"]), []).append(fit)
        return found


def find_run(path: Path, benchmark: str | None = None) -> StoredRun:
    """Find a run in a workspace, or take a report folder.

    Args:
        path: A workspace, or ``reports/<benchmark>`` in one.
        benchmark: Which, where the workspace has several.

    Raises:
        DataError: There is no such run, or there are several.
    """
    if (path / NAME).exists():
        return StoredRun(path, read_record(path))
    workspace = Workspace(path)
    known = sorted(p.parent.name for p in workspace.reports.glob(f"*/{NAME}"))
    if not known:
        raise DataError(f"{path}: neither a workspace nor a report folder with {NAME}; 'fusionbench report' makes one")
    if benchmark is None and len(known) > 1:
        raise DataError(f"{path} holds reports of {', '.join(known)}; choose one with --benchmark")
    name = benchmark or known[0]
    if name not in known:
        raise DataError(f"{path}: no report of '{name}'{did_you_mean(name, known)}; it holds {', '.join(known)}")
    return StoredRun(workspace.report(name), read_record(workspace.report(name)))


def find_panels(path: Path, benchmark: str | None = None) -> dict[str, StoredRun]:
    """Find the panels of a benchmark file in a workspace, or take the folder of its page; empty: it is no such thing.

    Raises:
        DataError: It cannot be read.
    """
    workspace = Workspace(path)
    folder = path if (path / SUITE).exists() else None
    if folder is None and not (path / NAME).exists():
        known = [benchmark] if benchmark is not None else [p.parent.name for p in workspace.reports.glob(f"*/{SUITE}")]
        folder = workspace.report(known[0]) if len(known) == 1 else None
    if folder is None or not (folder / SUITE).exists():
        return {}
    reports = {name: folder.parent / run for name, run in read_suite(folder).items()}
    return {name: StoredRun(own, read_record(own)) for name, own in reports.items() if (own / NAME).exists()}


@dataclass(frozen=True)
class _Predictions:
    """What both runs predicted with one line: by place and point, the first run's and the second's."""

    by_place: Mapping[Place, Mapping[Condition, tuple[NDArray[np.float64], NDArray[np.float64]]]]
    studies: Mapping[Place, str]


class Pairing:
    """The data of two runs, and their predictions side by side.

    Args:
        first: One run.
        second: Another, of the same data and splits.
        plugins: Where the task is looked up.

    Raises:
        FusionBenchError: The data cannot be prepared, or are other ones by now.
    """

    def __init__(self, first: StoredRun, second: StoredRun, plugins: Plugins) -> None:
        from fusionbench.data.preparation import prepare_task
        from fusionbench.data.splits import make_folds
        from fusionbench.plan.parts import Part
        from fusionbench.progress import SilentProgress
        from fusionbench.store.results import Store

        assert first.workspace is not None
        assert second.workspace is not None
        self._runs = (first, second)
        self._stores: tuple[Store, Store] = (
            Store(first.workspace.results.root),
            Store(second.workspace.results.root),
        )
        task = first.benchmark.task
        part = Part(plugins.get("tasks", task.name), task.options, "task")
        self._dataset: Dataset = prepare_task(part, first.workspace.root, SilentProgress())
        if self._dataset.digest != first.record["data"]:
            raise DataError("they are not those of the run any more")
        self._found: dict[Line, _Predictions | str] = {}
        splits = first.benchmark.splits.model_copy(update={"use": None})
        self._folds: dict[int, Fold] = {f.index: f for f in make_folds(self._dataset, splits)}

    def why_not(self, line: Line) -> str:
        """Return why a line cannot be paired; empty: it can."""
        found = self._of(line)
        return found if isinstance(found, str) else ""

    def differences(self, lines: Sequence[Line]) -> tuple[dict[Line, Difference], list[str]]:
        """Judge both runs' lines together.

        Args:
            lines: Those that can be paired.

        Returns:
            Second minus first of each line, adjusted for these differences together; and what is to be said of all of them.
        """
        from fusionbench.statistics.pairs import pairs_of
        from fusionbench.statistics.simulation import max_t_p, simulated_t

        if not lines:
            return {}, []
        places = set.intersection(*({*self._pair(line).by_place} for line in lines))
        folds = sorted({k for k, _ in places})
        seeds = [s for s in sorted({s for _, s in places}) if all((k, s) in places for k in folds)]
        if not folds or not seeds:
            return {}, ["no fold and seed is there for every line, so nothing is paired"]
        settings, metric = self._runs[0].benchmark, self._runs[0].record["metric"]
        weights = curve_weights(settings.missingness.patterns, settings.missingness.rates)
        table = self._scores(lines, folds, seeds, list(weights), metric)
        areas = [
            {table.position[Model(_named(line, run), p)]: w for p, w in weights.items()}
            for line in lines
            for run in range(2)
        ]
        parts = table.components(areas)
        pairs = pairs_of(parts, settings.evaluation.confidence)
        asked = (pairs.first % 2 == 0) & (pairs.second == pairs.first + 1)  # each line of one run against its own
        single = len(folds) * len(seeds) == 1
        adjusted = np.full(len(lines), np.nan) if single else max_t_p(pairs.t[asked], simulated_t(parts)[asked])
        turned = -table.sign  # second minus first, as the metric has it
        values = turned * pairs.difference[asked]
        ends = np.sort(turned * np.stack([pairs.low[asked], pairs.high[asked]]), axis=0)
        p = np.where(single, np.nan, pairs.p[asked])
        columns = (values, *ends, -pairs.difference[asked], p, adjusted, pairs.p_these_models[asked])
        differences = [Difference(*map(float, row)) for row in zip(*columns, strict=True)]
        said = [text for text in (not_seen(len(folds), len(seeds)),) if text]
        return dict(zip(lines, differences, strict=True)), said

    def _scores(
        self,
        lines: Sequence[Line],
        folds: Sequence[int],
        seeds: Sequence[int],
        points: Sequence[Condition],
        metric: str,
    ) -> ScoreTable:
        from fusionbench.analysis.ranking.scores import PredictedFold, ScoreTable, scored_fold
        from fusionbench.seeding import numpy_generator

        asked = [(line, run, point) for line in lines for run in range(2) for point in points]
        models = [Model(_named(line, run), point) for line, run, point in asked]
        data, scored = self._dataset, []
        for fold in folds:
            rows = self._folds[fold].test.open(self._pair(lines[0]).studies[fold, seeds[0]])

            def predicted(seed: int, model: int, fold: int = fold) -> NDArray[np.float64]:
                line, run, point = asked[model]
                return self._pair(line).by_place[fold, seeds[seed]][point][run]

            given = PredictedFold(predicted, data.target[rows], data.groups[rows])
            generator = numpy_generator("resampled patients", metric=metric, fold=fold)
            resamples = self._runs[0].benchmark.evaluation.resamples
            scored.append(scored_fold(given, len(models), len(seeds), metric, data.kind, resamples, generator))
        return ScoreTable(metric, models, scored)

    def _pair(self, line: Line) -> _Predictions:
        found = self._of(line)
        assert not isinstance(found, str)
        return found

    def _of(self, line: Line) -> _Predictions | str:
        if line not in self._found:
            self._found[line] = self._read(line)
        return self._found[line]

    def _read(self, line: Line) -> _Predictions | str:
        """Predictions of both runs at every point, fold by fold and seed by seed; or what is not there."""
        settings = self._runs[0].benchmark.missingness
        points = list(curve_weights(settings.patterns, settings.rates))
        if _points(self._runs[0], line) != _points(self._runs[1], line):
            return "folds, seeds, conditions or masks differ"
        by_place, studies = {}, {}
        for place in sorted(_points(self._runs[0], line)):
            if place[0] not in self._folds:
                return "the record names folds that the data do not have"
            sides = []
            for run, store in zip(self._runs, self._stores, strict=True):
                try:
                    found, studies[place] = self._predictions(run, store, line, place)
                except DataError as problem:
                    return str(problem)
                if not all(p in found for p in points):
                    return "not every model is stored"
                sides.append(found)
            rows = self._folds[place[0]].test.open(studies[place])
            if any(len(side[p]) != len(rows) for side in sides for p in points):
                return "the stored predictions are of other rows"
            by_place[place] = {p: (sides[0][p], sides[1][p]) for p in points}
        return _Predictions(by_place, studies) if by_place else "the record names no model of this line"

    def _predictions(
        self, run: StoredRun, store: Store, line: Line, place: tuple[int, int]
    ) -> tuple[dict[Condition, Any], str]:
        """Calibrated probabilities of a line by point, and the digest of a study that opens the test rows."""
        from fusionbench.analysis.calibration import probabilities_of

        found: dict[Condition, Any] = {}
        study, fold = "", self._folds[place[0]]
        for fit in run.fits.get(line, []):
            result = store.load(fit["key"]) if (fit["fold"], fit["seed"]) == place else None
            if result is not None:
                study = result.study
                labels = {Condition(pattern, rate): label for pattern, rate, label in fit["points"]}
                found |= {
                    p: probabilities_of(result, label, self._dataset, fold).calibrated
                    for p, label in labels.items()
                    if label in result.logits
                }
        return found, study


def _points(run: StoredRun, line: Line) -> dict[tuple[int, int], list[Any]]:
    """By fold and seed, the points of a line with the digests of their masks."""
    found: dict[tuple[int, int], list[Any]] = {}
    for fit in run.fits.get(line, []):
        found.setdefault((fit["fold"], fit["seed"]), []).extend(fit["points"])
    return {place: sorted(points) for place, points in found.items()}


def _named(line: Line, run: int) -> Line:
    """A line of the first or the second run, told apart."""
    return line._replace(variant=f"{line.variant} {'AB'[run]}")
