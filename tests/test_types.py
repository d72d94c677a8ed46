"""The name under which plugins import the whole contract."""

from __future__ import annotations

import importlib

import pytest

from fusionbench import types
from fusionbench.contract import batch, data, learners, mechanism, stages


def test_types_offers_the_contract_itself():
    face, front = importlib.import_module("fusionbench.types"), importlib.import_module("fusionbench")
    assert [n for n in front.__all__ if hasattr(face, n) and getattr(face, n) is not getattr(front, n)] == []


@pytest.mark.parametrize("module", [batch, data, learners, mechanism, stages], ids=lambda m: m.__name__)
def test_every_class_of_the_contract_can_be_imported_from_here(module):
    own = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
    assert own
    assert [n for n in own if not n.startswith("_") and getattr(types, n, None) is not getattr(module, n)] == []


def test_nothing_else_is_offered_than_is_there():
    assert [n for n in types.__all__ if not hasattr(types, n)] == []
    assert len(set(types.__all__)) == len(types.__all__)
