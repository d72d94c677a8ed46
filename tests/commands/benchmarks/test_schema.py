"""fusionbench schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fusionbench.commands.benchmarks.schema import schema
from fusionbench.plugins.catalogue import Plugins
from tests.front import TOY, fusionbench

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "benchmarks").rglob("*.yaml"))
WHOLE = {"name": "x", "task": "planted", "encoders": {"first": "identity"}, "strategies": ["concat"]}


@pytest.fixture(scope="module")
def validator():
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema (pip install jsonschema)")
    found = schema(Plugins())
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_file_of_the_repository_is_valid(validator, path):
    assert [e.message for e in validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"strategies": ["conct"]}, False),
        ({"strategies": [{"name": "dwfuse", "nope": 1}]}, False),
        ({"strategies": [{"name": "ogm_ge", "alpha": 0.3, "label": "x", "corruption": {"policy": "bernoulli"}}]}, True),
        ({"strategies": [{"name": "ogm_ge", "alpha": "much"}]}, False),
        ({"strategies": [{"name": "ogm_ge", "apply": "sometimes"}]}, False),
        ({"training": {"epoch": 1}}, False),
        ({"training": {"epochs": "many"}}, False),
        ({"missingness": {"mechanism": {"name": "mnar", "strength": 0.8}}}, True),
        ({"missingness": {"mechanism": "mnra"}}, False),
        ({"observers": [{"name": "html", "siunitx": True}]}, True),
        ({"is_demo": True}, False),
    ],
)
def test_mistakes_are_seen_by_an_editor(validator, changes, valid):
    assert validator.is_valid({**WHOLE, **changes}) is valid


def test_a_file_that_says_too_little_is_not_valid_and_a_child_is(validator):
    assert not validator.is_valid({"name": "x"})
    assert validator.is_valid({"name": "x", "extends": "mimic_ihm.yaml"})


def test_it_is_printed_and_written_and_knows_guests(tmp_path):
    printed = fusionbench("schema", "-p", TOY)
    assert printed.code == 0
    names = [n["const"] for n in json.loads(printed.out)["$defs"]["plugin_tasks"]["anyOf"][0]["anyOf"]]
    assert {"toy", "planted"} <= set(names)
    written = fusionbench("schema", "-o", tmp_path / "s.json")
    assert "# yaml-language-server: $schema=" in written.out
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["title"]
    assert fusionbench("schema", "-o", tmp_path / "no" / "s.json").code == 2
