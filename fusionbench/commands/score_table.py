"""``fusionbench compare scores.csv``: the statistical rule on results from elsewhere.

A long table has one line for each test row, line of the leaderboard, fold and seed. Nothing of a row is said or kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fusionbench.analysis.ranking.comparisons import comparison_table
from fusionbench.analysis.ranking.design import not_seen
from fusionbench.analysis.ranking.scores import PredictedFold, ScoredFold, ScoreTable, scored_fold
from fusionbench.analysis.words import metric_name, number, p_value, signed
from fusionbench.contract.blocks import Table
from fusionbench.data.files.frames import read_frame
from fusionbench.errors import DataError, did_you_mean
from fusionbench.metrics.registry import METRICS
from fusionbench.missingness.conditions import COMPLETE
from fusionbench.plan.lines import Line, Model
from fusionbench.report.plain import plain_lines
from fusionbench.seeding import numpy_generator
from fusionbench.statistics.selection import Selection, compared_cells
from fusionbench.statistics.verdict import Verdict, verdict_of
from fusionbench.targets import TargetKind

REQUIRED: Final = ("line", "fold", "seed", "row", "target", "score")
OPTIONAL: Final = ("patient", "condition", "weight")
RESAMPLES: Final = 1000
SUFFIXES: Final = (".csv", ".parquet")


def is_score_table(path: Path) -> bool:
    """Whether a path is meant as a table of scores, not as a run."""
    return path.suffix in SUFFIXES


def compare_scores(path: Path, metric: str) -> Iterator[str]:
    """Yield lines: the leaderboard of a long table of scores, its groups, and the first line against each other one.

    Args:
        path: CSV or Parquet with columns ``line``, ``fold``, ``seed``, ``row`` (which test row; the same for every line and
            seed), ``target`` (0 or 1), ``score`` (higher means more likely 1); with ``patient`` where rows share patients; with
            ``condition`` and ``weight`` where a line's value is a weighted sum over conditions.
        metric: What scores are judged by; one that reads probabilities asks for scores from 0 to 1.

    Raises:
        DataError: The table cannot be read or judged; the message names everything that is wrong with it.
    """
    frame = _checked(read_frame(path), path, metric)
    lines = sorted(set(frame["line"]))  # whatever the order of the file
    folds, seeds = sorted(set(frame["fold"])), sorted(set(frame["seed"]))
    conditions = list(dict.fromkeys(frame["condition"]))
    blocks = {key: block for key, block in frame.groupby(["fold", "seed", "line", "condition"], sort=False)}  # noqa: C416
    chosen = _selected(blocks, lines, folds, seeds, conditions, metric)
    if not chosen.lines:
        raise DataError(
            f"{path}: no line has a value in any fold and seed; check columns 'target', 'fold' and 'condition'"
        )
    kept = [lines[m] for m in chosen.lines]
    used = [folds[k] for k in chosen.folds], [seeds[s] for s in chosen.seeds]
    weights = _weights(frame, conditions, path)
    models = [Model(Line(line, c), COMPLETE) for line in kept for c in conditions]
    scored = [_fold(blocks, fold, used[1], kept, conditions, metric, path) for fold in used[0]]
    table = ScoreTable(metric, models, scored)
    sums = [{i * len(conditions) + j: w for j, w in enumerate(weights)} for i in range(len(kept))]
    verdict = verdict_of(*table.scores_of(sums), unit=METRICS[metric].higher_is_better)
    yield f"{path}: {len(kept)} lines, {len(used[0])} folds x {len(used[1])} seeds, {metric_name(metric)}"
    yield from _left_out(chosen, lines, folds, seeds)
    if text := not_seen(len(used[0]), len(used[1])):
        yield text
    yield ""
    yield from plain_lines(_board(kept, verdict, table.sign, metric))
    yield from _said(verdict)
    if len(kept) > 1:
        yield ""
        yield from plain_lines(_pairs(kept, verdict, table.sign))


# --------------------------------------------------------------------------------------------
# reading


def _checked(frame: pd.DataFrame, path: Path, metric: str) -> pd.DataFrame:
    """Return the columns as numbers and words, or say everything that is wrong with them."""
    _refuse(path, _wrong_columns([str(c) for c in frame]))
    found, problems = frame.copy(), list[str]()
    for name in found:
        empty = int(found[name].isna().sum())
        if empty:
            problems.append(f"column '{name}' has {empty} empty cells; a prediction that is not there has no line")
    for name in ("target", "score", "weight"):
        if name in found:
            found[name] = _numbers(found[name], name, problems)
    _refuse(path, problems)
    _refuse(path, _wrong_values(found, metric))
    for name in ("line", "condition"):
        found[name] = found[name].astype(str) if name in found else ""
    for name in ("fold", "seed"):
        found[name] = _whole(found[name])
    if "patient" not in found:
        found["patient"] = found["row"]
    _refuse(path, _unaligned(found))
    return found.sort_values(["fold", "row"], kind="stable")


def _refuse(path: Path, problems: Sequence[str]) -> None:
    if problems:
        raise DataError("\n".join(f"{path}: {p}" for p in problems))


def _wrong_columns(names: Sequence[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL)
    odd = [n for n in names if n not in known]
    missing = [f"column '{c}' is missing{did_you_mean(c, odd)}" for c in REQUIRED if c not in names]
    accepted = ", ".join(known)
    return missing + [f"column '{n}' has no meaning here{did_you_mean(n, known)}; accepted are {accepted}" for n in odd]


def _wrong_values(found: pd.DataFrame, metric: str) -> list[str]:
    problems = []
    if not found["target"].isin([0, 1]).all():
        problems.append("column 'target' holds other values than 0 and 1; one label at a time is compared")
    if not METRICS[metric].ranks and not found["score"].between(0, 1).all():
        reads = f"{metric_name(metric)} reads probabilities"
        problems.append(f"column 'score' leaves 0 to 1, and {reads}; use --metric auroc, or convert the scores")
    return problems


def _numbers(column: pd.Series, name: str, problems: list[str]) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = int((~np.isfinite(numbers) & column.notna()).sum())
    if wrong:
        problems.append(f"column '{name}' has {wrong} cells that are no finite number")
    return numbers


def _whole(column: pd.Series) -> pd.Series:
    """Folds and seeds as numbers where all of them are, so that they sort as numbers."""
    numbers = pd.to_numeric(column, errors="coerce")
    return column.astype(str) if numbers.isna().any() else numbers


def _unaligned(found: pd.DataFrame) -> list[str]:
    """What is wrong with rows: there twice, or with a target, patient or fold that is not the same everywhere."""
    problems = []
    twice = int(found.duplicated(["line", "fold", "seed", "condition", "row"]).sum())
    if twice:
        problems.append(f"{twice} predictions are there twice: a line says one thing of a row in a fold and seed")
    for name, words in (("target", "targets"), ("patient", "patients")):
        several = int((found.groupby(["fold", "row"])[name].nunique() > 1).sum())
        if several:
            problems.append(f"{several} rows have several {words}; a row is one row for every line and seed")
    crossing = int((found.groupby("patient")["fold"].nunique() > 1).sum())
    if crossing:
        problems.append(f"{crossing} patients are in the test rows of several folds; folds must not share patients")
    return problems


def _weights(frame: pd.DataFrame, conditions: Sequence[str], path: Path) -> list[float]:
    """What each condition weighs in a line's value, adding up to 1; alike where the table does not say."""
    if "weight" not in frame:
        return [1 / len(conditions)] * len(conditions)
    each = {c: set(frame.loc[frame["condition"] == c, "weight"]) for c in conditions}
    total = sum(min(values) for values in each.values())
    if any(len(values) > 1 or min(values) < 0 for values in each.values()) or total <= 0:
        raise DataError(
            f"{path}: column 'weight' must hold one number, 0 or more, for each condition, and not only zeros"
        )
    return [min(each[c]) / total for c in conditions]


