"""The columns of the leaderboard, each once: for the screen, the page, the files, MLflow and ``record.json``.

A new column is computed in :mod:`fusionbench.analysis.ranking.leaderboard` and has an entry in :data:`BOARD` or
:data:`LEDGER`. It is then in every output that its entry does not exclude.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.words import NOTHING, arm_name, interval, listed, metric_name, number, percent, seconds, whole
from fusionbench.config.sections import REFERENCES
from fusionbench.metrics.registry import METRICS
from fusionbench.plan.lines import line_of, lines_by_row

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunPlan

Cell = Callable[[Any, str], str]
"""From a row of the leaderboard and the name of a column to what a reader sees."""

RECALIBRATED = (
    "Probabilities are recalibrated on validation rows before they are scored; "
    "cells.csv has every metric of the raw ones too."
)
"""What stands below tables of scores."""
PARTS = ("run", "tuning", "training", "model")
"""What the columns of the ledger are about, in the order in which the page shows them."""


def _number(row: Any, name: str) -> str:
    return number(row.get(name))


def _whole(row: Any, name: str) -> str:
    return whole(row[name])


def _seconds(row: Any, name: str) -> str:
    return seconds(row[name])


def _one_digit(row: Any, name: str) -> str:
    return f"{row[name]:.1f}"


def _signed(row: Any, name: str) -> str:
    value = row.get(name)
    return NOTHING if value is None or value != value else f"{value:+.3f}"  # noqa: PLR0124 - NaN


def _group(row: Any, name: str) -> str:
    marks = ("*" if row["unstable"] else "") + ("!" if row["below_prevalence"] else "")
    return (str(row[name]) if row[name] else NOTHING) + marks


def _line(row: Any, _name: str) -> str:
    return arm_name(*line_of(row))


def _strategy(row: Any, _name: str) -> str:
    line = line_of(row)
    variant = f" (trained at {line.variant})" if line.variant else ""
    return str(row.get("called") or line.strategy + variant)


def _text(row: Any, name: str) -> str:
    return str(row[name])


def _area(row: Any, name: str) -> str:
    if row[name] != row[name]:  # NaN: it is not compared
        return f"incomplete: {row['models']} of {row['models_planned']} models"
    return interval(row, name)


def _models(row: Any, name: str) -> str:
    return f"{row[name]} of {row['models_planned']}"


def _megabytes(row: Any, name: str) -> str:
    return whole(row[name]) if row[name] else NOTHING


@dataclass(frozen=True)
class Column:
    """All that any output has to know of a column.

    Args:
        name: In the table and its files. Like titles and explanation it may hold what depends on the run: ``{metric}``,
            ``{title}`` (of the metric), ``{level}`` (of intervals), ``{first}`` and ``{last}`` (rates), ``{first_share}`` and
            ``{last_share}`` (rates as percentages).
        title: On the page.
        explanation: What stands below the table, after its title; empty: it speaks for itself.
        cell: How the page shows it.
        short: Its title on the screen; empty: ``title``.
        on_screen: How the screen shows it; None: like the page.
        subject: What its explanation calls it; empty: ``title``.
        part: One of :data:`PARTS`, in the ledger.
        head: Whether it says which line a row is about, and stands at the left.
        words: Whether it holds words rather than a number.
        optional: Whether it is left out where a run has no such column.
        differs: Whether it differs between equal runs: such a column is in no table that is compared.
        page: Whether the page shows it.
        screen: Whether the screen shows it.
        logged: Whether MLflow gets it.
        recorded: Whether ``record.json`` holds it.
    """

    name: str
    title: str
    explanation: str = ""
    cell: Cell = _number
    short: str = ""
    on_screen: Cell | None = None
    subject: str = ""
    part: str = "model"
    head: bool = False
    words: bool = False
    optional: bool = False
    differs: bool = False
    page: bool = True
    screen: bool = True
    logged: bool = True
    recorded: bool = True

    @property
    def always(self) -> bool:
        """Whether every leaderboard has it, whatever was run."""
        return not self.optional and "{" not in self.name

    def shown(self, row: Any) -> str:
        """Return what the page shows of a row."""
        return self.cell(row, self.name)

    def shown_on_screen(self, row: Any) -> str:
        """Return what the screen shows of a row."""
        return (self.on_screen or self.cell)(row, self.name)

    def of(self, plan: RunPlan) -> Column:
        """Return the column as it is in a run."""
        filling = _filling(plan)

        def filled(template: str) -> str:
            return template.format(**filling)

        return replace(
            self,
            name=filled(self.name),
            title=filled(self.title),
            explanation=filled(self.explanation),
            short=filled(self.short or self.title),
            subject=filled(self.subject or self.title),
        )


_hidden = partial(Column, page=False, screen=False, logged=False, recorded=False)
_score = partial(Column, logged=False, recorded=False)

BOARD = (
    _hidden("rank", "rank"),
    Column(
        "area",
        "area [{level}]",
        "mean {title} over all patterns and nominal missing rates, with its interval if everything were trained again",
        cell=_area,
        subject="area",
    ),
    Column("area_low", "area, low end", page=False, screen=False),
    Column("area_high", "area, high end", page=False, screen=False),
    Column("area_low_these_models", "area of these models, low end", page=False, screen=False, logged=False),
    Column("area_high_these_models", "area of these models, high end", page=False, screen=False, logged=False),
    Column(
        "group",
        "group",
        "1 are the lines that could be the best if everything were trained again: all truly best lines are among them with a "
        "probability of .95; 2 could be the best of the rest, and so on",
        cell=_group,
        head=True,
        logged=False,
    ),
    _hidden("p_best", "p of being best", recorded=True, logged=True),
    _hidden("unstable", "unstable over seeds", recorded=True),
    _hidden("left", "why it is not compared", words=True),
    _hidden("below_prevalence", "below prevalence", recorded=True),
    _hidden("beats_control", "beats the control", words=True, recorded=True),
    Column(
        "strategy",
        "strategy / imputer",
        cell=_line,
        short="strategy",
        on_screen=_strategy,
        head=True,
        words=True,
        logged=False,
    ),
    Column("imputer", "imputer", cell=_text, head=True, words=True, page=False, logged=False),
    _hidden("trained_at", "trained at", head=True, words=True, recorded=True),
    _score("{metric}@{first:g}", "at {first_share}", short="at {first:.0%}"),
    _score("{metric}@{last:g}", "at {last_share}", short="at {last:.0%}"),
    Column(
        "brier_skill@{first:g}",
        "Brier skill",
        "1 - Brier score / Brier score of the training prevalence, at {first_share} missing, mean over folds and seeds; at 0 or "
        "below, a line says no more than the constant",
        short="skill",
    ),
    Column("brier_skill.raw@{first:g}", "Brier skill, raw", page=False, screen=False),
    Column("{metric}.raw@{first:g}", "{title}, raw", page=False, screen=False),
    Column(
        "regret",
        "regret",
        "distance to the best possible prediction, which only a synthetic cohort can know",
        optional=True,
        recorded=False,
    ),
    Column(
        "untuned",
        "untuned",
        "area of the same line with default options, trained under the same folds and seeds",
        optional=True,
        screen=False,
    ),
    Column("gain", "gain", "how much better the line is tuned than untuned", cell=_signed, optional=True, screen=False),
    Column(
        "validation_minus_test",
        "validation - test",
        "validation score of the selected epoch less the score of test rows under the same condition; above 0, validation "
        "promised too much",
        cell=_signed,
        optional=True,
        screen=False,
    ),
)
"""The leaderboard: how good each line is. Explanations stand below it in this order; see also :func:`_beside_metric`."""

_cost = partial(Column, cell=_whole, recorded=False)
_SUMS = "sums over trials, and over final models; seconds of models that were trained together are shared out"
_ALLOWED = "limits of all stages together, also of those that pre-train or estimate; sums over final models"

LEDGER = (
    Column("models", "models", cell=_models, part="run", screen=False),
    Column("models_planned", "models planned", part="run", page=False, screen=False, logged=False),
    _cost("trials", "trials", "for each study (one for each fold)", part="run"),
    _cost("tuning_epochs", "tuning epochs", part="tuning", screen=False),
    _cost("epochs", "epochs", _SUMS, part="training"),
    _cost("epochs_allowed", "epochs allowed", _ALLOWED, part="training", screen=False),
    _cost("rows", "rows", part="training", page=False, screen=False, logged=False),
    _cost("parameters", "parameters", "of the largest model", short="params"),
    _cost("seconds", "seconds", _SUMS, cell=_seconds, on_screen=_one_digit, part="training", differs=True),
    _cost("tuning_seconds", "tuning s", cell=_seconds, part="tuning", screen=False, differs=True),
    _cost("untuned_epochs", "untuned epochs", part="training", page=False, screen=False, optional=True),
    _cost("untuned_seconds", "untuned s", part="training", page=False, screen=False, differs=True, optional=True),
    _cost("memory_mb", "peak MB", cell=_megabytes, screen=False, differs=True),
)
"""The ledger: what each line cost, in the order of ``ledger.csv`` and of the screen."""


def _beside_metric() -> list[Column]:
    """Columns of other metrics on the lowest rate, which metrics ask for."""
    return [
        _score(f"{m.name}@{{first:g}}", m.title, "at {first_share} missing", short=m.beside)
        for m in METRICS.values()
        if m.beside
    ]


def _filling(plan: RunPlan) -> dict[str, Any]:
    metric, rates = plan.dataset.metric, plan.benchmark.missingness.rates
    return {
        "metric": metric,
        "title": metric_name(metric),
        "level": f"{plan.benchmark.evaluation.confidence * 100:g} %",
        "first": rates[0],
        "last": rates[-1],
        "first_share": percent(rates[0]),
        "last_share": percent(rates[-1]),
    }


def _board() -> list[Column]:
    return [*BOARD, *_beside_metric()]


def _declared() -> list[Column]:
    return [*_board(), *LEDGER]


def always_there() -> set[str]:
    """Return the names of the columns that every leaderboard has."""
    return {c.name for c in _declared() if c.always}


def _of(columns: Iterable[Column], plan: RunPlan) -> list[Column]:
    """Return columns as they are in a run, each once."""
    found: dict[str, Column] = {}
    for column in columns:
        here = column.of(plan)
        found.setdefault(here.name, here)
    return list(found.values())


def _heads_first(columns: Iterable[Column]) -> list[Column]:
    return sorted(columns, key=lambda c: not c.head)


# --------------------------------------------------------------------------------------------
# what each output shows


def board_on_page(plan: RunPlan, board: pd.DataFrame) -> list[Column]:
    """Return the columns of the page's leaderboard."""
    return _heads_first(c for c in _of(_board(), plan) if c.page and c.name in board)


