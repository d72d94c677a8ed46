"""How charted values become arrays: the two rule sets, as data."""

from __future__ import annotations

from dataclasses import fields

from fusionbench_plugins.tasks.mimic.tables.rules import MEDFUSE, RULE_SETS, SOUND, RuleSet
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES


def test_rule_sets_are_found_by_their_names():
    assert RULE_SETS == {"sound": SOUND, "medfuse": MEDFUSE}


def test_there_is_no_switch_in_which_the_two_agree():
    same = {f.name for f in fields(RuleSet) if getattr(SOUND, f.name) == getattr(MEDFUSE, f.name)}
    assert same == set()


def test_variables_of_the_rules_are_variables():
    known = {v.name for v in VARIABLES}
    for rules in RULE_SETS.values():
        assert {*rules.plain_numbers, *rules.text_ties, *rules.lookback} <= known
