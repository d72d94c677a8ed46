"""One document laid over another: what comes out, and where each value was given."""

from __future__ import annotations

import pytest

from fusionbench.config.document import Places, parse
from fusionbench.config.layers import Layer, lay
from fusionbench.config.reading import keeps_null


def layer(text, name):
    document, places = parse(text, lambda line: f"{name}:{line}")
    return Layer(document, Places(places))


def laid(base, over):
    return lay(layer(base, "low"), layer(over, "high"), keeps_null)


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("training: {epochs: 5, patience: 2}", "training: {epochs: 9}", {"training": {"epochs": 9, "patience": 2}}),
        ("strategies: [sum, concat]", "strategies: [lmf]", {"strategies": ["lmf"]}),
        ("task: {name: toy, rows: 5}", "task: {rows: 6}", {"task": {"name": "toy", "rows": 6}}),
        ("task: toy", "task: {rows: 6}", {"task": {"name": "toy", "rows": 6}}),
        ("task: {name: toy, rows: 5}", "task: {name: other}", {"task": {"name": "other"}}),
        ("{}", "training: {epochs: 9}", {"training": {"epochs": 9}}),
    ],
    ids=["merged", "a list is replaced", "options", "a bare name", "another plugin", "nothing below"],
)
def test_mappings_are_merged_and_everything_else_is_replaced(base, over, result):
    assert laid(base, over).document == result


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("training: {epochs: 5}", "training: {epochs: null}", {"training": {}}),
        ("{}", "robustness: null", {}),
        ("model: {width: 5}", "model: {width: null}", {"model": {"width": None}}),
        ("training: {clip: 5}", "training: {clip: null}", {"training": {"clip": None}}),
        ("encoders: {a: x, b: y}", "encoders: {b: null}", {"encoders": {"a": "x"}}),
        ("task: {name: toy, rows: 5}", "task: {rows: null}", {"task": {"name": "toy"}}),
        ("task: {name: toy}", "task: {rows: null}", {"task": {"name": "toy", "rows": None}}),
        ("demo: {training: {epochs: 5}}", "demo: {training: {epochs: null}}", {"demo": {"training": {}}}),
    ],
    ids=["key", "not below", "a value of its own", "both", "a name", "an option", "an option not below", "in a demo"],
)
def test_null_goes_back_to_the_default_unless_it_is_a_value_of_its_own(base, over, result):
    assert laid(base, over).document == result


def test_every_value_keeps_the_line_that_gave_it():
    found = laid(
        "task:\n  name: toy\n  rows: 5\nstrategies:\n  - a\n  - b\n", "task:\n  rows: 6\nstrategies:\n- c\n"
    ).places
    assert found.at(("task", "name")) == "low:2: task.name: "
    assert found.at(("task", "rows")) == "high:2: task.rows: "
    assert found.at(("strategies", 0)) == "high:4: strategies[0]: "
    assert found.at(("strategies", 1)) == "high:3: strategies[1]: ", "what is not there lies where its list does"


def test_a_part_of_a_document_keeps_the_names_of_its_keys():
    part = layer("panels:\n  one:\n    task: {rows: 6}\n", "file").below("panels").below("one")
    assert part.document == {"task": {"rows": 6}}
    assert part.places.at(("task", "rows")) == "file:3: panels.one.task.rows: "
    assert part.places.at(("task", "seed")) == "file:3: panels.one.task.seed: "


def test_documents_that_are_laid_over_each_other_stay_as_they_are():
    low, high = layer("task: {rows: 5}", "low"), layer("task: {seed: 1}", "high")
    result = lay(low, high, keeps_null)
    result.document["task"]["rows"] = 7
    assert (low.document, high.document) == ({"task": {"rows": 5}}, {"task": {"seed": 1}})