def board_notes(plan: RunPlan, board: pd.DataFrame) -> str:
    """Return what stands below the page's leaderboard."""
    return f"{_notes([c for c in _of(_board(), plan) if c.page and c.name in board])} {RECALIBRATED}"


def ledger_on_page(plan: RunPlan) -> list[Column]:
    """Return the columns of the page's ledger: the line, then what it cost."""
    shown = [c for c in _of(LEDGER, plan) if c.page]
    line = next(c for c in BOARD if c.name == "strategy")
    return [line, *sorted(shown, key=lambda c: PARTS.index(c.part))]


def ledger_notes(plan: RunPlan) -> str:
    """Return what stands below the page's ledger."""
    return _notes(ledger_on_page(plan))


def _notes(columns: Sequence[Column]) -> str:
    """One sentence for each explanation; neighbours that share one share the sentence."""
    sentences = []
    for explanation, sharing in groupby((c for c in columns if c.explanation), key=lambda c: c.explanation):
        subjects = listed([c.subject for c in sharing])
        sentences.append(f"{subjects[0].upper()}{subjects[1:]}: {explanation}.")
    return " ".join(sentences)


def on_screen(plan: RunPlan, board: pd.DataFrame) -> list[Column]:
    """Return the columns of the screen's leaderboard; from the right they may fall away."""
    columns = [c.of(plan) for c in _declared() if c.screen]
    shown = {c.short: c for c in columns if c.name in board or not c.optional}
    return _heads_first(shown.values())


