"""``fusionbench compare``: what changed between two runs of a benchmark, and which differences hold.

Where both runs tested on the same rows under the same masks, their stored predictions are resampled together and
differences are paired. Elsewhere only the intervals of each run are there, which say much less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fusionbench.analysis.cells import SIGNIFICANCE
from fusionbench.analysis.comparisons import point_weights
from fusionbench.analysis.words import arm_name, interval, listed, metric_name, number, p_value, signed
from fusionbench.config.sections import Benchmark
from fusionbench.contract.blocks import Table
from fusionbench.errors import DataError, FusionBenchError, did_you_mean
from fusionbench.keys import flattened
from fusionbench.plan.lines import Line, line_of
from fusionbench.report.plain import plain_lines
from fusionbench.report.record import NAME, read_record
from fusionbench.store.workspace import Workspace

if TYPE_CHECKING:
    from fusionbench.contract.data import Dataset
    from fusionbench.data.splits import Fold
    from fusionbench.metrics.intervals import Difference
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.store.results import Store


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
        return {line_of(line): line for line in lines}

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


def compare_runs(first: StoredRun, second: StoredRun, plugins: Plugins) -> Iterator[str]:
    """Yield lines that compare two runs.

    Args:
        first: What is compared with.
        second: What is new; differences are second minus first.
        plugins: Where the task is looked up, to read labels and patients again.
    """
    yield f"A: {first.folder}"
    yield f"B: {second.folder}"
    changes = list(_changes(first, second))
    yield "what changed:" if changes else "nothing changed in configuration, data, plugins and packages"
    yield from (f"  {change}" for change in changes)
    if first.record["metric"] != second.record["metric"]:
        yield f"no differences: A is ranked by {first.record['metric']}, B by {second.record['metric']}"
    else:
        yield ""
        yield from _differences(first, second, plugins)
    for name, run, other in (("A", first, second), ("B", second, first)):
        only = [arm_name(*line) for line in run.board if line not in other.board]
        if only:
            yield f"only in {name}: {', '.join(only)}"


# --------------------------------------------------------------------------------------------
# what changed


def _changes(first: StoredRun, second: StoredRun) -> Iterator[str]:
    a, b = flattened(_settings(first.benchmark)), flattened(_settings(second.benchmark))
    for key in dict.fromkeys((*a, *b)):
        if a.get(key) != b.get(key):
            yield f"{key}: {a.get(key, 'not there')} -> {b.get(key, 'not there')}"
    if first.record["data"] != second.record["data"]:
        yield f"data: {first.record['data'][:16]} -> {second.record['data'][:16]}"
    yield from _changed_parts(first.record["parts"], second.record["parts"])
    if (before := _computed(first)) != (after := _computed(second)):
        yield f"computed in: {before} -> {after}"
    for name in dict.fromkeys((*first.record["environment"], *second.record["environment"])):
        before, after = (run.record["environment"].get(name, "not there") for run in (first, second))
        if before != after:
            yield f"package {name}: {before} -> {after}"


def _computed(run: StoredRun) -> str:
    """What its models were computed in, whatever was asked for; records from before it was kept do not say."""
    computed = run.record.get("arithmetic", {}).get("computed", {})
    if not isinstance(computed, dict):
        return "not recorded"
    return ", ".join(f"{name} {value}" for name, value in sorted(computed.items())) or "not recorded"


def _settings(benchmark: Benchmark) -> dict[str, Any]:
    """The configuration, strategies by the name of their line."""
    settings = benchmark.model_dump(mode="json")
    strategies = {s.title: s.model_dump(mode="json", exclude={"label"}) for s in benchmark.strategies}
    return {**settings, "strategies": strategies}


def _changed_parts(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    words = {"version": "version", "source": "source", "fingerprint": "weights", "distribution": "distribution"}
    for role in (r for r in first if r in second):
        for key, word in words.items():
            before, after = first[role].get(key), second[role].get(key)
            if before != after:
                yield f"{role}: {word} {str(before or 'none')[:16]} -> {str(after or 'none')[:16]}"


# --------------------------------------------------------------------------------------------
# differences


class _Found(NamedTuple):
    """The difference of one line, or why there is none."""

    line: Line
    difference: Difference | None
    reason: str


def _differences(first: StoredRun, second: StoredRun, plugins: Plugins) -> Iterator[str]:
    shared = [line for line in first.board if line in second.board]
    if not shared:
        yield "no line is in both"
        return
    found = list(_paired(first, second, shared, plugins))
    paired = [f for f in found if f.difference is not None]
    yield from plain_lines(_table(first, second, found))
    for reason in dict.fromkeys(f.reason for f in found if f.reason):
        names = [arm_name(*f.line) for f in found if f.reason == reason]
        whose = "all lines" if len(names) == len(found) else ", ".join(names)
        yield f"not paired, so only each run's own intervals are there ({whose}): {reason}"
    if paired:
        yield "holds: p below .05 after Holm's correction, from a paired bootstrap over patients; same: equal predictions"
    yield from _claims(first, second, shared)


def _table(first: StoredRun, second: StoredRun, found: Sequence[_Found]) -> Table:
    from fusionbench.metrics.statistics import holm

    known = [f.difference.p_value for f in found if f.difference is not None]
    corrected = iter(holm(known)) if known else iter(())
    rows = []
    for line, difference, _ in found:
        own = [interval(run.board[line], "area") for run in (first, second)]
        if difference is None:
            rows.append([arm_name(*line), *own, "-", "-", "-"])
            continue
        p = float(next(corrected))
        said = f"{signed(difference.value)} [{signed(difference.low)}, {signed(difference.high)}]"
        rows.append([arm_name(*line), *own, said, p_value(p), _holds(difference, p)])
    caption = f"mean height of the curves, {metric_name(first.record['metric'])}; difference: B minus A"
    return Table(caption, ["strategy / imputer", "A", "B", "difference", "p, Holm", "holds"], rows)


def _holds(difference: Difference, p: float) -> str:
    if difference.low == difference.high == 0:
        return "same"
    return "yes" if p < SIGNIFICANCE else "no"


def _claims(first: StoredRun, second: StoredRun, shared: Sequence[Line]) -> Iterator[str]:
    """Say which lines each run told apart from its leader."""
    for name, run in (("A", first), ("B", second)):
        leader = next(iter(run.board))
        yield f"leader of {name}: {arm_name(*leader)} {number(run.board[leader]['area'])}"
    apart = [{line for line in shared if run.board[line]["tie_group"] > 1} for run in (first, second)]
    for words, lines in (
        ("in both runs", apart[0] & apart[1]),
        ("in A only", apart[0] - apart[1]),
        ("in B only", apart[1] - apart[0]),
    ):
        if lines:
            names = listed([arm_name(*line) for line in shared if line in lines])
            yield f"told apart from the leader {words}: {names}"


def _paired(first: StoredRun, second: StoredRun, shared: Sequence[Line], plugins: Plugins) -> Iterator[_Found]:
    reason = _why_not(first, second)
    if reason:
        yield from (_Found(line, None, reason) for line in shared)
        return
    try:
        pairing = _Pairing(first, second, plugins)
    except FusionBenchError as problem:
        yield from (_Found(line, None, f"the data cannot be read again: {problem}") for line in shared)
        return
    for line in shared:
        yield pairing.of(line)


def _why_not(first: StoredRun, second: StoredRun) -> str:
    """Return why no line of two runs can be paired; empty: some may be."""
    for name, run in (("A", first), ("B", second)):
        if run.workspace is None:
            return f"the predictions of {name} are not beside its report"
    if first.record["data"] != second.record["data"]:
        return "the data differ"
    splits = [run.benchmark.splits.model_dump(exclude={"use", "seeds"}) for run in (first, second)]
    return "" if splits[0] == splits[1] else "the splits differ"


class _Pairing:
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
        splits = first.benchmark.splits.model_copy(update={"use": None})
        self._folds: dict[int, Fold] = {f.index: f for f in make_folds(self._dataset, splits)}

    def of(self, line: Line) -> _Found:
        """Compare a line."""
        from fusionbench.metrics.intervals import Difference
        from fusionbench.metrics.resampling import bootstrap_blocks
        from fusionbench.seeding import numpy_generator

        settings = self._runs[0].benchmark
        weights = point_weights(settings.missingness.patterns, settings.missingness.rates)
        if _points(self._runs[0], line) != _points(self._runs[1], line):
            return _Found(line, None, "folds, seeds, conditions or masks differ")
        blocks = self._blocks(line, list(weights))
        if isinstance(blocks, str):
            return _Found(line, None, blocks)
        if not blocks:
            return _Found(line, None, "the record names no model of this line")
        half = len(weights)
        if all(np.array_equal(b.scores[:half], b.scores[half:]) for b in blocks):
            # resampling would show rounding as a difference
            return _Found(line, Difference(0.0, 0.0, 0.0, 1.0, 1.0), "")
        metric = self._runs[0].record["metric"]
        generator = numpy_generator("bootstrap", metric=metric)
        found = bootstrap_blocks(blocks, metric, settings.evaluation.resamples, generator, kind=self._dataset.kind)
        own = np.array(list(weights.values()))
        nothing = np.zeros_like(own)
        areas = found.contrast(np.stack([np.concatenate([own, nothing]), np.concatenate([nothing, own])]))
        return _Found(line, areas.difference(1, 0, settings.evaluation.confidence), "")

    def _blocks(self, line: Line, points: Sequence[tuple[str, float]]) -> list[Any] | str:
        """Predictions of both runs at every point, fold by fold and seed by seed; or what is not there."""
        from fusionbench.metrics.intervals import ScoredFold

        blocks = []
        for place in sorted(_points(self._runs[0], line)):
            scores: list[Any] = []
            for run, store in zip(self._runs, self._stores, strict=True):
                if place[0] not in self._folds:
                    return "the record names folds that the data do not have"
                try:
                    found, study = self._predictions(run, store, line, place)
                except DataError as problem:
                    return str(problem)
                if not all(p in found for p in points):
                    return "not every model is stored"
                scores += [found[p] for p in points]
            rows = self._folds[place[0]].test.open(study)
            if any(len(s) != len(rows) for s in scores):
                return "the stored predictions are of other rows"
            data = self._dataset
            blocks.append(ScoredFold(np.stack(scores), data.target[rows], data.groups[rows], place[0]))
        return blocks

    def _predictions(
        self, run: StoredRun, store: Store, line: Line, place: tuple[int, int]
    ) -> tuple[dict[tuple[str, float], Any], str]:
        """Calibrated probabilities of a line by point, and the digest of a study that opens the test rows."""
        from fusionbench.analysis.calibration import probabilities_of

        found: dict[tuple[str, float], Any] = {}
        study, fold = "", self._folds[place[0]]
        for fit in run.fits.get(line, []):
            result = store.load(fit["key"]) if (fit["fold"], fit["seed"]) == place else None
            if result is not None:
                study = result.study
                labels = {(pattern, rate): label for pattern, rate, label in fit["points"]}
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
