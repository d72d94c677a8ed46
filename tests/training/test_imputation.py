"""How well imputers imagine: what is recorded of it, and that recording changes nothing."""

from __future__ import annotations

import pytest
import torch

from fusionbench.training.imputation import TRACE, error_sums
from fusionbench.training.loop import train
from fusionbench.training.model import Imagined, View
from tests.analysis.test_traces import with_traces
from tests.builders import DIMS, ROWS, make_member, make_model, make_rows, member_state, outcome, run_toy, settings

FILLING = ("mean", "learned", "zero_input", "cra", "cra_cycle")


def filled_by(imputer, **changes):
    return make_member(lambda: make_model("concat", imputer), make_rows(), **changes)


def errors(fit):
    """By modality, the relative error of every epoch."""
    return {n.removeprefix(f"{TRACE}."): v for n, v in fit.traces.items() if n.startswith(TRACE)}


@pytest.mark.parametrize("imputer", ["mean", "cra"])
def test_the_relative_error_of_imputed_embeddings_is_that_of_a_plain_loop_over_validation_rows(imputer):
    one = filled_by(imputer)
    population, (fit,) = train([one], settings(epochs=1, traces=True), "auroc")
    model = population.template
    model.load_state_dict({n: t[0] for n, t in population.snapshot().items()}, strict=False)
    model.eval()
    columns = list(DIMS)
    for c, name in enumerate(columns):
        true, filled = [], []
        for row in one.validation.tolist():
            has = one.table.available[row]
            if not has[c] or has.sum() < 2:
                continue
            hidden = has.clone()
            hidden[c] = False
            with torch.no_grad():
                view = population.view(torch.tensor([[row]]), hidden[None, None])
                alone = View(
                    *({n: t[0] for n, t in part.items()} for part in view[:2]), view.present[0], view.available[0]
                )
                true.append(model.project[name](alone.encoded[name])[0])
                filled.append(model.complete(alone).features[name][0])
        truth, made = torch.stack(true).double(), torch.stack(filled).double()
        error = (made - truth).square().sum(dim=1).mean() / (truth - truth.mean(dim=0)).square().sum(dim=1).mean()
        assert errors(fit)[name] == [pytest.approx(float(error), rel=1e-5)]


def test_relative_error_is_zero_for_the_truth_one_for_the_mean_and_nothing_where_all_are_alike():
    draw = torch.Generator().manual_seed(0)
    true, rows = torch.randn(3, 50, 4, generator=draw) + 7, torch.rand(3, 50, generator=draw) > 0.3
    mean = torch.stack([t[r].mean(dim=0).expand(50, 4) for t, r in zip(true, rows, strict=True)])
    counted = torch.ones(3, 50, dtype=torch.bool)
    found = [error_sums(Imagined(true, filled, rows), counted).relative_error() for filled in (true, mean)]
    torch.testing.assert_close(found[0], torch.zeros(3).double())
    torch.testing.assert_close(found[1], torch.ones(3).double(), rtol=1e-5, atol=0)
    assert error_sums(Imagined(torch.ones_like(true), mean, rows), counted).relative_error().isnan().all()
    assert error_sums(Imagined(true, mean, rows & False), counted).relative_error().isnan().all()


def test_sums_over_parts_are_those_over_all_and_rows_that_do_not_count_may_hold_anything():
    draw = torch.Generator().manual_seed(0)
    true, filled = torch.randn(2, 2, 30, 4, generator=draw)
    rows = torch.rand(2, 30, generator=draw) > 0.3
    counted = torch.ones(2, 30, dtype=torch.bool)
    whole = error_sums(Imagined(true, filled, rows), counted)
    parts = [Imagined(true[:, p], filled[:, p], rows[:, p]) for p in (slice(0, 11), slice(11, 30))]
    added = error_sums(parts[0], counted[:, :11]).plus(error_sums(parts[1], counted[:, 11:]))
    torch.testing.assert_close(added.relative_error(), whole.relative_error())
    spoilt = filled.masked_fill(~rows[..., None], torch.nan)
    torch.testing.assert_close(
        error_sums(Imagined(true, spoilt, rows), counted).relative_error(), whole.relative_error()
    )


@pytest.mark.parametrize("imputer", FILLING)
def test_recording_imputation_changes_no_weight_and_stacked_models_record_what_solo_ones_do(imputer):
    members = [filled_by(imputer), filled_by(imputer, seed=1, learning_rate=0.01, validation=20)]
    plain, without = train(members, settings(epochs=4, patience=2), "auroc")
    traced, fits = train(members, settings(epochs=4, patience=2, traces=True), "auroc")
    for i in range(2):
        for name, value in member_state(plain, i).items():
            assert torch.equal(member_state(traced, i)[name], value), name
    assert [{**outcome(f), "traces": None} for f in fits] == [outcome(f) for f in without]
    for one, beside in zip(members, fits, strict=True):
        _, (alone,) = train([one], settings(epochs=4, patience=2, traces=True), "auroc")
        assert list(errors(beside)) == list(DIMS)
        for name, values in errors(alone).items():
            assert len(values) == len(beside.history)
            assert errors(beside)[name] == pytest.approx(values, rel=1e-4), name


def test_the_mean_is_about_as_good_as_the_mean_and_is_the_one_that_the_epoch_is_judged_by():
    _, (fit,) = train([filled_by("mean")], settings(epochs=4, traces=True), "auroc")
    for values in errors(fit).values():
        assert all(0.9 < v < 1.3 for v in values)  # another sample's mean, and never the zeros that it starts with


def test_an_imputer_that_learns_beats_the_mean_where_modalities_tell_of_each_other():
    draw = torch.Generator().manual_seed(0)
    shared = torch.randn(ROWS, 2, generator=draw)
    alike = {n: shared @ torch.randn(2, d, generator=draw) for n, d in DIMS.items()}
    one = make_member(lambda: make_model("concat", "cra"), make_rows(values=alike), train=90)
    _, (fit,) = train([one], settings(epochs=30, patience=30, traces=True), "auroc")
    for name, values in errors(fit).items():
        assert values[0] > 1, name
        assert values[-1] < 0.8, name


@pytest.mark.parametrize("case", ["zero", "knn", "one modality"])
def test_there_is_no_error_where_nothing_is_filled_in(tmp_path, case):
    strategy = {"name": "unimodal", "modality": "a"} if case == "one modality" else {"name": "concat"}
    imputer = "mean" if case == "one modality" else case
    _, summary = run_toy(tmp_path, **with_traces(True, strategies=[{**strategy, "imputers": [imputer]}]))
    assert len(summary.traces) == 0
    assert summary.failures == []


@pytest.mark.parametrize("value", [0.1, 1e-12, 1e6])
def test_equal_embeddings_have_no_error_whatever_rounding_leaves_of_them(value):
    true = torch.full((2, 50, 4), value)
    rows = torch.ones(2, 50, dtype=torch.bool)
    assert error_sums(Imagined(true, true + 1, rows), rows).relative_error().isnan().all()
    small = value * torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    found = error_sums(Imagined(small, small.mean(dim=1, keepdim=True).expand(2, 50, 4), rows), rows).relative_error()
    torch.testing.assert_close(found, torch.ones(2).double(), rtol=1e-5, atol=0)
