"""From tables of panels to a map: what all panels have, and nothing where they have nothing in common."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench.analysis.ranking.differences import AREA
from fusionbench.analysis.regimes.gathering import Panel, gathered
from fusionbench.plan.lines import Line
from tests.analysis.regimes.test_charted import small_map

MADE = small_map().made
CALLED = {Line("concat", "zero"): "Concat"}


def panel(dial, lines=("concat", "sum"), rates=(0.0, 0.6), pattern="random", p_best=0.5, ceiling=0.95, subsets=True):
    """A panel in which the first line is at .9 less the rate / 10, each further one .02 below, and only the first could be the best."""
    of = [
        {
            "strategy": line,
            "imputer": "zero",
            "variant": "",
            "pattern": pattern,
            "rate": rate,
            "auroc": 0.9 - rate / 10 - 0.02 * i,
        }
        for i, line in enumerate(lines)
        for rate in rates
    ]
    differences = [
        {**row, "achieved": row["rate"] / 2, "possible_best": row["strategy"] == lines[0], "p_best": p_best}
        for row in of
    ]
    differences.append({**differences[0], "pattern": AREA, "rate": np.nan})
    best = [{**row, "strategy": "ceiling", "imputer": "", "auroc": ceiling} for row in of[: len(rates)]]
    readings = [
        {
            "subset": subset,
            "fold": fold,
            "strategy": "x",
            "imputer": "zero",
            "variant": "",
            "auroc": value,
            "ceiling": value,
        }
        for subset, value in (("a", 0.8), ("b", 0.7), ("a+b", 0.85))
        for fold in range(2 if subsets else 0)
    ]
    columns = ["subset", "fold", "strategy", "imputer", "variant", "auroc", "ceiling"]
    found = (
        pd.DataFrame(differences),
        pd.DataFrame(of + (best if ceiling else [])),
        pd.DataFrame(readings, columns=columns),
    )
    return Panel((dial,), *found)


def test_values_ceilings_and_who_could_be_the_best():
    found = gathered([panel(0.0), panel(0.9, ceiling=0.97)], ["imbalance"], "auroc", CALLED, MADE)
    assert found.lines == ("Concat", "sum / zero")  # what nobody named is called as tables call it
    assert (found.rates, found.pattern, found.dials) == ((0.0, 0.6), "random", ("imbalance",))
    assert [r.dials for r in found.regimes] == [(0.0,), (0.9,)]
    assert found.values[0] == pytest.approx(np.array([[0.9, 0.88], [0.84, 0.82]]))
    assert found.regret[1, 0] == pytest.approx([0.07, 0.09])
    assert found.possible.tolist() == [[[True, False]] * 2] * 2
    assert found.regimes[0].achieved == (0.0, 0.3)
    assert found.regimes[0].place[0] > 0.3
    assert found.regimes[0].known == found.regimes[0].place


def test_lines_and_rates_that_some_panels_lack_are_left_out():
    few = panel(0.9, lines=("concat", "pmr"), rates=(0.6,))
    found = gathered([panel(0.0), few], ["imbalance"], "auroc", CALLED, MADE)
    assert (found.lines, found.rates) == (("Concat",), (0.6,))


def test_without_a_ceiling_or_subsets_the_map_lacks_only_these():
    found = gathered([panel(0.0, ceiling=0, subsets=False)] * 2, ["imbalance"], "auroc", CALLED, MADE)
    assert not found.planted
    assert found.regimes[0].place == found.regimes[0].known == ()
    assert found.regret[0, 0] == pytest.approx([0, 0.02])


@pytest.mark.parametrize(
    "panels",
    [
        [],
        [panel(0.0), panel(0.9, p_best=np.nan)],  # trained once: nobody can say
        [panel(0.0), panel(0.9, lines=("pmr",))],
        [panel(0.0), panel(0.9, pattern="a")],
    ],
    ids=["none", "trained once", "other lines", "other patterns"],
)
def test_there_is_no_map_where_panels_have_nothing_in_common(panels):
    assert gathered(panels, ["imbalance"], "auroc", CALLED, MADE) is None
