"""One file, several benchmarks: panels, grids, and what is said of their mistakes."""

from __future__ import annotations

import pytest

from fusionbench.config.reading import load_benchmark, read_panels
from fusionbench.errors import ConfigError
from tests.config.toy_file import GOOD

PANELS = (
    GOOD.replace("name: toy  # line 1", "name: toy\ntitle: Toys\nquestion: Which?")
    + """\
panels:
  few:
    title: Few rows
    task: {rows: 60}
  many:
    training: {epochs: 3}
"""
)


def read(tmp_path, text, *assignments, wanted=()):
    path = tmp_path / "b.yaml"
    path.write_text(text, encoding="utf-8")
    return read_panels(path, assignments, {}, wanted)


def said(tmp_path, text, *assignments, wanted=()):
    try:
        found = read(tmp_path, text, *assignments, wanted=wanted).problems
    except ConfigError as problem:
        found = problem.problems
    return [p.replace(str(tmp_path / "b.yaml"), "b.yaml") for p in found]


def test_every_panel_is_a_benchmark_of_its_own(tmp_path):
    found = read(tmp_path, PANELS)
    assert (found.problems, found.suite.panels, found.suite.title) == ([], ("few", "many"), "Toys")
    few, many = (found.readings[name].benchmark for name in ("few", "many"))
    assert (few.name, few.title, few.question, few.task.options) == ("toy-few", "Few rows", "Which?", {"rows": 60})
    assert (many.name, many.title, many.task.options, many.training.epochs) == ("toy-many", "", {"rows": 120}, 3)
    assert few.strategies == many.strategies


def test_a_file_without_panels_is_one_benchmark(tmp_path):
    found = read(tmp_path, GOOD)
    assert (found.suite.panels, list(found.readings)) == ((), [""])
    assert said(tmp_path, GOOD, wanted=["few"]) == ["--panel few: this file has no panels; leave --panel out"]


def test_one_panel_can_be_read_alone(tmp_path):
    assert list(read(tmp_path, PANELS, wanted=["many"]).readings) == ["many"]
    assert said(tmp_path, PANELS, wanted=["man"]) == [
        "--panel man: this file has no such panel; did you mean 'many'?\n  panels: few, many"
    ]


def test_who_asks_for_one_benchmark_is_told_of_the_panels(tmp_path):
    (tmp_path / "b.yaml").write_text(PANELS, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has panels \(few, many\)"):
        load_benchmark(tmp_path / "b.yaml", (), {})


@pytest.mark.parametrize(
    ("assignment", "few", "many"),
    [("training.epochs=7", 7, 7), ("panels.few.training.epochs=7", 7, 3), ("training={epochs: 7}", 7, 7)],
)
def test_set_changes_all_panels_or_one(tmp_path, assignment, few, many):
    found = read(tmp_path, PANELS, assignment)
    assert found.problems == []
    assert found.readings["few"].benchmark.training.epochs == few
    assert found.readings["many"].benchmark.training.epochs == many


def test_set_names_the_whole_file(tmp_path):
    found = read(tmp_path, PANELS, "name=other", "title=Others")
    assert (found.suite.name, found.suite.title) == ("other", "Others")
    assert found.readings["few"].benchmark.name == "other-few"
    assert found.readings["many"].benchmark.title == ""


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("{rows: 60}", "{rows: 60}\n    epochs: 3", "b.yaml:18: panels.few.epochs: unknown key"),
        ("{epochs: 3}", "{epoch: 3}", "b.yaml:19: panels.many.training.epoch: unknown key; did you mean 'epochs'?"),
        (
            "{rows: 60}",
            "{rows: 60}\n    name: x",
            "b.yaml:18: panels.few.name: a panel is named by its own key; leave 'name' out",
        ),
        (
            "{rows: 60}",
            "{rows: 60}\n    panels: {}",
            "b.yaml:18: panels.few.panels: 'panels' stands at the top of the file only",
        ),
        (
            "  many:\n    training: {epochs: 3}",
            "  many: 5",
            "b.yaml:18: panels.many: expected a mapping with the keys that differ",
        ),
        ("  many:", "  ma ny:", "b.yaml:18: panels.ma ny: a panel's name begins with a letter or digit"),
        ("rates: [0, 0.5]", "rates: [0, 5]", "b.yaml:13: missingness.rates[1]: must be less than 1, found 5"),
    ],
    ids=["unknown key", "unknown below", "name", "panels", "no mapping", "name of a panel", "common, once"],
)
def test_a_mistake_names_panel_key_and_line(tmp_path, before, after, problem):
    assert before in PANELS
    found = said(tmp_path, PANELS.replace(before, after, 1))
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_what_every_panel_lacks_is_said_of_each(tmp_path):
    text = PANELS.replace("encoders:\n  a: identity\n  b: {name: mlp, hidden: 8}\n", "")
    assert said(tmp_path, text) == [
        "b.yaml:12: panels.few: 'encoders' is missing",
        "b.yaml:15: panels.many: 'encoders' is missing",
    ]


