"""The wording for planted situations: never more than the rule allows."""

from __future__ import annotations

import pytest

from fusionbench.analysis.answer import answer_of
from fusionbench.analysis.answer.sentences import QUESTION
from tests.analysis.answer.situations import situation


def test_a_clear_winner():
    found = answer_of(
        situation(
            {"medfuse": (0.86, 1), "concat": (0.82, 2), "sum": (0.81, 2)},
            {("medfuse", "random", r): (0.04, "better") for r in (0, 0.4, 0.8)},
            best={("random", r): ["medfuse"] for r in (0, 0.4, 0.8)},
            shown_areas={"medfuse": "better"},
        )
    )
    assert found.question == QUESTION
    assert found.average == (
        "On average, use MedFuse: it is the only strategy that could be the best, +.040 AUROC [.030, .050] against Concat."
    )
    assert found.missing == (
        "When much is missing, use MedFuse, the only strategy that could be the best there: +.040 AUROC [.030, .050] "
        "against Concat with 80 % of each modality hidden (48 % of all that was there), and better from 40 % on; it is ahead on "
        "complete data as well, +.040."
    )
    assert (
        found.cost
        == "No strategy took 2 times the seconds of Concat or more without being shown to be better somewhere."
    )


def test_the_order_turns_round():
    found = answer_of(
        situation(
            {"concat": (0.85, 1), "medfuse": (0.849, 1), "dwfuse": (0.84, 1), "sum": (0.84, 1)},
            {
                ("medfuse", "random", 0): (-0.011, "worse"),
                ("medfuse", "random", 0.4): (0.012, "better"),
                ("medfuse", "random", 0.8): (0.02, "better"),
                ("dwfuse", "random", 0.8): (0.019, "better"),
            },
            best={("random", 0.8): ["medfuse", "dwfuse"]},
        )
    )
    assert found.average == (
        "On average, Concat will do: no strategy was shown to differ from the best, and nothing tested was shown to beat Concat. "
        "A run of this size shows differences from about .020 on."
    )
    assert found.missing == (
        "When much is missing, MedFuse beats Concat: +.020 AUROC [.010, .030] with 80 % of each modality hidden "
        "(48 % of all that was there), and better from 40 % on; the order turns round: on complete data Concat is better, by .011 "
        "(DWFuse is shown to be better there too); 2 strategies could be the best there."
    )


def test_all_tie():
    found = answer_of(situation({"sum": (0.83, 1), "concat": (0.829, 1), "ehr only": (0.75, 2)}))
    assert found.average == (
        "On average, Concat will do: nothing tested was shown to beat it (2 strategies could be the best, Concat among them). A "
        "run of this size shows differences from about .020 on."
    )
    assert found.missing == (
        "When much is missing, nothing tested was shown to beat Concat, up to 80 % of each modality hidden (48 % of all that was there)."
    )


def test_some_fall_behind_when_much_is_missing():
    found = answer_of(
        situation(
            {"concat": (0.83, 1), "sum": (0.82, 1), "ehr only": (0.7, 2)},
            {("sum", "random", 0.8): (-0.03, "worse"), ("ehr only", "random", 0.8): (-0.2, "worse")},
        )
    )
    assert found.missing == (
        "When much is missing, nothing tested was shown to beat Concat, up to 80 % of each modality hidden (48 % of all that was there); Sum falls behind it "
        "there, though not on complete data (as far as -.030 AUROC [-.040, -.020] with 80 % of each modality hidden (48 % of all "
        "that was there))."
    )


def test_the_baseline_is_behind_on_average():
    found = answer_of(
        situation({"medfuse": (0.86, 1), "sum": (0.85, 1), "concat": (0.8, 2)}, shown_areas={"medfuse": "better"})
    )
    assert found.average.startswith(
        "On average, Concat is not the best: 2 strategies could be the best (MedFuse and Sum); MedFuse is ahead, +.060 AUROC "
        "[.050, .070] against Concat."
    )


def test_a_winner_whose_lead_was_not_shown_is_said_to_be_so():
    found = answer_of(situation({"medfuse": (0.86, 1), "concat": (0.85, 2)}))
    assert found.average == (
        "On average, use MedFuse: it is the only strategy that could be the best, +.010 AUROC [.000, .020] against Concat, a "
        "difference that was not shown."
    )


def test_the_baseline_wins():
    found = answer_of(situation({"concat": (0.86, 1), "sum": (0.8, 2)}))
    assert found.average == "On average, use Concat: it is the only strategy that could be the best."


