"""The shipped benchmark files ask what they say they ask."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from fusionbench.config.reading import load_benchmark, read_panels
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
    benchmark = load("omnifuse/ablation", environ)
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
    strategies = load("omnifuse/table3", environ).strategies
    found = [(s.name, s.modalities) for s in strategies if s.name != "unimodal"]
    subsets = [("ehr", "cxr"), ("ehr", "report"), ("cxr", "report"), None]
    assert sorted(found, key=str) == sorted(((n, s) for n in EIGHT for s in subsets), key=str)


@pytest.mark.parametrize("environ", WAYS)
def test_table_4_has_the_six_rows_on_every_set(environ):
    found = {
        (s.name, tuple(r.name for r in s.regularisers), i.name, s.modalities)
        for s in load("omnifuse/table4", environ).strategies
        for i in (s.imputers or load("omnifuse/table4", environ).imputers)
    }
    rows = [("concat", (), "zero"), ("dwfuse", (), "zero"), ("dwfuse", ("tla",), "zero"), ("dwfuse", ("tla",), "cra")]
    rows += [("dwfuse", (), "cra_cycle"), ("dwfuse", ("tla",), "cra_cycle")]
    sets = [("ehr", "cxr"), ("ehr", "report"), ("cxr", "report"), None]
    assert found == {(*row, s) for row in rows for s in sets}


@pytest.mark.parametrize("environ", WAYS)
def test_the_figures_ask_what_the_paper_draws(environ):
    fig4, fig6 = load("omnifuse/fig4", environ), load("omnifuse/fig6", environ)
    assert fig4.missingness.patterns == ("ehr", "cxr", "report", "one")
    assert {fig4.missingness.where, fig6.missingness.where} == {"test"}
    assert fig4.missingness.rates == fig6.missingness.rates == (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    panels = read_panels(FOLDER / "omnifuse" / "fig5.yaml", environ=environ)
    assert {n: r.benchmark.missingness.absent for n, r in panels.readings.items()} == {
        "cxr_report": ("ehr",),
        "cxr_ehr": ("report",),
        "report_ehr": ("cxr",),
        "all": (),
    }
    with_and_without = {i.name for s in fig6.strategies if not s.corruption for i in s.imputers or ()}
    assert with_and_without == {"zero", "cra_cycle"}


@pytest.mark.parametrize("path", sorted((FOLDER / "omnifuse" / "published").glob("*.yaml")), ids=lambda p: p.stem)
def test_published_files_tune_nothing_and_differ_in_nothing_else(path):
    for environ in ({}, MIMIC):
        published = read_panels(path, environ=environ)
        tuned = read_panels(FOLDER / "omnifuse" / path.name, environ=environ)
        assert published.problems == tuned.problems == []
        for name, reading in published.readings.items():
            mine, other = reading.benchmark, tuned.readings[name].benchmark
            assert mine.tuning.trials == 0
            different = {"name", "tuning"}
            assert mine.model_dump(exclude=different) == other.model_dump(exclude=different)


@pytest.mark.parametrize("path", sorted((FOLDER / "medfuse").glob("*.yaml")), ids=lambda p: p.stem)
def test_medfuse_files_train_both_encoders_and_say_who_is_in_them(path):
    for environ in ({}, MIMIC):
        benchmark = load(f"medfuse/{path.stem}", environ)
        wanted = ["ehr", "cxr"] if "paired" in path.stem else "partial"
        assert path.stem == "common" or benchmark.task.options["cohort"] == wanted
        assert {s.modalities for s in benchmark.strategies if s.name != "unimodal"} == {("ehr", "cxr")}
        if environ:
            assert benchmark.encoders["cxr"].options["frozen"] is False
            assert (benchmark.training.batch_size, benchmark.task.options["rules"]) == (16, "medfuse")


ON_MIMIC = [
    f"omnifuse/{p.stem}" for p in (FOLDER / "omnifuse").glob("*.yaml") if p.stem[-4:] not in ("lung", "fig5", "fig7")
]
ON_MIMIC = [name for name in ON_MIMIC if not name.endswith("phenotyping")]


@pytest.mark.parametrize("name", [*ON_MIMIC, "mimic_strategies"])
def test_on_real_data_they_read_what_mimic_ihm_reads(name):
    wanted, found = load("mimic_ihm", MIMIC), load(name, MIMIC)
    for section in ("task", "encoders", "model", "evaluation"):
        assert getattr(found, section) == getattr(wanted, section), section
    own = {"keep_weights", "patience", "traces"}
    assert found.training.model_dump(exclude=own) == wanted.training.model_dump(exclude=own)
    assert found.splits == wanted.splits
    assert not found.is_demo
