"""Benchmark files by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fusionbench.config.reading import read_panels
from fusionbench.config.shipped import file_of, shipped_files
from fusionbench.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_every_benchmark_of_the_repository_has_a_name_and_none_is_a_common_part():
    names = [file.name for file in shipped_files()]
    assert {p.stem for p in (ROOT / "benchmarks").glob("*.yaml")} <= set(names)
    assert "omnifuse/table1" in names
    assert not any(name.endswith("common") for name in names)
    assert names.index("mimic_ihm") < names.index("medfuse/mortality_paired")


def test_a_name_leads_to_a_file_that_can_be_read():
    assert read_panels(file_of("oracle_xor")).problems == []
    assert file_of(Path("omnifuse/table1")).name == "table1.yaml"


def test_what_ends_as_a_file_or_is_there_is_a_path(tmp_path, monkeypatch):
    assert file_of("none.yaml") == Path("none.yaml")
    monkeypatch.chdir(tmp_path)
    Path("mimic_ihm").write_text("", encoding="utf-8")
    assert file_of("mimic_ihm") == Path("mimic_ihm")


def test_an_unknown_name_is_said_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'mimic_ihm'[\s\S]*'fusionbench benchmarks' shows all"):
        file_of("mimic_imh")


def test_a_distribution_whose_folder_cannot_be_found_is_named(monkeypatch):
    broken = EntryPoint("guest", "no_such_module:folder", "fusionbench.benchmarks")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [broken])
    with pytest.raises(ConfigError, match=r"entry point 'guest' of fusionbench\.benchmarks"):
        shipped_files()
