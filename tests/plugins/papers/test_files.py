"""Benchmark files of papers are found in the repository, and beside the package where it is installed."""

from __future__ import annotations

from pathlib import Path

from fusionbench_plugins.papers import _files

ROOT = Path(__file__).resolve().parents[3]


def test_in_the_repository_they_are_its_benchmarks():
    assert _files.benchmarks() == ROOT / "benchmarks"


def test_where_they_are_shipped_they_lie_in_the_package(tmp_path, monkeypatch):
    module = tmp_path / "site" / "fusionbench_plugins" / "papers" / "_files.py"
    (module.parents[1] / "benchmarks").mkdir(parents=True)
    monkeypatch.setattr(_files, "__file__", str(module))
    assert _files.benchmarks() == module.parents[1] / "benchmarks"
