"""``fusionbench compare``: what changed between two runs of a benchmark, and which differences hold.

Where both runs tested on the same rows under the same masks, their stored predictions are judged together, by the rule that
decides the leaderboard, and differences are paired. Elsewhere only the intervals of each run are there, which say much less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fusionbench.analysis.cells import SIGNIFICANCE
from fusionbench.analysis.words import arm_name, interval, listed, metric_name, number, p_value, signed
from fusionbench.commands.stored_runs import Pairing, StoredRun, find_panels, find_run
from fusionbench.contract.blocks import Table
from fusionbench.errors import ConfigError, FusionBenchError
from fusionbench.keys import flattened
from fusionbench.plan.lines import Line
from fusionbench.report.plain import plain_lines

if TYPE_CHECKING:
    from fusionbench.analysis.ranking.comparisons import Difference
    from fusionbench.config.sections import Benchmark
    from fusionbench.plugins.catalogue import Plugins

__all__ = ["StoredRun", "compare_runs", "compared_lines", "find_run"]


def compared_lines(
    first: Path, second: Path | None, benchmark: str | None, metric: str, plugins: Sequence[str], blocked: Sequence[str]
) -> Iterator[str]:
    """Yield what ``fusionbench compare`` says of two runs, or of one table of scores.

    Raises:
        ConfigError: There is one run only, or a table and something else.
        DataError: A run or a table cannot be read.
    """
    from fusionbench.commands.score_table import compare_scores, is_score_table
    from fusionbench.metrics.registry import primary
    from fusionbench.plugins.catalogue import Plugins
    from fusionbench.targets import TargetKind

    if is_score_table(first):
        if second is not None:
            raise ConfigError(f"{first} is a table of scores, which is judged alone; put all lines into one table")
        yield from compare_scores(first, primary(metric, TargetKind.BINARY).name)
        return
    if second is None:
        raise ConfigError(
            f"compare needs two runs, found one ({first}); or one table of scores, a .csv or .parquet file with columns line, "
            "fold, seed, row, target and score"
        )
    sides = [find_panels(path, benchmark) for path in (first, second)]
    found = Plugins(plugins, blocked).require_extra()
    if all(sides):
        yield from _compare_panels(sides[0], sides[1], found)
        return
    runs = [find_run(path, benchmark) for path in (first, second)]
    yield from compare_runs(runs[0], runs[1], found)


def _compare_panels(first: Mapping[str, StoredRun], second: Mapping[str, StoredRun], plugins: Plugins) -> Iterator[str]:
    """Compare the panels that both have, one after the other."""
    for i, (name, run) in enumerate(first.items()):
        if name in second:
            yield from ([""] if i else [])
            yield f"panel {name}:"
            yield from compare_runs(run, second[name], plugins)
    for letter, mine, other in (("A", first, second), ("B", second, first)):
        if only := [name for name in mine if name not in other]:
            yield f"panels only in {letter}: {', '.join(only)}"


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
    found, said = _paired(first, second, shared, plugins)
    yield from plain_lines(_table(first, second, found))
    for reason in dict.fromkeys(f.reason for f in found if f.reason):
        names = [arm_name(*f.line) for f in found if f.reason == reason]
        whose = "all lines" if len(names) == len(found) else ", ".join(names)
        yield f"not paired, so only each run's own intervals are there ({whose}): {reason}"
    if any(f.difference is not None for f in found):
        yield (
            "holds: p below .05 for all these lines together (max-t), if everything were trained again; same: equal predictions"
        )
    yield from said
    yield from _claims(first, second, shared)


def _table(first: StoredRun, second: StoredRun, found: Sequence[_Found]) -> Table:
    rows = []
    for line, difference, _ in found:
        own = [interval(run.board[line], "area") for run in (first, second)]
        if difference is None:
            rows.append([arm_name(*line), *own, "-", "-", "-", "-"])
            continue
        said = f"{signed(difference.value)} [{signed(difference.low)}, {signed(difference.high)}]"
        p = [p_value(v) if v == v else "-" for v in (difference.p_adjusted, difference.p_these_models)]  # noqa: PLR0124 - NaN
        rows.append([arm_name(*line), *own, said, *p, _holds(difference)])
    caption = f"mean height of the curves, {metric_name(first.record['metric'])}; difference: B minus A"
    columns = ["strategy / imputer", "A", "B", "difference", "p adjusted", "p, these models", "holds"]
    return Table(caption, columns, rows)


def _holds(difference: Difference) -> str:
    if difference.value == 0 and difference.p_these_models == 1:
        return "same"
    if difference.p_adjusted != difference.p_adjusted:
        return "one run only"
    return "yes" if difference.p_adjusted < SIGNIFICANCE else "no"


def _claims(first: StoredRun, second: StoredRun, shared: Sequence[Line]) -> Iterator[str]:
    """Say which lines could not be the best in each run."""
    for name, run in (("A", first), ("B", second)):
        leader = next(iter(run.board))
        yield f"leader of {name}: {arm_name(*leader)} {number(run.board[leader]['area'])}"
    apart = [{line for line in shared if run.board[line]["group"] > 1} for run in (first, second)]
    for words, lines in (
        ("in both runs", apart[0] & apart[1]),
        ("in A only", apart[0] - apart[1]),
        ("in B only", apart[1] - apart[0]),
    ):
        if lines:
            names = listed([arm_name(*line) for line in shared if line in lines])
            yield f"not in group 1 {words}: {names}"


def _paired(
    first: StoredRun, second: StoredRun, shared: Sequence[Line], plugins: Plugins
) -> tuple[list[_Found], list[str]]:
    """The difference of every shared line, and what is to be said of all of them."""
    reason = _why_not(first, second)
    if reason:
        return [_Found(line, None, reason) for line in shared], []
    try:
        pairing = Pairing(first, second, plugins)
    except FusionBenchError as problem:
        return [_Found(line, None, f"the data cannot be read again: {problem}") for line in shared], []
    reasons = {line: pairing.why_not(line) for line in shared}
    differences, said = pairing.differences([line for line in shared if not reasons[line]])
    return [_Found(line, differences.get(line), reasons[line]) for line in shared], said


def _why_not(first: StoredRun, second: StoredRun) -> str:
    """Return why no line of two runs can be paired; empty: some may be."""
    for name, run in (("A", first), ("B", second)):
        if run.workspace is None:
            return f"the predictions of {name} are not beside its report"
    if first.record["data"] != second.record["data"]:
        return "the data differ"
    splits = [run.benchmark.splits.model_dump(exclude={"use", "seeds"}) for run in (first, second)]
    return "" if splits[0] == splits[1] else "the splits differ"
