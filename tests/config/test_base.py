"""What sections are made of: a plugin by name with its options."""

from __future__ import annotations

from fusionbench.config.base import Choice
from tests.config.toy_file import GOOD, load


def test_bare_name_equals_mapping_with_name(tmp_path):
    assert load(tmp_path, GOOD) == load(tmp_path, GOOD.replace("a: identity", "a: {name: identity}"))


def test_options_are_a_copy():
    choice = Choice.model_validate({"name": "mlp", "hidden": 8})
    choice.options["hidden"] = 9
    assert choice.options == {"hidden": 8}