# --------------------------------------------------------------------------------------------
# judging

Blocks = dict[Any, pd.DataFrame]


def _selected(
    blocks: Blocks,
    lines: Sequence[str],
    folds: Sequence[Any],
    seeds: Sequence[Any],
    conditions: Sequence[str],
    metric: str,
) -> Selection:
    present = np.zeros((len(folds), len(seeds), len(lines)), dtype=np.bool_)
    for k, fold in enumerate(folds):
        for s, seed in enumerate(seeds):
            for m, line in enumerate(lines):
                found = [blocks.get((fold, seed, line, c)) for c in conditions]
                present[k, s, m] = all(
                    f is not None and (not METRICS[metric].ranks or f["target"].nunique() > 1) for f in found
                )
    return compared_cells(present)


def _fold(
    blocks: Blocks,
    fold: Any,
    seeds: Sequence[Any],
    lines: Sequence[str],
    conditions: Sequence[str],
    metric: str,
    path: Path,
) -> ScoredFold:
    mine = [[blocks[fold, seed, line, c] for line in lines for c in conditions] for seed in seeds]
    first = mine[0][0]
    for row in mine:
        for block in row:
            if not np.array_equal(block["row"].to_numpy(), first["row"].to_numpy()):
                raise DataError(
                    f"{path}: in fold {fold} not every line, seed and condition has the same test rows; differences are paired, "
                    "so give every line a prediction for each of them"
                )

    def predicted(seed: int, model: int) -> NDArray[np.float64]:
        scores: NDArray[np.float64] = mine[seed][model]["score"].to_numpy(dtype=np.float64)[:, None]
        return scores

    _, groups = np.unique(first["patient"].astype(str), return_inverse=True)
    given = PredictedFold(predicted, first["target"].to_numpy(dtype=np.int64), groups)
    draw = numpy_generator("resampled patients", metric=metric, fold=str(fold))
    return scored_fold(given, len(mine[0]), len(seeds), metric, TargetKind.BINARY, RESAMPLES, draw)


