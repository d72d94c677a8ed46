"""What the sentences are made from, of a real run and of planted tables."""

from __future__ import annotations

import pytest

from fusionbench.analysis.answer.situation import fallen
from fusionbench.plan.lines import Line
from tests.analysis.answer.situations import line, situation
from tests.builders import run_toy


def test_a_run_answers_its_question(done):
    _, summary = done
    assert summary.answer is not None
    assert summary.baseline == Line("concat", "zero")
    assert all(s.endswith(".") for s in summary.answer.sentences)
    assert "Concat / zero" in " ".join(summary.answer.sentences)  # it stands there with two imputers


def test_lines_have_the_names_of_their_methods(tmp_path):
    strategies = ["se_gate", {"name": "sum", "label": "my sum"}, {"name": "concat", "regularisers": ["tla"]}]
    _, summary = run_toy(tmp_path, strategies=strategies, splits={"folds": 2, "seeds": [0]})
    called = {line: summary.plan.called(line) for line in (Line("se_gate", "zero"), Line("my sum", "zero"))}
    assert list(called.values()) == ["SE-Gate", "my sum"]
    assert summary.plan.called(Line("concat+tla", "zero")) == "Concat + TLA"
    assert summary.plan.called(Line("prevalence", "")) == "prevalence"


def test_points_are_looked_up():
    found = situation(
        {"concat": (0.8, 1), "sum": (0.81, 1)},
        {("sum", "random", 0.8): (0.02, "better")},
        best={("random", 0.8): ["sum"]},
    )
    assert [p.rate for p in found.curve(line("sum"), "random")] == [0.4, 0.8]
    assert found.ever_better(line("sum"))
    assert not found.ever_better(line("concat"))
    last = found.curve(line("sum"), "random")[-1]
    assert found.best_at(last) == [line("sum")]
    assert found.complete[line("sum")].difference == pytest.approx(0.001)
    assert found.areas[line("sum")].difference == pytest.approx(0.01)


def test_who_falls_behind_only_when_something_is_hidden():
    worse = {(name, "random", 0.8): (-0.05, "worse") for name in ("sum", "medfuse", "ehr only")}
    worse[("medfuse", "random", 0)] = (-0.02, "worse")
    found = situation(dict.fromkeys(("concat", "sum", "medfuse", "ehr only"), (0.8, 1)), worse)
    assert [p.line for p in fallen(found)] == [line("sum")]
