"""The shipped benchmark files ask what they say they ask."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from fusionbench.config.reading import load_benchmark
from fusionbench.config.sections import Benchmark
from fusionbench.keys import DISTRIBUTION
from fusionbench.plugins.catalogue import Plugins
from tests.builders import FITTED

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
MIMIC = {"MIMIC_ROOT": "/mimic", "MIMIC_CXR_ROOT": "/cxr"}
EIGHT = ("concat", "sum", "se_gate", "g_blend", "ogm_ge", "pmr", "medfuse", "dwfuse")
WAYS = [pytest.param({}, id="demo"), pytest.param(MIMIC, id="mimic")]


def load(name: str, environ: dict[str, str]) -> Benchmark:
    return load_benchmark(FOLDER / f"{name}.yaml", (), environ)


def test_mimic_strategies_has_every_built_in_strategy():
    catalogue = {e.name for e in Plugins().catalogue("strategies") if e.distribution == DISTRIBUTION}
    # what is fitted needs frozen encoders, and this file trains one of them
    assert catalogue - {*FITTED} <= {s.name for s in load("mimic_strategies", {}).strategies}


@pytest.mark.parametrize("environ", WAYS)
def test_the_ablation_has_every_combination_and_the_control_for_hiding(environ):
    benchmark = load("omnifuse_ablation", environ)
    arms = {
        (s.name, c.name, tuple(r.name for r in s.regularisers), s.corruption.policy if s.corruption else None)
        for s in benchmark.strategies
        for c in s.imputers or ()
    }
    parts = product(("concat", "dwfuse"), ("zero", "cra", "cra_cycle"), ((), ("tla",)))
    controls = {(head, i, (), "uniform_subset") for head in ("concat", "dwfuse") for i in ("zero", "zero_input")}
    assert arms == {(*p, None) for p in parts} | controls
    assert not benchmark.tuning.own


@pytest.mark.parametrize("environ", WAYS)
def test_table_3_has_eight_methods_on_every_pair_and_on_all_three(environ):
    strategies = load("omnifuse_table3", environ).strategies
    found = [(s.name, s.modalities) for s in strategies if s.name != "unimodal"]
    subsets = [("ehr", "cxr"), ("ehr", "report"), ("cxr", "report"), None]
    assert sorted(found, key=str) == sorted(((n, s) for n in EIGHT for s in subsets), key=str)


@pytest.mark.parametrize("environ", WAYS)
def test_the_figures_differ_only_in_where_modalities_are_missing(environ):
    own = {"name", "question", "missingness"}
    figures = [load(f"omnifuse_fig{n}", environ) for n in (4, 5, 6)]
    assert [f.missingness.where for f in figures] == ["test", "train", "both"]
    first, *others = (f.model_dump(exclude=own) for f in figures)
    assert all(other == first for other in others)
    assert {f.missingness.rates for f in figures} == {(0.0, 0.2, 0.4, 0.6, 0.8)}


@pytest.mark.parametrize("name", [p.stem for p in FOLDER.glob("omnifuse_*.yaml")] + ["mimic_strategies"])
def test_on_real_data_they_read_what_mimic_ihm_reads(name):
    wanted, found = load("mimic_ihm", MIMIC), load(name, MIMIC)
    for section in ("task", "encoders", "model", "training", "evaluation"):
        assert getattr(found, section) == getattr(wanted, section), section
    assert found.splits == wanted.splits
    assert not found.is_demo
