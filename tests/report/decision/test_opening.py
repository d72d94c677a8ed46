"""The first screen."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from fusionbench.records import Answer
from fusionbench.report.decision import opening
from tests.report.decision.planted import without


@pytest.mark.parametrize(
    ("description", "wanted"),
    [
        ("SYNTHETIC. In-hospital mortality from the first 48 h of 2000 ICU stays (300 died), 2 h steps", "In-hospital mortality from the first 48 h of 2,000 ICU stays"),
        ("Subtype of lung cancer from CT: a, b", "Subtype of lung cancer from CT: a, b"),
        ("SYNTHETIC. Does noise hurt?", "Does noise hurt"),
    ],
)  # fmt: skip
def test_the_title_is_in_words_and_never_the_file_s_name(summary, description, wanted):
    plan = summary.plan
    plan = replace(
        plan,
        dataset=replace(plan.dataset, description=description),
        benchmark=plan.benchmark.model_copy(update={"name": "my_own_data"}),
    )
    assert opening.title_of(plan) == f"{wanted}: which fusion when modalities go missing"


def test_without_a_description_the_title_names_what_goes_missing(summary):
    assert opening.title_of(summary.plan) == "Which fusion when a, b and c go missing"


def test_the_title_of_the_file_comes_before_any_other(summary):
    titled = summary.plan.benchmark.model_copy(update={"title": "Noise, and who is hurt by it"})
    assert opening.title_of(replace(summary.plan, benchmark=titled)) == "Noise, and who is hurt by it"


def test_what_was_expected_stands_below_the_decision_table(summary):
    expected = SimpleNamespace(says="Sum wins", verdict="failed", numbers=["sum -.010"])
    found = opening.answer(replace(summary, expectations=[expected])).blocks
    assert [type(b).__name__ for b in found] == ["Grid", "Text"]
    assert found[1].points == ["Sum wins: failed. sum -.010."]


def test_the_question_and_the_sentences_are_those_of_the_answer(summary):
    answered = replace(summary, answer=Answer("Which?", "This.", "That.", "Dear."))
    assert opening.question(answered) == "Which?"
    assert opening.sentences(answered) == ["This.", "That.", "Dear."]
    assert opening.sentences(replace(summary, answer=None)) == []
    assert opening.question(replace(summary, answer=None)) == "Which line is <higher>?"


def test_what_weakens_the_numbers_comes_first_and_what_is_said_of_the_data_last(summary):
    data = replace(summary.plan.dataset, warnings=("of the data",))
    noted = replace(summary, plan=replace(summary.plan, dataset=data), notes=["of the data", "undertrained"])
    found = opening.before(noted)
    assert found[0] == "undertrained"
    assert found[-1] == "of the data"
    assert any(note.startswith("One seed:") for note in found)


def test_the_first_section_holds_the_decision_table_where_there_is_one(summary):
    assert opening.answer(without(summary)).blocks == []
    assert [type(b).__name__ for b in opening.answer(summary).blocks] == ["Grid"]


def test_cost_has_a_section_where_lines_are_compared(summary, undrawn):
    assert opening.cost(summary).title == "Quality against cost"
    assert opening.cost(without(summary)) is None