def test_a_mistake_that_only_some_panels_make_of_common_keys_names_them(tmp_path):
    text = PANELS.replace("{epochs: 3}", "{optimiser: sgd}").replace(
        "missingness:", "tuning: {common: {weight_decay: {low: 0, high: 30}}}\nmissingness:", 1
    )
    (found,) = said(tmp_path, text)
    assert found.startswith("b.yaml:19: panels.many: tuning.common.weight_decay: sgd adds decay")


@pytest.mark.parametrize("panels", ["panels: {}", "panels: [a]", "panels:"])
def test_panels_that_are_none(tmp_path, panels):
    (found,) = said(tmp_path, GOOD + panels + "\n")
    assert found.startswith("b.yaml:12: panels: expected a mapping of names to what is different in each panel")


# ---------------------------------------------------------------- grids


def test_a_grid_makes_a_panel_of_each_combination(tmp_path):
    found = read(tmp_path, GOOD + "grid: {task.rows: [60, 80], training.epochs: [2, 3]}\n")
    assert found.problems == []
    assert found.suite.panels == ("rows_60-epochs_2", "rows_60-epochs_3", "rows_80-epochs_2", "rows_80-epochs_3")
    last = found.readings["rows_80-epochs_3"].benchmark
    assert (last.name, last.task.options["rows"], last.training.epochs) == ("toy-rows_80-epochs_3", 80, 3)


def test_a_file_with_only_a_grid_says_what_it_sets_in_each_panel(tmp_path):
    found = read(tmp_path, GOOD + "grid: {task.rows: [60, 80], training.epochs: [2]}\n")
    assert found.suite.grid == {
        "rows_60-epochs_2": {"rows": 60, "epochs": 2},
        "rows_80-epochs_2": {"rows": 80, "epochs": 2},
    }
    assert (
        read(tmp_path, PANELS + "grid: {training.epochs: [2]}\n").suite.grid == {}
    )  # panels differ in other things too
    assert read(tmp_path, PANELS).suite.grid == {}


def test_a_message_names_the_first_of_many_panels(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(GOOD + f"grid: {{task.rows: {list(range(60, 90))}}}\n", encoding="utf-8")
    for wrong in (lambda: load_benchmark(path, (), {}), lambda: read_panels(path, (), {}, ["rows_7"])):
        with pytest.raises(ConfigError, match=r"rows_60, .*rows_69 and 20 more"):
            wrong()


def test_a_grid_is_laid_over_every_panel(tmp_path):
    found = read(tmp_path, PANELS + "grid: {training.epochs: [2]}\n")
    assert found.suite.panels == ("few-epochs_2", "many-epochs_2")
    assert found.readings["many-epochs_2"].benchmark.training.epochs == 2
    assert found.readings["few-epochs_2"].benchmark.title == "Few rows"


def test_keys_of_a_grid_that_end_alike_are_told_apart(tmp_path):
    found = read(
        tmp_path,
        GOOD + "grid: {task.options.rate: [0], training.rate: [1]}\n",
        wanted=["options.rate_0-training.rate_1"],
    )
    assert len(found.suite.panels) == 1


@pytest.mark.parametrize(
    ("grid", "problem"),
    [
        ("{}", "b.yaml:12: grid: expected a mapping of keys to lists of values"),
        ("{task.rows: 5}", "b.yaml:12: grid.task.rows: expected a list of values"),
        ("{task.rows: []}", "b.yaml:12: grid.task.rows: expected a list of values"),
        ("{task..rows: [5]}", "b.yaml:12: grid.task..rows: expected a key of the benchmark with dots"),
        ("{name: [a]}", "b.yaml:12: grid.name: expected a key of the benchmark with dots"),
        ("{task.rows: [5, 5]}", "b.yaml:12: grid.task.rows: 5 is given twice"),
        ("{task.rows: [[5]]}", "b.yaml:12: grid.task.rows: values are numbers, true, false or plain words"),
        (f"{{task.rows: {list(range(1, 400))}}}", "b.yaml:12: grid: makes 399 panels; 300 at most"),
        (
            "{training.epochs: [2, 0]}",
            "b.yaml:12: training.epochs: must be greater than or equal to 1, found 0 (in panel epochs_0)",
        ),
    ],
)
def test_a_mistake_in_a_grid(tmp_path, grid, problem):
    (found,) = said(tmp_path, GOOD + f"grid: {grid}\n")
    assert found.startswith(problem)
