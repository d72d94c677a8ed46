"""Traces: what strategies record over epochs, how well imputers imagine, and that recording changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind
from fusionbench.analysis.traces import COLUMNS
from fusionbench.store.results import PREDICTED
from fusionbench.training.loop import train
from fusionbench.training.stages.tracing import Tracing
from fusionbench_plugins.regularisers.tla import Tla
from fusionbench_plugins.strategies.dwfuse import DWFuse
from fusionbench_plugins.strategies.g_blend import GBlend
from fusionbench_plugins.strategies.ogm_ge import OgmGe
from fusionbench_plugins.strategies.pmr import Pmr
from fusionbench_plugins.strategies.se_gate import SEGate
from tests.builders import DIMS, make_member, make_model, make_rows, member_state, outcome, run_toy, settings, stored
from tests.front import fusionbench, toy_benchmark, write_yaml
from tests.front import run_toy as run_file

NAMES = ("a", "b", "c")
SPEC = FusionSpec(dict.fromkeys(NAMES, 4), 1, TargetKind.BINARY)
TRACED = {
    "ogm_ge": {"k"},
    "pmr": {"beta", "gamma"},
    "g_blend": {"head weight"},
    "dwfuse": {"weight"},
    "se_gate": {"gate"},
}


def make_batch(rows: int = 12) -> Batch:
    draw = torch.Generator().manual_seed(0)
    features = {n: torch.randn(rows, 4, generator=draw) for n in NAMES}
    present = {n: torch.rand(rows, generator=draw) > 0.3 for n in NAMES}
    return Batch(features, present, present)


TARGET = torch.tensor([0, 1] * 6)


def member(strategy, **changes):
    options = changes.pop("options", {})
    return make_member(lambda: make_model(strategy, **options), make_rows(), **changes)


# --------------------------------------------------------------------------------------------
# the values


def test_ogm_ge_records_the_factors_that_gradients_are_multiplied_by():
    strategy, batch = OgmGe(SPEC, alpha=0.8, noise=False), make_batch()
    output = strategy(batch)
    gradients = {f"project.{n}.weight": torch.ones(3, 4) for n in NAMES}
    changed = strategy.modulate(gradients, output, batch, TARGET, {})
    traces = strategy.traces(output, batch, TARGET)
    assert list(traces) == ["k.a", "k.b", "k.c"]
    assert min(traces.values()) < 1
    for n in NAMES:
        torch.testing.assert_close(changed[f"project.{n}.weight"], traces[f"k.{n}"].detach() * torch.ones(3, 4))


def test_ogm_ge_scored_alone_records_the_same_factors_in_evaluation_as_in_training():
    strategy, batch = OgmGe(SPEC, alpha=0.8, fusion="sum", score_source="only_m"), make_batch()
    in_training = strategy._k(strategy(batch), batch, TARGET)
    strategy.eval()
    recorded = strategy.traces(strategy(batch), batch, TARGET)
    for n in NAMES:
        torch.testing.assert_close(recorded[f"k.{n}"], in_training[n])


def test_pmr_records_what_its_loss_is_made_of_and_zero_once_the_terms_are_over():
    strategy, batch = Pmr(SPEC, mu=0.5), make_batch()
    for n in NAMES:
        getattr(strategy, f"prototypes_{n}").copy_(
            torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(len(n)))
        )
        getattr(strategy, f"known_{n}").fill_(value=True)
    output = strategy(batch)
    terms = {n: strategy.prototype_terms(n, batch, TARGET) for n in NAMES}
    traces = strategy.traces(output, batch, TARGET)
    more = sum(traces[f"beta.{n}"] * terms[n][0] - 0.5 * traces[f"gamma.{n}"] * terms[n][1] for n in NAMES)
    task = super(Pmr, strategy).loss(output, batch, TARGET)
    torch.testing.assert_close(strategy.loss(output, batch, TARGET), task + more)
    assert max(traces.values()) > 0
    strategy.accelerating.fill_(0)
    strategy.exploring.fill_(0)
    assert set(map(float, strategy.traces(output, batch, TARGET).values())) == {0.0}


def test_pmr_without_the_entropy_term_records_no_gamma():
    strategy, batch = Pmr(SPEC, variant="official"), make_batch()
    assert {n.partition(".")[0] for n in strategy.traces(strategy(batch), batch, TARGET)} == {"beta"}


def test_g_blend_records_the_weight_of_every_head():
    strategy, batch = GBlend(SPEC, mode="fixed", weights=[1, 2, 3, 4]), make_batch()
    traces = strategy.traces(strategy(batch), batch, TARGET)
    assert {n: pytest.approx(float(v)) for n, v in traces.items()} == {
        "head weight.a": 0.1,
        "head weight.b": 0.2,
        "head weight.c": 0.3,
        "head weight.joint": 0.4,
    }


def test_dwfuse_records_the_mean_weight_at_the_true_state_over_rows_that_have_the_modality():
    strategy, batch = DWFuse(SPEC, beta=0.7), make_batch()
    output = strategy(batch)
    traces = strategy.traces(output, batch, TARGET)
    p = {n: torch.sigmoid(output.aux[f"unimodal.{n}"])[:, 0] for n in NAMES}
    for n in NAMES:
        found = []
        for row in range(12):
            if not batch.present[n][row]:
                continue
            others = [m for m in NAMES if m != n and batch.present[m][row]]
            true = {m: p[m][row] if TARGET[row] else 1 - p[m][row] for m in others}
            weight = torch.ones(())
            for m in others:
                weight = weight * (1 - true[m]) ** (0.7 / len(others))
            found.append(weight)
        torch.testing.assert_close(traces[f"weight.{n}"], torch.stack(found).mean())


@pytest.mark.parametrize("granularity", ["channel", "modality"])
def test_se_gate_records_the_gates_that_it_multiplies_by(granularity):
    strategy, batch = SEGate(SPEC, granularity=granularity), make_batch()
    traces = strategy.traces(FusionOutput(strategy(batch)), batch, TARGET)
    ones = replace(batch, features={n: torch.ones(12, 4) for n in NAMES})
    for i, n in enumerate(NAMES):
        joined = strategy.gated(ones)[:, 4 * i : 4 * i + 4]  # gates alone, zero where absent
        mean = strategy.traces(FusionOutput(strategy(ones)), ones, TARGET)[f"gate.{n}"]
        torch.testing.assert_close(mean, joined[batch.present[n]].mean())
        assert 0 < traces[f"gate.{n}"] < 1


def test_tla_records_which_modalities_the_lazy_combinations_hold():
    part = Tla(SPEC, top=2)
    output, batch = FusionOutput(torch.zeros(12, 1)), make_batch()
    assert {n: float(v) for n, v in part.traces(output, batch, TARGET).items()} == {f"lazy.{n}": 0.0 for n in NAMES}
    part.lazy_id.copy_(torch.tensor([0b110, 0b010]))
    assert [float(part.traces(output, batch, TARGET)[f"lazy.{n}"]) for n in NAMES] == [0.0, 1.0, 0.5]


# --------------------------------------------------------------------------------------------
# the loop


@pytest.mark.parametrize("strategy", [*TRACED, "concat"])
def test_weights_are_the_same_with_and_without_traces(strategy):
    members = [member(strategy), member(strategy, seed=1, learning_rate=0.01)]
    plain, without = train(members, settings(epochs=4), "auroc")
    traced, fits = train(members, settings(epochs=4, traces=True), "auroc")
    for i in range(2):
        for name, value in member_state(plain, i).items():
            assert torch.equal(member_state(traced, i)[name], value), name
    assert [f.traces for f in without] == [None, None]
    assert [{**outcome(f), "traces": None} for f in fits] == [outcome(f) for f in without]


@pytest.mark.parametrize(("strategy", "what"), TRACED.items())
def test_there_is_one_value_for_every_epoch_that_was_trained(strategy, what):
    _, fits = train(
        [member(strategy), member(strategy, learning_rate=0.5)], settings(epochs=9, patience=2, traces=True), "auroc"
    )
    for fit in fits:
        assert {n.rpartition(".")[0] for n in fit.traces} >= what
        assert {n.rpartition(".")[2] for n in fit.traces} >= set(DIMS)
        assert {len(values) for values in fit.traces.values()} == {len(fit.history)}


@pytest.mark.parametrize("strategy", TRACED)
def test_traces_of_stacked_members_are_those_of_solo_ones(strategy):
    members = [member(strategy), member(strategy, seed=1, learning_rate=0.01)]
    _, together = train(members, settings(traces=True), "auroc")
    for one, beside in zip(members, together, strict=True):
        _, (alone,) = train([one], settings(traces=True), "auroc")
        for name, values in alone.traces.items():
            assert beside.traces[name] == pytest.approx(values, abs=1e-6), name


def test_traces_are_those_of_the_epoch_with_its_own_buffers():
    _, (fit,) = train([member("ogm_ge", options={"alpha": 0.8, "end": 0.5})], settings(epochs=4, traces=True), "auroc")
    slowed = [min(fit.traces[f"k.{n}"][epoch] for n in DIMS) < 1 for epoch in range(4)]
    assert slowed == [True, True, True, False]  # both ends of the range are included


def test_a_regulariser_is_named_by_its_place():
    made = make_member(lambda: make_model("concat", regularisers=["tla"]), make_rows())
    _, (fit,) = train([made], settings(traces=True), "auroc")
    assert list(fit.traces) == [f"regulariser.0.lazy.{n}" for n in DIMS]
    first = [fit.traces[n][0] for n in fit.traces]
    assert first == [0.0, 0.0, 0.0]  # nothing is mined before the first epoch is over
    assert sum(fit.traces[n][1] for n in fit.traces) >= 1


# --------------------------------------------------------------------------------------------
# the run


def with_traces(traces: bool, **more):
    return {"strategies": ["dwfuse", "concat"], "training": {"epochs": 2, "batch_size": 32, "traces": traces}, **more}


def test_asking_for_traces_changes_no_key_and_no_result(tmp_path):
    plain, summary = run_toy(tmp_path / "plain", **with_traces(False))
    assert len(summary.traces) == 0
    traced, with_table = run_toy(tmp_path / "traced", **with_traces(True))
    mine, theirs = stored(plain), stored(traced)
    assert list(mine) == list(theirs)
    for key in mine:
        assert mine[key].pop("traces") is None
        assert theirs[key].pop("traces") is not None
        for what in PREDICTED:
            other = theirs[key].pop(what)
            for label, values in mine[key].pop(what).items():
                assert (values == other[label]).all()
        assert mine[key] == theirs[key]
    table = with_table.traces
    assert list(table.columns) == COLUMNS
    assert set(table["strategy"]) == {"dwfuse"}
    assert len(table) == 2 * 3 * 2  # folds, modalities, epochs
    assert set(table["trained_at"]) == {"complete@0"}


def test_models_stored_without_traces_are_trained_again_once(tmp_path):
    run_toy(tmp_path, **with_traces(False))
    run, summary = run_toy(tmp_path, **with_traces(True))
    assert summary.trained == len(run.plan.fits) == 4
    _, again = run_toy(tmp_path, **with_traces(True))
    assert again.trained == 0
    pd.testing.assert_frame_equal(again.traces, summary.traces)
    _, off = run_toy(tmp_path, **with_traces(False))
    assert (off.trained, len(off.traces)) == (0, 0)


def test_trials_record_nothing_because_nobody_draws_them(tmp_path, monkeypatch):
    passes: list[str] = []
    for name in ("of_parts", "of_imputation"):
        record = getattr(Tracing, name)
        monkeypatch.setattr(Tracing, name, lambda *a, n=name, f=record: passes.append(n) or f(*a))
    strategies = [{"name": "dwfuse", "imputers": ["mean"]}]
    tuning = {"trials": 3, "common": {"learning_rate": {"low": 0.001, "high": 0.01}}}
    run_toy(tmp_path, **with_traces(True, strategies=strategies, tuning=tuning))
    # two folds are trained as one population, in two epochs
    assert passes == ["of_parts", "of_imputation"] * 2


def test_new_rates_keep_the_traces(tmp_path):
    _, before = run_toy(tmp_path, **with_traces(True))
    more = {"patterns": ["random"], "rates": [0, 0.5, 0.8]}
    run, _ = run_toy(tmp_path, **with_traces(False, missingness=more))
    traced, after = run_toy(tmp_path, **with_traces(True, missingness=more))
    assert after.trained == 0
    assert {f.key for f in run.plan.fits} == {f.key for f in traced.plan.fits}
    pd.testing.assert_frame_equal(after.traces, before.traces)


def test_the_files_hold_table_and_picture_and_lose_them_when_nothing_is_recorded(tmp_path):
    reports = tmp_path / "runs" / "reports" / "toy"
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(**with_traces(True)))
    assert run_file(config, tmp_path / "runs", "--quiet").code == 0
    assert (reports / "traces.png").read_bytes()[:4] == b"\x89PNG"
    header = (reports / "traces.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == ",".join([*COLUMNS, "synthetic", "random_weights"])
    picture = (reports / "traces.svg").read_bytes()
    assert run_file(config, tmp_path / "runs", "--quiet").code == 0
    assert (reports / "traces.svg").read_bytes() == picture
    assert run_file(config, tmp_path / "runs", "--quiet", "--set", "training.traces=false").code == 0
    assert list(reports.glob("traces.*")) == []


def test_a_value_that_is_not_a_truth_value_is_refused(tmp_path):
    config = write_yaml(tmp_path / "toy.yaml", toy_benchmark(training={"traces": "often"}))
    left = fusionbench("run", config, "--workspace", tmp_path / "runs")
    assert left.code != 0
    assert "training.traces" in left.err
