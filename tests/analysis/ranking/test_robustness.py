"""Leaderboards of several settings side by side: ranks, how often a line could be the best, and how alike settings rank."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from fusionbench.analysis.ranking.robustness import (
    always_first,
    robustness_line,
    robustness_of,
    robustness_scalars,
    robustness_words,
)
from fusionbench.plan.lines import Line
from fusionbench.records import AGREEMENT_COLUMNS, SETTING_COLUMNS, Robustness


def board(areas, groups):
    """A leaderboard of lines ``a``, ``b``, ...; the prevalence stands in it as in a run's."""
    frame = pd.DataFrame(
        {
            "strategy": [*"abcdefgh"[: len(areas)], "prevalence"],
            "imputer": ["zero"] * len(areas) + [""],
            "trained_at": "",
            "area": [*areas, 0.5],
            "group": [*groups, 0],
        }
    ).sort_values("area", ascending=False, na_position="last", ignore_index=True)
    trained = frame["strategy"] != "prevalence"
    ends = {"area_low": frame["area"] - 0.1, "area_high": frame["area"] + 0.1, "p_best": frame["group"].eq(1) * 0.5}
    return frame.assign(rank=np.where(trained, trained.cumsum(), 0), **ends)


MAIN = board([0.9, 0.8, 0.7, 0.6], [1, 1, 2, 3])
TURNED = board([0.6, 0.7, 0.8, 0.9], [2, 1, 1, 1])
ALIKE = board([0.85, 0.8, 0.8, 0.6], [1, 1, 1, 2])


@pytest.fixture(scope="module")
def found():
    boards = {"main": MAIN, "turned": TURNED, "alike": ALIKE}
    return robustness_of(boards, {"turned": "model.projection: mlp", "alike": "training.selection: loss"})


def tau_b(first, second):
    """Kendall's tau-b, pair by pair."""
    signs = [
        (np.sign(first[i] - first[j]), np.sign(second[i] - second[j])) for i, j in combinations(range(len(first)), 2)
    ]
    agreed = sum(a * b for a, b in signs)
    return agreed / np.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


def test_there_is_a_row_for_each_line_and_setting(found):
    assert list(found.lines) == SETTING_COLUMNS
    assert len(found.lines) == 3 * 4
    assert "prevalence" not in set(found.lines["strategy"])
    first = found.lines.set_index(["setting", "strategy"])
    assert first.loc[("turned", "d"), ["rank", "area", "group"]].tolist() == [1, 0.9, 1]
    assert first.loc[("main", "d"), ["rank", "group"]].tolist() == [4, 3]
    assert first.loc[("turned", "a"), "changes"] == "model.projection: mlp"


def test_how_often_a_line_could_be_the_best_is_counted(found):
    times = found.lines.drop_duplicates("strategy").set_index("strategy")["times_first"]
    assert times.to_dict() == {"a": 2, "b": 3, "c": 2, "d": 1}
    assert set(found.lines["settings"]) == {3}
    assert always_first(found) == [Line("b", "zero")]


def test_rank_correlations_are_those_counted_pair_by_pair(found):
    assert list(found.agreement) == AGREEMENT_COLUMNS
    areas = {name: b[b["strategy"] != "prevalence"].sort_values("strategy")["area"].to_numpy() for name, b in
             {"main": MAIN, "turned": TURNED, "alike": ALIKE}.items()}  # fmt: skip
    for _, row in found.agreement.iterrows():
        one, other = areas[row["setting"]], areas[row["other"]]
        assert row["kendall_tau_b"] == pytest.approx(tau_b(one, other))
        ranks = [pd.Series(a).rank().to_numpy() for a in (one, other)]
        assert row["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
        assert row["lines"] == 4
    turned = found.agreement.iloc[0]
    assert turned["kendall_tau_b"] == -1
    assert (turned["first_in_both"], turned["first_in_either"], turned["same_leader"]) == (1, 4, False)


def test_a_line_that_is_not_compared_under_a_setting_counts_there_for_nothing():
    gap = board([0.9, np.nan, 0.7, 0.6], [1, 0, 1, 2])
    found = robustness_of({"main": MAIN, "gap": gap}, {})
    assert found.agreement["lines"].tolist() == [3]
    row = found.lines.set_index(["setting", "strategy"]).loc[("gap", "b")]
    assert (row["rank"], row["group"], row["settings"], row["times_first"]) == (0, 0, 1, 1)
    assert always_first(found) == [Line("a", "zero")]


@pytest.mark.parametrize("areas", [[0.8], [0.8, 0.8]])
def test_nothing_is_correlated_where_there_is_no_order(areas):
    found = robustness_of({"main": board(areas, [1] * len(areas)), "x": board(areas, [1] * len(areas))}, {})
    assert found.agreement["kendall_tau_b"].isna().all()
    assert found.agreement["spearman"].isna().all()
    assert "lowest_tau_b" not in robustness_scalars(found)[Line("a", "zero")]


def test_words_say_how_much_survives(found):
    text = " ".join(robustness_words(found))
    assert "turned -1.00; alike" in text
    assert "The highest line stays the highest under 1 of 2 other settings." in text
    assert "In group 1 under all 3 settings: b / zero." in text
    assert "on the setting: 3 lines" in text
    assert "Under none: 0 lines" in text


def test_one_run_of_each_setting_has_no_groups_and_says_so():
    no_groups = board([0.9, 0.8], [0, 0])
    text = " ".join(robustness_words(robustness_of({"main": no_groups, "x": no_groups}, {})))
    assert "no groups" in text
    assert "In group 1" not in text


def test_a_screen_gets_one_line_and_a_server_two_numbers(found):
    assert robustness_line(found).startswith("robustness: 1 of 4 lines in group 1 under all 3 settings; ")
    scalars = robustness_scalars(found)[Line("a", "zero")]
    assert scalars == {"share_in_group_1": pytest.approx(2 / 3), "lowest_tau_b": -1.0}


def test_a_run_under_one_setting_has_nothing_to_say():
    nothing = Robustness.empty()
    assert (robustness_words(nothing), robustness_line(nothing), robustness_scalars(nothing)) == ([], "", {})
