"""How much of a verdict survives other protocol settings: every line under every setting, and how alike the rankings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from fusionbench.analysis.words import arm_name, counted, listed, number
from fusionbench.config.sections import MAIN_SETTING, REFERENCES
from fusionbench.plan.lines import Line, line_of, lines_by_row
from fusionbench.records import AGREEMENT_COLUMNS, SETTING_COLUMNS, Robustness

LINE = ["strategy", "imputer", "trained_at"]
COLUMNS = ["rank", "area", "area_low", "area_high", "group", "p_best"]


def robustness_of(boards: Mapping[str, pd.DataFrame], changes: Mapping[str, str]) -> Robustness:
    """Set the leaderboards of several settings side by side.

    Args:
        boards: By name of the setting, the one of the file first; references are left out.
        changes: By name, what a setting changes, in words.

    Returns:
        ``lines``: one row for each line and setting, with ``rank``, ``area``, ``group`` and ``p_best`` there (rank and group 0:
        it is not compared), ``times_first`` (settings under which the line is in group 1) and ``settings`` (under which it has
        a group). ``agreement``: one row for each two settings: Kendall's tau-b and Spearman's correlation of the areas of the
        ``lines`` that both compare, ``first_in_both`` and ``first_in_either`` (lines in group 1), ``same_leader``; NaN where
        there is nothing to correlate.
    """
    found = {name: _compared(board) for name, board in boards.items()}
    named = [board.assign(setting=name, changes=changes.get(name, "")) for name, board in found.items()]
    rows = pd.concat(named, ignore_index=True)
    by_line = rows.groupby(LINE, sort=False)["group"]
    times, judged = by_line.transform(lambda g: (g == 1).sum()), by_line.transform(lambda g: (g > 0).sum())
    rows = rows.assign(times_first=times.astype(np.int64), settings=judged.astype(np.int64))
    pairs = [_agreement(found, one, other) for one, other in combinations(found, 2)]
    return Robustness(rows[SETTING_COLUMNS], pd.DataFrame(pairs, columns=AGREEMENT_COLUMNS))


def _compared(board: pd.DataFrame) -> pd.DataFrame:
    trained = board[~board["strategy"].isin(REFERENCES)]
    there = trained["area"].notna()
    return trained[[*LINE, *COLUMNS]].assign(rank=trained["rank"].where(there, 0).astype(np.int64))


def _agreement(found: Mapping[str, pd.DataFrame], one: str, other: str) -> dict[str, object]:
    from scipy import stats

    both = found[one].merge(found[other], on=LINE, suffixes=("", "_other")).dropna(subset=["area", "area_other"])
    areas = both["area"].to_numpy(dtype=np.float64), both["area_other"].to_numpy(dtype=np.float64)
    varied = len(both) > 1 and all(np.ptp(a) > 0 for a in areas)
    first, first_other = both["group"] == 1, both["group_other"] == 1
    leaders = [both[column].idxmin() for column in ("rank", "rank_other")] if len(both) else [None, None]
    return {
        "setting": one,
        "other": other,
        "lines": len(both),
        "kendall_tau_b": float(stats.kendalltau(*areas).statistic) if varied else np.nan,
        "spearman": float(stats.spearmanr(*areas).statistic) if varied else np.nan,
        "first_in_both": int((first & first_other).sum()),
        "first_in_either": int((first | first_other).sum()),
        "same_leader": len(both) > 0 and leaders[0] == leaders[1],
    }


# --------------------------------------------------------------------------------------------
# in words


def always_first(found: Robustness) -> list[Line]:
    """Lines that are in group 1 under every setting."""
    lines = found.lines.drop_duplicates(LINE)
    whole = lines[lines["times_first"] == found.lines["setting"].nunique()]
    return lines_by_row(whole)


def against_main(found: Robustness) -> pd.DataFrame:
    """Agreement of each other setting with that of the file."""
    return found.agreement[found.agreement["setting"] == MAIN_SETTING]


def robustness_words(found: Robustness) -> list[str]:
    """Say how much of the ranking survives; nothing where nothing else was run."""
    mine = against_main(found)
    if mine.empty:
        return []
    return [_correlations(mine), *_leaders(mine), *_first(found)]


def _correlations(mine: pd.DataFrame) -> str:
    said = [f"{row['other']} {number(row['kendall_tau_b'], 2)}" for _, row in mine.iterrows() if row["lines"]] or [
        "nothing to compare"
    ]
    return (
        "Rank correlation (Kendall's tau-b) of the areas with those of the run, 1 is the same order, 0 is no relation: "
        f"{'; '.join(said)}."
    )


def _leaders(mine: pd.DataFrame) -> list[str]:
    asked = mine[mine["lines"] > 1]
    if asked.empty:
        return []
    kept = int(asked["same_leader"].sum())
    return [f"The highest line stays the highest under {kept} of {counted(len(asked), 'other setting')}."]


def _first(found: Robustness) -> list[str]:
    settings = found.lines["setting"].nunique()
    if (found.lines["group"] == 0).all():
        return ["One run of each setting has no groups: nothing is said of which lines could be the best."]
    lines = found.lines.drop_duplicates(LINE)
    always = [arm_name(*line) for line in always_first(found)]
    sometimes = int(((lines["times_first"] > 0) & (lines["times_first"] < settings)).sum())
    never = int((lines["times_first"] == 0).sum())
    whole = listed(always) if always else "no line"
    return [
        f"In group 1 under all {settings} settings: {whole}.",
        f"In it under some only, so that their place hangs on the setting: {counted(sometimes, 'line')}.",
        f"Under none: {counted(never, 'line')}.",
    ]


def robustness_line(found: Robustness) -> str:
    """One line for a screen; empty where nothing else was run."""
    mine = against_main(found)
    if mine.empty:
        return ""
    settings, lines = found.lines["setting"].nunique(), len(found.lines.drop_duplicates(LINE))
    tau = "; ".join(f"{row['other']} {number(row['kendall_tau_b'], 2)}" for _, row in mine.iterrows())
    return (
        f"robustness: {len(always_first(found))} of {counted(lines, 'line')} in group 1 under all {settings} settings; "
        f"rank correlation with this one (tau-b): {tau}"
    )


def robustness_scalars(found: Robustness) -> dict[Line, dict[str, float]]:
    """By line, what a tracking server gets: the share of settings with the line in group 1, and the lowest rank correlation."""
    mine: Sequence[float] = against_main(found)["kendall_tau_b"].dropna().tolist()
    lowest = {"lowest_tau_b": min(mine)} if mine else {}
    return {
        Line(*map(str, line_of(row))): {"share_in_group_1": float(row["times_first"] / row["settings"]), **lowest}
        for _, row in found.lines.drop_duplicates(LINE).iterrows()
        if row["settings"]
    }