def with_names(plan: RunPlan, board: pd.DataFrame) -> pd.DataFrame:
    """Return the leaderboard with ``called``: what readers call each strategy; the imputer has a column of its own."""
    names = [plan.called(line).replace(f" / {line.imputer}", "") for line in lines_by_row(board)]
    return board.assign(called=names)


def compared(board: pd.DataFrame) -> pd.DataFrame:
    """Return the leaderboard without the columns that differ between equal runs."""
    return board.drop(columns=[c.name for c in _declared() if c.differs and c.name in board])


def ledger_of(board: pd.DataFrame) -> pd.DataFrame:
    """Return what each line cost, as ``ledger.csv`` has it."""
    trained = board[~board["strategy"].isin(REFERENCES)]
    return trained[["strategy", "imputer", *(c.name for c in LEDGER if c.name in board)]]


def recorded(plan: RunPlan, board: pd.DataFrame) -> pd.DataFrame:
    """Return what ``record.json`` holds of the leaderboard, the line first."""
    line = ["strategy", "imputer", "trained_at"]
    columns = [c.name for c in _heads_first(_of(_declared(), plan)) if c.recorded and c.name in board]
    return board[[*line, *(n for n in columns if n not in line)]]


def logged(plan: RunPlan, row: pd.Series) -> dict[str, float]:
    """Return what MLflow gets of a row of the leaderboard, with sections: ``summary`` and, of the ledger, ``totals``."""
    return {
        f"{section}/{c.name.replace('@', ' at ')}": float(row[c.name])  # MLflow takes no @ in names
        for section, columns in (("summary", _board()), ("totals", LEDGER))
        for c in _of(columns, plan)
        if c.logged and c.name in row and row[c.name] == row[c.name]
    }


def timings() -> set[str]:
    """Return the names, as MLflow has them, of what differs between equal runs."""
    sections = {"summary": _board(), "totals": LEDGER}
    return {f"{section}/{c.name}" for section, columns in sections.items() for c in columns if c.differs}
