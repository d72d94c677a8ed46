"""The kinds of plugins: each has a hook, and reading them imports nothing."""

from __future__ import annotations

from fusionbench import hookspecs
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import BASES, GIVEN, SINGULAR
from tests.front import python


def test_every_kind_has_a_hook_and_a_word_for_one_of_it():
    assert [kind for kind, hook in KINDS.items() if not hasattr(hookspecs, hook)] == []
    assert list(SINGULAR) == list(GIVEN) == list(KINDS)
    assert [*BASES, "observers"] == list(KINDS)


def test_reading_them_imports_nothing():
    code = "import sys; before = set(sys.modules); import fusionbench.contract.kinds; print(*set(sys.modules) - before)"
    modules = set(python(code).stdout.split()) - {"__future__"}
    assert modules == {"fusionbench", "fusionbench.contract", "fusionbench.contract.kinds"}