# --------------------------------------------------------------------------------------------
# saying


def _left_out(chosen: Selection, lines: Sequence[str], folds: Sequence[Any], seeds: Sequence[Any]) -> Iterator[str]:
    for m in (*chosen.empty_lines, *chosen.gaps):
        yield f"not compared: line {lines[m]}: predictions are missing in more than half of the seeds"
    for k in chosen.empty_folds:
        yield f"not compared: fold {folds[k]}: no line has a value there"
    for s in set(range(len(seeds))) - set(chosen.seeds):
        yield f"not compared: seed {seeds[s]}: not every line has every fold there"


def _board(lines: Sequence[str], verdict: Verdict, sign: int, metric: str) -> Table:
    singles, groups = verdict.singles, verdict.groups
    rows = []
    for i in np.argsort(-verdict.components.value, kind="stable"):
        again, these = (np.sort(sign * ends[i]) for ends in (singles.interval, singles.interval_these_models))
        mark = "*" if i in verdict.components.unstable else ""
        rows.append(
            [
                f"{groups.group[i]}{mark}" if groups is not None else "-",
                lines[i],
                f"{number(sign * singles.value[i])} [{number(again[0])}, {number(again[1])}]",
                f"[{number(these[0])}, {number(these[1])}]",
                p_value(float(groups.p_best[i])) if groups is not None else "-",
            ]
        )
    columns = [
        "group",
        "line",
        f"{metric_name(metric)} [95 % if trained again]",
        "[95 %, these models]",
        "p of being best",
    ]
    return Table("group 1: could be the best if trained again; *: unstable over seeds", columns, rows)


def _said(verdict: Verdict) -> Iterator[str]:
    detectable = verdict.smallest_detectable
    if detectable == detectable:  # noqa: PLR0124 - NaN
        yield f"a difference of {number(detectable)} between two lines would be shown in four of five repetitions"


def _pairs(lines: Sequence[str], verdict: Verdict, sign: int) -> Table:
    found = comparison_table([Line(line, "") for line in lines], verdict, sign)
    leader = found["strategy"].iloc[0]
    rows = [
        [
            row["other_strategy"],
            f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]",
            *(p_value(row[c]) if row[c] == row[c] else "-" for c in ("p", "p_adjusted", "p_these_models")),
        ]
        for _, row in found[found["strategy"] == leader].iterrows()
    ]
    return Table(
        f"{leader} minus each other line",
        ["line", "difference", "p, trained again", "p adjusted", "p, these models"],
        rows,
    )
