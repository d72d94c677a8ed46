"""Which cells are compared, and what the mean height of curves is made of."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fusionbench.analysis.ranking.board import compared, curve_weights
from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.plan.lines import Line, model_of

POINTS = (COMPLETE, Condition("random", 0.5))


def planned_fits(strategy, places):
    """What the plan says of one arm that is scored on complete data and at one rate."""
    arm = SimpleNamespace(title=strategy, imputer_name="zero")
    return [SimpleNamespace(arm=arm, fold=f, seed=s, condition=COMPLETE, scored=POINTS) for f, s in places]


def scored_of(jobs):
    """The cells of these fits."""
    result = SimpleNamespace(study="x")
    return [SimpleNamespace(job=j, model=model_of(j, c, "test"), result=result) for j in jobs for c in j.scored]


def study_of(metric="brier", targets=None):
    """What a comparison needs to know of a run."""
    folds = {
        k: SimpleNamespace(test=SimpleNamespace(open=lambda _, k=k: np.array([2 * k, 2 * k + 1]))) for k in range(2)
    }
    dataset = SimpleNamespace(target=np.array(targets or [0, 1, 0, 1]), kind="binary", outputs=("died",))
    return SimpleNamespace(
        metric=metric, where="test", patterns=["random"], rates=[0, 0.5], folds=folds, dataset=dataset
    )


PLACES = [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_lines_come_in_the_order_of_the_plan():
    first, second = planned_fits("z", PLACES), planned_fits("a", PLACES)
    found = compared(scored_of([*second, *first]), [*first, *second], study_of())
    assert found.ranked == [Line("z", "zero"), Line("a", "zero")]
    assert (found.used_folds, found.used_seeds, found.left) == ([0, 1], [0, 1], {})


def test_a_line_that_lacks_one_point_somewhere_takes_that_seed_along():
    first, second = planned_fits("z", PLACES), planned_fits("a", PLACES)
    found = compared([*scored_of(first), *scored_of(second)[:-1]], [*first, *second], study_of())
    assert (found.used_folds, found.used_seeds) == ([0, 1], [0])
    assert len(found.ranked) == 2


def test_a_line_with_gaps_in_every_seed_leaves_and_is_named():
    first, second = planned_fits("z", PLACES), planned_fits("a", PLACES)
    found = compared([*scored_of(first), *scored_of(second[2:])], [*first, *second], study_of())
    assert found.ranked == [Line("z", "zero")]
    assert found.left == {Line("a", "zero"): "models are missing in more than half of the seeds"}


def test_a_line_of_which_nothing_is_there_is_named():
    first, second = planned_fits("z", PLACES), planned_fits("a", PLACES)
    found = compared(scored_of(first), [*first, *second], study_of())
    assert found.left == {Line("a", "zero"): "no model is there"}
    assert compared([], first, study_of()).ranked == []


def test_a_fold_whose_test_rows_have_one_class_only_cannot_be_ranked():
    first = planned_fits("z", PLACES)
    found = compared(scored_of(first), first, study_of("auroc", [0, 1, 1, 1]))
    assert found.used_folds == [0]
    assert compared(scored_of(first), first, study_of("brier", [0, 1, 1, 1])).used_folds == [0, 1]


def test_an_area_weighs_steps_by_their_width_and_patterns_alike():
    found = curve_weights(["random", "a"], [0, 0.2, 0.8])
    heights = dict(zip(found, [0.9, 0.8, 0.6, 0.7, 0.5], strict=True))
    random = (0.2 * (0.9 + 0.8) / 2 + 0.6 * (0.8 + 0.6) / 2) / 0.8
    alone = (0.2 * (0.9 + 0.7) / 2 + 0.6 * (0.7 + 0.5) / 2) / 0.8
    assert sum(w * heights[p] for p, w in found.items()) == pytest.approx((random + alone) / 2, abs=1e-12)
    assert sum(found.values()) == pytest.approx(1)


def test_one_rate_weighs_everything():
    assert curve_weights(["random"], [0.5]) == {Condition("random", 0.5): 1}
