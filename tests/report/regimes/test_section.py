"""The section that places a run on the map: what it says, where it is silent, what it warns of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fusionbench.contract.blocks import Picture, Table, Text
from fusionbench.keys import PROTOCOL_VERSION
from fusionbench.report.regimes import section
from fusionbench.report.regimes.section import packaged, place_on_map
from tests.analysis.regimes.test_charted import small_map
from tests.analysis.regimes.test_placing import folds_of


def with_readings(summary, aurocs):
    """The summary with other readings: ``[folds, 7]`` of three modalities."""
    subsets = ["a", "b", "a+b", "c", "a+c", "b+c", "a+b+c"]
    rows = [
        {
            "subset": subset,
            "fold": fold,
            "strategy": "s",
            "imputer": "zero",
            "variant": "",
            "auroc": row[i],
            "ceiling": np.nan,
        }
        for i, subset in enumerate(subsets)
        for fold, row in enumerate(aurocs)
    ]
    return replace(summary, tables=replace(summary.tables, readings=pd.DataFrame(rows)))


def words_of(found):
    texts = [b for b in found.every() if isinstance(b, Text)]
    return " ".join(" ".join([t.words, *t.points]) for t in texts)


@pytest.fixture
def led(summary):
    """One modality leads, the others say little and apart."""
    return with_readings(summary, folds_of([1.4, 0.05, 1.45, 0.05, 1.45, 0.1, 1.5], 0.01))


def test_a_run_is_placed_with_intervals(led, undrawn):
    found = place_on_map(led)
    measures, modalities, possible = [b for b in found.every() if isinstance(b, Table)]
    assert [row[0] for row in measures.rows] == ["dominance", "redundancy", "synergy"]
    assert measures.rows[0][1].startswith(".9")
    assert "[" in measures.rows[0][1]
    assert [row[0] for row in modalities.rows] == ["a", "b", "c", "all together"]
    assert modalities.rows[0][3] == "93 %"
    assert {row[0] for row in possible.rows} == set(packaged().lines)
    assert len(possible.columns) == 1 + len(packaged().rates)
    said = words_of(found)
    assert "swept regimes" in said
    assert "These data have 3 modalities" in said
    assert packaged().made.command in said
    assert any(isinstance(b, Picture) for b in found.every())


def test_the_nearest_regime_decides_what_could_be_the_best(led, undrawn, monkeypatch):
    monkeypatch.setattr(section, "packaged", small_map)
    found = place_on_map(led)
    assert "imbalance 1, synergy 0 (100 %)" in words_of(found)
    possible = [b for b in found.every() if isinstance(b, Table)][-1]
    rows = {row[0]: list(row[1:]) for row in possible.rows}
    assert rows == {"concat": ["100 %", "-"], "sum": ["100 %", "100 %"], "pmr": ["100 %", "-"]}
    assert possible.rows[0][0] == "sum"


def test_data_unlike_every_regime_are_said_to_be(summary, undrawn, monkeypatch):
    monkeypatch.setattr(section, "packaged", small_map)
    apart = with_readings(summary, folds_of([0.01, 0.01, 0.02, 0.01, 0.02, 0.02, 1.5], 0.001))
    assert "No swept regime is like these data" in words_of(place_on_map(apart))


def test_a_map_of_an_older_protocol_is_said_to_be_one(led, undrawn, monkeypatch):
    monkeypatch.setattr(section, "packaged", lambda: small_map(protocol=PROTOCOL_VERSION - 1))
    assert f"The map is older than this version, which computes under protocol {PROTOCOL_VERSION}" in words_of(
        place_on_map(led)
    )
    monkeypatch.setattr(section, "packaged", small_map)
    assert "older" not in words_of(place_on_map(led))


def test_too_little_information_is_not_placed(summary, undrawn):
    weak = with_readings(summary, folds_of([0.01] * 7, 0.001))
    found = place_on_map(weak)
    assert "too little" in words_of(found)
    assert not [b for b in found.every() if isinstance(b, Table)]


def test_without_subsets_there_is_no_section(summary):
    assert place_on_map(replace(summary, tables=replace(summary.tables, readings=summary.tables.readings[:0]))) is None


def test_the_packaged_map_is_whole_and_of_this_protocol():
    """After a change of the protocol: run benchmarks/regimes.yaml, then benchmarks/oracles/regimes.py."""
    charted = packaged()
    assert not charted.older
    assert charted.planted
    assert charted.metric == "auroc"
    assert all(len(regime.place) == 3 for regime in charted.regimes)
    assert charted.dials == ("imbalance", "redundancy", "synergy")
    assert len(charted.regimes) == np.prod([len({r.dials[i] for r in charted.regimes}) for i in range(3)])
    assert (charted.possible.sum(axis=2) >= 1).all()  # somebody is
    assert charted.made.version
