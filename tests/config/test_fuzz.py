"""Benchmark files that were spoilt at random: accepted and read as they say, or refused in sentences; never a traceback."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from fusionbench.config.reading import load_benchmark
from fusionbench.errors import ConfigError
from tests.config.fuzz import written
from tests.front import TOY, fusionbench

SECTIONS = ("model", "splits", "missingness", "training", "tuning", "evaluation", "tracking")


def examine(seed: int, folder: Any) -> str:
    """Check one file as the command line does; return what came of it."""
    path = folder / f"{seed}.yaml"
    path.write_text(written(seed), encoding="utf-8")
    outcome = fusionbench("check", path, "-p", TOY)  # anything but an error for users would be raised here
    assert outcome.code in (0, 2), seed
    if outcome.code == 2:
        assert outcome.err.startswith("error: "), (seed, outcome.err)
        assert len(outcome.err) < 20_000, seed
        outcome.err.encode()
        return "refused"
    try:
        benchmark = load_benchmark(path).model_dump()
    except ConfigError as problem:
        raise AssertionError(f"{seed}: accepted, and then not: {problem}") from None
    says_what_was_written(yaml.safe_load(path.read_text(encoding="utf-8")), benchmark, seed)
    if benchmark["task"]["name"] == "toy" and size(benchmark) < 5000:
        planned = fusionbench("run", path, "-p", TOY, "--dry-run", "--quiet", "--workspace", folder / "ws")
        assert planned.code in (0, 2), (seed, planned.err)
        return "planned" if planned.code == 0 else "refused with the data"
    return "accepted"


def size(benchmark: dict[str, Any]) -> int:
    """How many models a benchmark has, or more."""
    splits, missingness = benchmark["splits"], benchmark["missingness"]
    conditions = len(missingness["patterns"]) * len(missingness["rates"]) ** 2
    return splits["folds"] * len(splits["seeds"]) * conditions * len(benchmark["strategies"])


def says_what_was_written(document: dict[str, Any], benchmark: dict[str, Any], seed: int) -> None:
    """Every single value of a section that is not a text with variables is the value that is used."""
    if "demo" in document:
        return  # it lies over the others
    for section in SECTIONS:
        for key, value in (document.get(section) or {}).items():
            if isinstance(value, int | float | bool) or (isinstance(value, str) and "$" not in value):
                used = benchmark[section][key]
                used = used["name"] if isinstance(used, dict) else used
                assert used == value or str(used) == str(value) or float(used) == float(value), (seed, section, key)


def test_a_few_spoilt_files_are_read_or_refused(tmp_path):
    found = [examine(seed, tmp_path) for seed in range(40)]
    assert {"planned", "refused"} <= set(found)


@pytest.mark.slow  # two thousand files, each read as the command line does: minutes
def test_two_thousand_spoilt_files_are_read_or_refused(tmp_path):
    found = [examine(seed, tmp_path) for seed in range(2000)]
    assert found.count("planned") > 50
    assert found.count("refused") > 1000
