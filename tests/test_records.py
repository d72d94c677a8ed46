"""What observers see of a run: what is left to do, how a model is called, how a run ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fusionbench.missingness.conditions import COMPLETE, Condition
from fusionbench.missingness.subsets import subset_conditions
from fusionbench.plan.jobs import FitJob
from fusionbench.records import MAP_CELLS, MAP_LINE, MAP_NUMBERS, CellOutcome, Maps, RunPlan, RunSummary, Worked

HALF = Condition("random", 0.5)


def arm(title, imputer="mean"):
    return SimpleNamespace(title=title, label=f"{title} / {imputer}")


def fit(key, title="concat", condition=COMPLETE, scored=(COMPLETE, HALF)):
    return FitJob(arm(title), 1, 2, condition, f"study of {key}", key, scored, tuple(map(str, scored)))


def plan(*fits, **changes):
    made = RunPlan(
        benchmark=None,
        dataset=SimpleNamespace(synthetic=False),
        arms=[f.arm for f in fits],
        conditions=[COMPLETE, HALF],
        folds=[1],
        studies=[],
        fits=fits,
        stored=frozenset(),
        workspace=Path(),
        random_weights=(),
        data_digest="d",
    )
    return replace(made, **changes)


def keys(fits):
    return [f.key for f in fits]


def test_what_is_stored_is_not_to_do_and_what_is_kept_is_not_to_train():
    found = plan(fit("a"), fit("b"), fit("c"), stored=frozenset("a"), kept=frozenset("b"))
    assert keys(found.todo) == ["b", "c"]
    assert keys(found.to_train) == ["c"]


@pytest.mark.parametrize(("only", "wanted"), [
    (None, ["a", "b", "c"]),
    ("concat", ["a", "c"]),
    ("con*", ["a", "c"]),
    ("sum / mean", ["b"]),
    ("Concat", []),
])  # fmt: skip
def test_arms_are_worked_on_by_title_or_label_with_stars(only, wanted):
    assert keys(plan(fit("a"), fit("b", "sum"), fit("c"), only=only).mine) == wanted


def test_a_share_of_selected_arms_is_what_is_in_both():
    fits = (fit("a"), fit("b", "sum"), fit("c"))
    assert keys(plan(*fits, only="concat", share=frozenset("bc")).mine) == ["c"]
    assert keys(plan(*fits, share=frozenset()).mine) == []


def test_subsets_of_the_modalities_are_no_cells():
    scored = (COMPLETE, HALF, *subset_conditions(["x", "y"]))
    found = plan(fit("a", scored=scored), fit("b", scored=(HALF,)), stored=frozenset("a"))
    assert (found.cells, found.cells_stored) == (3, 2)


def test_every_output_says_what_data_and_encoders_are_not():
    made = {"dataset": SimpleNamespace(synthetic=True), "random_weights": ("cxr", "notes")}
    assert plan().ribbons == ()
    assert plan(**made).ribbons == ("SYNTHETIC DATA: no patient is in it", "RANDOM ENCODER WEIGHTS: cxr, notes")


def test_a_model_is_called_by_what_tells_it_apart():
    assert CellOutcome(fit("a"), stored_before=False).name == "concat / mean, fold 1, seed 2"
    trained = CellOutcome(fit("a", condition=HALF), stored_before=False)
    assert trained.name == "concat / mean, fold 1, seed 2, trained at random@0.5"


def test_a_model_has_failed_with_the_study_that_it_needs():
    worked = Worked(failures={"a": ("concat", "diverged"), "study of b": ("concat, tuning", "no trial")})
    assert [worked.failed(fit(k)) for k in "abc"] == [True, True, False]


@pytest.mark.parametrize(
    ("failed", "interrupted", "code"), [(0, False, 0), (2, False, 1), (0, True, 130), (2, True, 130)]
)
def test_exit_codes_tell_done_failed_and_interrupted(failed, interrupted, code):
    failures = {str(i): ("concat", "diverged") for i in range(failed)}
    assert Worked(failures=failures, interrupted=interrupted).exit_code == code
    summary = RunSummary(plan(), None, None, list(failures.values()), 0, 0.0, interrupted)
    assert summary.exit_code == code


def test_a_run_that_maps_nothing_has_tables_with_columns():
    empty = Maps.empty()
    assert (len(empty.numbers), len(empty.cells)) == (0, 0)
    assert list(empty.numbers) == MAP_LINE + MAP_NUMBERS
    assert list(empty.cells) == MAP_LINE + MAP_CELLS
