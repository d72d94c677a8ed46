"""Benchmark files that extend others: what they say, what they inherit, and what is said of their mistakes."""

from __future__ import annotations

import pytest

from fusionbench.config.reading import load_benchmark, read_benchmark, read_panels
from fusionbench.errors import ConfigError
from tests.config.toy_file import GOOD

DEMO = """\
demo:
  unless_set: REAL_DATA
  task: {rows: 40}
  training: {epochs: 2, batch_size: 8}
"""


@pytest.fixture
def write(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    return write


def said(path, *assignments, folder, **environ):
    with pytest.raises(ConfigError) as caught:
        read_benchmark(path, assignments, environ)
    return [p.replace(f"{folder}/", "") for p in caught.value.problems]


def test_a_child_says_what_differs(write):
    child = write(parent=GOOD, child="extends: parent.yaml\nname: child\ntask: {rows: 50}\nstrategies: [sum]\n")
    found, parent = load_benchmark(child, environ={}), load_benchmark(child.with_name("parent.yaml"), environ={})
    assert (found.name, found.task.options["rows"]) == ("child", 50)
    assert [s.name for s in found.strategies] == ["sum"]
    assert (found.encoders, found.missingness) == (parent.encoders, parent.missingness)


def test_a_parent_lies_beside_the_file_that_names_it(write, monkeypatch, tmp_path):
    child = write(common__parent=GOOD, own__child="extends: ../common/parent.yaml\nname: child\n")
    monkeypatch.chdir(tmp_path / "common")
    assert load_benchmark(child, environ={}).task.name == "toy"


def test_grandparents_count(write):
    child = write(
        old=GOOD,
        middle="extends: old.yaml\nname: middle\ntraining: {epochs: 7}\n",
        new="extends: middle.yaml\nname: new\n",
    )
    assert load_benchmark(child, environ={}).training.epochs == 7


def test_a_child_holds_in_the_demo_too_unless_its_own_demo_says_otherwise(write):
    parent = GOOD + "training: {epochs: 50, batch_size: 32, patience: 5}\n" + DEMO
    child = write(parent=parent, child="extends: parent.yaml\nname: child\ntraining: {epochs: 9}\n")
    demo, real = (load_benchmark(child, environ=e) for e in ({}, {"REAL_DATA": "/data"}))
    assert (demo.is_demo, demo.task.options["rows"], demo.training.batch_size) == (True, 40, 8)
    assert (real.is_demo, real.task.options["rows"], real.training.batch_size) == (False, 120, 32)
    assert (demo.training.epochs, real.training.epochs) == (9, 9)
    with_demo = write(
        other="extends: child.yaml\nname: other\ndemo: {training: {epochs: 1}}\n"
    )  # its variable: the parent's
    assert load_benchmark(with_demo, environ={}).training.epochs == 1
    assert load_benchmark(with_demo, environ={"REAL_DATA": "x"}).training.epochs == 9


def test_a_child_with_a_variable_of_its_own(write):
    child = write(
        parent=GOOD + DEMO,
        child="extends: parent.yaml\nname: child\ndemo: {unless_set: OTHER, training: {epochs: 1}}\n",
    )
    found = {
        name: load_benchmark(child, environ=environ)
        for name, environ in {"none": {}, "real": {"REAL_DATA": "x"}, "other": {"OTHER": "x"}}.items()
    }
    assert {n: (b.is_demo, b.training.epochs, b.task.options["rows"]) for n, b in found.items()} == {
        "none": (True, 1, 40),
        "real": (True, 1, 120),
        "other": (True, 2, 40),
    }


def test_panels_of_a_child_and_of_a_parent(write):
    parent = GOOD + "panels:\n  few: {task: {rows: 60}, title: Few}\n  many: {task: {rows: 600}}\n" + DEMO
    child = write(
        parent=parent,
        child="extends: parent.yaml\nname: child\ntraining: {epochs: 4}\npanels: {few: {splits: {folds: 3}}, new: {}}\n",
    )
    found = read_panels(child, environ={"REAL_DATA": "x"})
    assert (found.problems, found.suite.panels) == ([], ("few", "many", "new"))
    panels = {name: reading.benchmark for name, reading in found.readings.items()}
    assert {
        n: (b.name, b.title, b.task.options["rows"], b.training.epochs, b.splits.folds) for n, b in panels.items()
    } == {
        "few": ("child-few", "Few", 60, 4, 3),
        "many": ("child-many", "", 600, 4, 5),
        "new": ("child-new", "", 120, 4, 5),
    }
    demo = read_panels(child, environ={}).readings
    assert {n: (r.benchmark.task.options["rows"], r.benchmark.training.epochs) for n, r in demo.items()} == {
        "few": (40, 4),  # a file's demo lies over its panels, and its child over both
        "many": (40, 4),
        "new": (40, 4),
    }
    changed = read_panels(child, ["panels.many.task.rows=7", "task.rows=8"], {"REAL_DATA": "x"}, wanted=["many"])
    assert changed.readings["many"].benchmark.task.options["rows"] == 8
    changed = read_panels(child, ["panels.many.task.rows=7"], {"REAL_DATA": "x"}, wanted=["many"])
    assert changed.readings["many"].benchmark.task.options["rows"] == 7


def test_a_grid_of_the_parent_makes_the_panels_of_the_child(write):
    child = write(
        parent=GOOD + "grid: {task.rows: [40, 80]}\n",
        child="extends: parent.yaml\nname: child\ntraining: {epochs: 2}\n",
    )
    found = read_panels(child, environ={})
    assert (found.suite.panels, found.problems) == (("rows_40", "rows_80"), [])
    assert found.suite.grid["rows_80"] == {"rows": 80}
    assert [r.benchmark.task.options["rows"] for r in found.readings.values()] == [40, 80]
    twice = write(twice="extends: parent.yaml\nname: twice\ngrid: {training.epochs: [1, 2]}\n")
    assert "the file that is extended has panels already" in read_panels(twice, environ={}).problems[0]


def test_expectations_are_of_one_run(write):
    expect = "expect: [{says: concat wins, better: concat, than: sum}]\n"
    child = write(parent=GOOD + expect, child="extends: parent.yaml\nname: child\n")
    assert load_benchmark(child.with_name("parent.yaml"), environ={}).expect
    assert load_benchmark(child, environ={}).expect == ()


def test_problems_name_both_files(write, tmp_path):
    parent = GOOD.replace("rates: [0, 0.5]", "rates: [0, 5]")
    child = write(parent=parent, child="extends: parent.yaml\nname: child\ntrainng: {}\ntraining: {epochs: -1}\n")
    found = said(child, folder=tmp_path)
    assert any(p.startswith("parent.yaml:11 (extended by child.yaml:1): missingness.rates[1]: ") for p in found)
    assert any(p.startswith("child.yaml:3: trainng: unknown key; did you mean 'training'?") for p in found)
    assert any(p.startswith("child.yaml:4: training.epochs: ") for p in found)
    grandchild = write(last="extends: child.yaml\nname: last\n")
    found = said(grandchild, folder=tmp_path)
    assert any(p.startswith("parent.yaml:11 (extended by child.yaml:1): ") for p in found)
    assert any(p.startswith("child.yaml:4 (extended by last.yaml:1): training.epochs") for p in found)


@pytest.mark.parametrize(
    ("extends", "words"),
    [
        ("parnt.yaml", "parnt.yaml: no such file; did you mean 'parent.yaml'? (extended by child.yaml:1)"),
        ("[parent.yaml, other.yaml]", "child.yaml:1: extends: expected the path of another benchmark file, "),
        ("''", "child.yaml:1: extends: expected the path of another benchmark file, "),
        ("null", "child.yaml:1: extends: expected the path of another benchmark file, "),
        (".", "child.yaml:1: extends: '.' is a folder; name a benchmark file in it"),
        ("child.yaml", "child.yaml:1: extends: a circle: child.yaml extends child.yaml; one of them must stop"),
        (
            "loop.yaml",
            "loop.yaml:1 (extended by child.yaml:1): extends: a circle: child.yaml extends loop.yaml extends child.yaml",
        ),
        ("broken.yaml", "broken.yaml:2: not valid YAML: "),
        ("list.yaml", "list.yaml: a benchmark file holds a mapping"),
    ],
)
def test_what_cannot_be_extended(write, tmp_path, extends, words):
    child = write(
        parent=GOOD,
        loop="extends: ./child.yaml\nname: loop\n",
        broken="name: x\n: : [\n",
        list="[1, 2]\n",
        child=f"extends: {extends}\nname: child\n",
    )
    found = said(child, folder=tmp_path)
    assert len(found) == 1
    assert found[0].startswith(words)
    assert "child.yaml:1" in found[0]


def test_a_child_has_a_name_of_its_own(write, tmp_path):
    child = write(parent=GOOD, child="extends: parent.yaml\ntraining: {epochs: 0}\n")
    found = said(child, folder=tmp_path)
    assert found[0].startswith("child.yaml:1: 'name' is missing: child.yaml extends another file, whose name is 'toy'")
    assert any("training.epochs" in p for p in found)  # and everything else at once


def test_a_long_line_of_parents_ends(write, tmp_path):
    files = {f"f{i}": f"extends: f{i + 1}.yaml\nname: f{i}\n" for i in range(40)}
    child = write(**{"f40": GOOD, **files}).with_name("f0.yaml")
    assert any("more than 16 files extend one another" in p for p in said(child, folder=tmp_path))


def test_what_is_read_before_set_is_not_set(write, tmp_path):
    child = write(parent=GOOD, child="extends: parent.yaml\nname: child\n")
    assert said(child, "extends=other.yaml", folder=tmp_path)[0].startswith(
        "--set extends=other.yaml: 'extends' is read before"
    )
    assert said(child, "demo.unless_set=X", folder=tmp_path)[0].startswith(
        "--set demo.unless_set=X: 'demo' is read before"
    )


def test_the_merged_document_is_a_benchmark_itself(write):
    from yaml import safe_dump

    child = write(parent=GOOD + DEMO, child="extends: parent.yaml\nname: child\ntask: {rows: 50}\n")
    document = dict(read_panels(child, environ={}).readings[""].document)
    assert document.pop("is_demo") is True
    again = write(again=safe_dump(document))
    same = load_benchmark(again, environ={})
    assert same == load_benchmark(child, environ={}).model_copy(update={"is_demo": False})
