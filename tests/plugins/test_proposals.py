"""Encoders that are proposed."""

from __future__ import annotations

from fusionbench.contract.data import InputKind
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.proposals import proposed_encoders


def test_every_kind_of_input_has_one_that_reads_it_and_needs_no_weights():
    plugins = Plugins(blocked=[])
    found = proposed_encoders(plugins)
    assert set(found) == set(InputKind.__args__)
    for kind, name in found.items():
        target = plugins.get("encoders", name).target
        assert kind in target.accepts
        assert target.weights == "none"
