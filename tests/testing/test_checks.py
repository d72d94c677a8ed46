"""How the kit runs and reports; that each of its checks can be failed."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import pytest

from fusionbench import TargetKind
from fusionbench.testing import CHECKS, make_case, parametrize_with_checks, run_checks
from fusionbench.testing.checks import CheckResult, sentence
from tests.testing.exams import (
    test_claims,
    test_content,
    test_fitted,
    test_manners,
    test_order,
    test_stacking,
    test_state,
    test_strategies,
    test_training,
)
from tests.testing.exams.good import SMALL, Good
from tests.testing.exams.test_content import ReadsAbsentFeatures
from tests.testing.exams.test_encoders import WRONG_ENCODERS
from tests.testing.exams.test_executors import WRONG_EXECUTORS
from tests.testing.exams.test_imputers import WRONG_IMPUTERS
from tests.testing.exams.test_mechanisms import WRONG_MECHANISMS
from tests.testing.exams.test_order import PicksTheFirstAsMain
from tests.testing.exams.test_stacking import BranchesOnValues
from tests.testing.exams.test_tasks import WRONG_TASKS

EXAMS = (
    test_claims,
    test_content,
    test_fitted,
    test_manners,
    test_order,
    test_stacking,
    test_state,
    test_strategies,
    test_training,
)
WRONG = [entry for exam in EXAMS for entry in exam.WRONG]


def test_there_are_more_than_twenty_kinds_of_wrong():
    assert len({name for _, name in WRONG}) > 20


def test_every_check_rejects_some_wrong_plugin():
    tables = {
        "encoder": WRONG_ENCODERS,
        "missingness": WRONG_MECHANISMS,
        "task": WRONG_TASKS,
        "executor": WRONG_EXECUTORS,
    }
    for kind, table in tables.items():
        assert {name for _, name in table} == {sentence(check) for check in CHECKS[kind]}
    proven = {name for _, name in WRONG + WRONG_IMPUTERS}
    others = {sentence(check) for kind, checks in CHECKS.items() if kind not in tables for check in checks}
    assert proven == others


def result_of(name, plugin, **settings):
    (result,) = run_checks(plugin, cases=SMALL[-1:], only=[name], **settings)
    return result


def test_a_failure_names_the_case_and_says_how_to_mend():
    result = result_of("absent_content_is_never_read", ReadsAbsentFeatures)
    assert (result.status, result.ok) == ("failed", False)
    assert result.reason.startswith("3 modalities, binary, random: the answer changed")
    assert "Mend: read through" in result.advice


def test_an_expected_failure_carries_its_reason():
    reasons = {"modality_order_does_not_matter": "the first modality is the main one"}
    result = result_of("modality_order_does_not_matter", PicksTheFirstAsMain, expected_failures=reasons)
    assert (result.status, result.reason, result.ok) == (
        "failed as expected",
        "the first modality is the main one",
        True,
    )


def test_an_expected_failure_that_passes_is_reported():
    reasons = {"modality_order_does_not_matter": "no longer true"}
    result = result_of("modality_order_does_not_matter", Good, expected_failures=reasons)
    assert (result.status, result.ok) == ("passed unexpectedly", False)


def test_a_crash_is_never_an_expected_failure():
    class Crashes(Good):
        expected_failures: ClassVar = {"evaluation_is_deterministic": "it is random"}

        def forward(self, batch):
            raise KeyError("ehr")

    result = result_of("evaluation_is_deterministic", Crashes)
    assert (result.status, result.reason) == ("failed", "raised KeyError: 'ehr'")


def test_an_expected_failure_of_an_unknown_check_is_refused():
    with pytest.raises(ValueError, match="unknown checks: order"):
        run_checks(Good, expected_failures={"order": "misspelt"})


def test_a_strategy_that_cannot_be_stacked_may_say_so():
    class Honest(BranchesOnValues):
        stackable = False

    result = result_of("stacked_runs_equal_solo_runs", Honest)
    assert (result.status, result.reason) == ("skipped", "it says stackable = False and is trained one run at a time")


def test_a_plugin_that_cannot_be_built_fails_with_the_reason():
    class Picky(Good):
        def __init__(self, spec):
            super().__init__(spec)
            raise ValueError("needs four modalities")

    assert result_of("evaluation_is_deterministic", Picky).reason == "raised ValueError: needs four modalities"


def test_guests_bring_their_own_batches():
    seen = []

    class Watches(Good):
        def forward(self, batch):
            seen.append(batch.names)
            return super().forward(batch)

    run_checks(Watches, cases=[make_case(["left", "right"], TargetKind.BINARY, "random")])
    assert set(seen) == {("left", "right"), ("right", "left")}


def test_something_that_is_no_plugin_is_refused():
    with pytest.raises(TypeError, match="found <class 'int'>"):
        run_checks(int)


def test_the_kit_needs_pytest_only_for_the_decorator():
    program = "import sys, fusionbench.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_only_the_checks_that_are_asked_for_run_in_the_order_of_the_list():
    wanted = {"provenance_is_given", "stages_can_be_run"}
    found = [r.name for r in run_checks(Good, cases=SMALL[:1], only=wanted)]
    assert found == [sentence(c) for c in CHECKS["strategy"] if sentence(c) in wanted]


def test_advice_is_why_and_how_to_mend_in_one_line_each():
    result = CheckResult("a", "failed", advice="It matters\n    to many.\n\n    Mend: do\n    otherwise.")
    assert (result.why, result.mend) == ("It matters to many.", "do otherwise.")


def test_cases_of_the_class_stand_in_for_those_of_the_kit():
    class BringsItsOwn(Good):
        @classmethod
        def conformance_cases(cls):
            return (make_case(["left", "right"], TargetKind.BINARY, "single"),)

        def forward(self, batch):
            assert "left" in batch.names
            return super().forward(batch)[:, :0]

    name = "logits_have_one_row_per_sample_and_one_column_per_output"
    (result,) = run_checks(BringsItsOwn, only=[name])
    assert result.reason == "2 modalities, binary, single: logits has shape (12, 0), wanted (12, 1)"


def test_the_decorator_makes_one_test_of_each_check_and_marks_what_is_expected_to_fail():
    reasons = {"stages_can_be_run": "it has none"}
    mark = parametrize_with_checks([Good, (Good, {"width": 1})], cases=SMALL[:1], expected_failures=reasons).mark
    names, parameters = mark.args
    assert names == ("subject", "check")
    wanted = [f"{who}-{sentence(c)}" for who in ("Good", "Good(width=1)") for c in CHECKS["strategy"]]
    assert [p.id for p in parameters] == wanted
    marked = {p.id: p.marks[0].kwargs["reason"] for p in parameters if p.marks}
    assert marked == {f"{who}-stages_can_be_run": "it has none" for who in ("Good", "Good(width=1)")}
