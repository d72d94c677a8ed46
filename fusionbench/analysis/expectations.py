"""What became of what a benchmark file expects: judged by the rule that decides the leaderboard, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from fusionbench.analysis.cells import SIGNIFICANCE
from fusionbench.analysis.ranking.comparisons import difference_between
from fusionbench.analysis.ranking.differences import BETTER, WORSE
from fusionbench.analysis.words import arm_name, counted, listed, p_value, signed
from fusionbench.plan.lines import Line, lines_by_row, lines_of
from fusionbench.records import Expected

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.config.expectations import Expectation, PointSection
    from fusionbench.records import Tables

_SAID: Final = 3  # pairs that are said one by one where none is told apart

Verdict = Literal["held", "failed", "not shown"]


class _Shown(NamedTuple):
    """What one comparison shows, and its numbers."""

    verdict: Verdict
    numbers: str
    judged: bool = True


class _Found(NamedTuple):
    """What expectations are judged by."""

    tables: Tables
    baseline: Line | None


def expected_of(expectations: Sequence[Expectation], tables: Tables, baseline: Line | None) -> tuple[Expected, ...]:
    """Return what became of each expectation.

    Args:
        expectations: Of the benchmark.
        tables: Of the run.
        baseline: What lines are compared with at single points; None: they are not.
    """
    forms = {"better": _better, "best": _best, "not_best": _not_best, "tied": _tied}
    return tuple(Expected(e.says, *forms[e.form](e, _Found(tables, baseline))) for e in expectations)


def _named(names: Sequence[str], found: _Found) -> list[Line]:
    """The lines that names stand for: a strategy with each of its imputers, or with one of them."""
    lines = lines_of(found.tables.leaderboard)
    return [line for name in names for line in lines if name in (line.strategy, f"{line.strategy} / {line.imputer}")]


def _called(line: Line, found: _Found) -> str:
    """A line by its strategy, and with its imputer where the strategy has several lines."""
    alone = [other.strategy for other in lines_of(found.tables.leaderboard)].count(line.strategy) == 1
    return line.strategy if alone else arm_name(*line)


# --------------------------------------------------------------------------------------------
# pairs


def _better(expectation: Expectation, found: _Found) -> tuple[Verdict, tuple[str, ...]]:
    others = _named(expectation.than, found)
    by_line: list[Verdict] = []
    said: list[str] = []
    for line in _named(expectation.better, found):
        shown = [_pair(line, other, expectation.at, found) for other in others if other != line]
        by_line.append(_together([s.verdict for s in shown], any_is_enough=False))
        said += [s.numbers for s in shown]
    return _together(by_line, any_is_enough=expectation.need == "any"), tuple(said)


def _together(verdicts: Sequence[Verdict], *, any_is_enough: bool) -> Verdict:
    """Held where all hold, failed where one fails; the other way round where any is enough."""
    first: Verdict = "held" if any_is_enough else "failed"
    last: Verdict = "failed" if any_is_enough else "held"
    if first in verdicts:
        return first
    return last if verdicts and all(v == last for v in verdicts) else "not shown"


def _pair(line: Line, other: Line, at: PointSection | None, found: _Found) -> _Shown:
    return _on_average(line, other, found) if at is None else _at_a_point(line, other, at, found)


def _on_average(line: Line, other: Line, found: _Found) -> _Shown:
    names = f"{_called(line, found)} minus {_called(other, found)}"
    pair = difference_between(found.tables.comparisons, line, other)
    if pair is None:
        return _Shown("not shown", f"{names}: not compared, not every model is there", judged=False)
    numbers = f"{names}: {signed(pair.value)} [{signed(pair.low)}, {signed(pair.high)}]"
    if pair.p_adjusted != pair.p_adjusted:  # NaN: one run says nothing of other trainings
        return _Shown("not shown", f"{numbers}; one run only, which cannot tell", judged=False)
    shown = pair.p_adjusted < SIGNIFICANCE
    verdict: Verdict = "not shown" if not shown else "held" if pair.better > 0 else "failed"
    return _Shown(verdict, f"{numbers}, p {p_value(pair.p_adjusted)}")


def _at_a_point(line: Line, other: Line, at: PointSection, found: _Found) -> _Shown:
    names = f"{_called(line, found)} minus {_called(other, found)} at {at.pattern} {at.rate:g}"
    if found.baseline not in (line, other):
        return _Shown("not shown", f"{names}: at one point, lines are compared with the baseline only", judged=False)
    turned = 1 if other == found.baseline else -1
    mine = line if turned > 0 else other
    here = _rows_at(at, found)
    rows = here[mine.rows_of(here)]
    if len(rows) == 0:
        return _Shown("not shown", f"{names}: not compared", judged=False)
    row = rows.iloc[0]
    low, high = sorted((turned * row["difference_low"], turned * row["difference_high"]))
    numbers = f"{names}: {signed(turned * row['difference'])} [{signed(low)}, {signed(high)}]"
    held = {BETTER: 1, WORSE: -1}.get(row["shown"], 0) * turned
    verdict: Verdict = "held" if held > 0 else "failed" if held < 0 else "not shown"
    return _Shown(verdict, f"{numbers}, p {p_value(row['p_adjusted'])}")


def _tied(expectation: Expectation, found: _Found) -> tuple[Verdict, tuple[str, ...]]:
    lines = _named(expectation.tied, found)
    pairs = [(a, b) for i, a in enumerate(lines) for b in lines[i + 1 :]]
    shown = [_pair(a, b, expectation.at, found) for a, b in pairs]
    apart = [s.numbers for s in shown if s.verdict != "not shown"]
    if apart:
        return "failed", tuple(apart)
    compared = sum(s.judged for s in shown)
    if len(pairs) <= _SAID and compared:
        return ("held" if compared == len(pairs) else "not shown"), tuple(s.numbers for s in shown)
    whole = bool(pairs) and compared == len(pairs)
    said = f"{counted(len(pairs), 'pair')}, none told apart" if whole else f"{compared} of {len(pairs)} pairs compared"
    return ("held" if whole else "not shown"), (said,)


# --------------------------------------------------------------------------------------------
# who could be the best


def _best(expectation: Expectation, found: _Found) -> tuple[Verdict, tuple[str, ...]]:
    could, said = _possible_bests(expectation.at, found)
    if not could:
        return "not shown", said
    named = set(_named(expectation.best, found))
    if not could & named:
        return "failed", said
    return ("held" if could <= named else "not shown"), said


def _not_best(expectation: Expectation, found: _Found) -> tuple[Verdict, tuple[str, ...]]:
    could, said = _possible_bests(expectation.at, found)
    if not could:
        return "not shown", said
    named = _named(expectation.not_best, found)
    out = [line for line in named if line not in could]
    if out and (expectation.need == "any" or len(out) == len(named)):
        return "held", said
    return ("failed" if could <= set(named) else "not shown"), said


def _possible_bests(at: PointSection | None, found: _Found) -> tuple[set[Line], tuple[str, ...]]:
    lines = list(_could_be_best(at, found))
    if not lines:
        return set(), ("nothing is known of who could be the best: one run only, or nothing was compared",)
    where = "" if at is None else f" at {at.pattern} {at.rate:g}"
    return set(lines), (f"could be the best{where}: {listed([_called(line, found) for line in lines])}",)


def _could_be_best(at: PointSection | None, found: _Found) -> Iterator[Line]:
    if at is None:
        board = found.tables.leaderboard
        yield from (line for line, group in zip(lines_by_row(board), board["group"], strict=True) if group == 1)
    else:
        here = _rows_at(at, found)
        yield from (line for line, best in zip(lines_by_row(here), here["possible_best"], strict=True) if best)


def _rows_at(at: PointSection, found: _Found) -> pd.DataFrame:
    table = found.tables.differences
    return table[(table["pattern"] == at.pattern) & (table["rate"] == at.rate)]