def test_undertrained():
    doubts = ("many models were best in their last epoch", "nothing was tuned")
    found = answer_of(situation({"concat": (0.86, 1), "sum": (0.8, 2)}, doubts=doubts))
    assert found.average == (
        "Provisional, because many models were best in their last epoch and nothing was tuned: on average, use Concat: it is "
        "the only strategy that could be the best."
    )


def test_underpowered_says_what_it_could_have_seen():
    found = answer_of(situation({"sum": (0.83, 1), "concat": (0.82, 1)}, detectable=0.09))
    assert found.average.endswith("A run of this size shows differences from about .090 on.")


def test_what_no_two_scores_can_differ_by_is_not_said():
    found = answer_of(situation({"sum": (0.83, 1), "concat": (0.82, 1)}, detectable=2.4e9))
    assert found.average.endswith("A run of this size shows no difference that scores can have.")


def test_one_training_cannot_choose():
    found = answer_of(situation({"sum": (0.83, 0), "concat": (0.82, 0)}, {("sum", "random", 0.8): (0.1, "")}))
    assert found.average == (
        "This run cannot say which strategy to use: each was trained once, and another training may order them otherwise; of "
        "these trained models Sum is first (AUROC .830 on average)."
    )
    assert found.missing == (
        "What to use when much is missing cannot be said either: no difference to the baseline can be shown with one training."
    )
    assert "MedFuse" not in found.cost


def test_a_baseline_that_failed_is_said():
    found = answer_of(situation({"sum": (0.83, 1), "medfuse": (0.82, 1)}, baseline=None))
    assert found.missing.startswith("What to use when much is missing is not said: the baseline could not be scored")


def test_nothing_hidden_says_nothing_of_missing_modalities():
    found = answer_of(situation({"sum": (0.83, 1), "concat": (0.82, 1)}, rates=(0,)))
    assert found.missing == (
        "This run hid nothing beyond what the record lacks: it says nothing about missing modalities."
    )


def test_what_is_dear_and_nowhere_better():
    areas = {
        "concat": (0.83, 1),
        "medfuse": (0.83, 1),
        "sum": (0.82, 1),
        "dwfuse": (0.82, 1),
        "logistic_regression": (0.82, 1),
    }
    better = {("dwfuse", "random", 0.8): (0.02, "better")}
    seconds = {"medfuse": 25.0, "dwfuse": 90.0, "logistic_regression": 1.0}
    found = answer_of(
        situation(areas, better, seconds=seconds, beats=dict.fromkeys(("concat", "medfuse", "sum"), "no"))
    )
    assert found.cost == (
        "Not worth the cost here: MedFuse (2.5 times the seconds of Concat), which was nowhere shown to be better. Nothing was "
        "shown to beat logistic_regression, a plain control that is fitted, not trained."
    )
    beaten = answer_of(situation(areas, better, seconds=seconds, beats={"concat": "yes", "sum": "no"}))
    assert "Nothing was shown to beat" not in beaten.cost


@pytest.mark.parametrize("count", [4, 6])
def test_many_names_are_counted(count):
    areas = {"a0": (0.9, 1), **{f"a{i}": (0.9 - i / 1000, 1) for i in range(1, count)}, "concat": (0.8, 2)}
    found = answer_of(situation(areas, shown_areas={"a0": "better"}))
    assert ("(a0, a1, a2, a3 and 2 others)" in found.average) == (count == 6)
    assert ("(a0, a1, a2 and a3)" in found.average) == (count == 4)


def test_one_line_and_nothing_at_all():
    alone = answer_of(situation({"concat": (0.83, 1)}, question="Is it any good?"))
    assert alone.question == "Is it any good?"
    assert alone.average == "Only Concat was scored: AUROC .830 [.810, .850] on average over what was hidden."
    assert answer_of(situation({"concat": (float("nan"), 0)})) is None


def test_every_sentence_is_one():
    for found in (
        answer_of(situation({"concat": (0.83, 1), "sum": (0.82, 1)})),
        answer_of(situation({"concat": (0.83, 0), "sum": (0.82, 0)})),
    ):
        for sentence in found.sentences:
            assert sentence.endswith(".")
            assert "nan" not in sentence


def test_the_baseline_of_the_cost_is_named_once():
    areas = dict.fromkeys(("concat", "a", "b", "c", "d", "e"), (0.8, 1))
    found = answer_of(situation(areas, seconds={"a": 20.0, "b": 30.0, "c": 40.0, "d": 50.0, "e": 60.0}))
    assert found.cost.startswith(
        "Not worth the cost here: e (6.0 times the seconds of Concat), d (5.0 times), c (4.0 times), b (3.0 times) and 1 other, "
        "which were nowhere shown to be better."
    )
