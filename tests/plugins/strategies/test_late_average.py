"""Late average against loops over rows and modalities."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench.contract.stages import SplitLosses
from fusionbench.targets import probabilities, row_losses
from fusionbench.testing import make_case
from fusionbench.training.loop import train
from fusionbench_plugins.strategies.late_average import LateAverage, candidates
from tests.builders import make_member, make_model, make_rows, member_state, settings


@pytest.mark.parametrize("kind", list(TargetKind))
def test_probabilities_are_averaged_over_the_modalities_a_row_has(kind):
    case = make_case(3, kind, "random")
    strategy = LateAverage(case.spec, average="probability").double()
    found = probabilities(strategy(case.batch).logits, kind)
    for row in range(len(case.target)):
        shown = [name for name in case.spec.names if case.batch.present[name][row]]
        votes = [probabilities(strategy.heads[n](case.batch.features[n][row]), kind) for n in shown]
        assert_close(found[row], sum(votes) / len(votes))


def test_logits_are_averaged_over_the_modalities_a_row_has():
    case = make_case(3, TargetKind.BINARY, "random")
    strategy = LateAverage(case.spec, average="logit").double()
    found = strategy(case.batch).logits
    for row in range(len(case.target)):
        shown = [name for name in case.spec.names if case.batch.present[name][row]]
        votes = [strategy.heads[n](case.batch.features[n][row]) for n in shown]
        assert_close(found[row], sum(votes) / len(votes))


def test_the_loss_is_the_sum_of_mean_losses_over_the_rows_of_each_modality():
    case = make_case(3, TargetKind.MULTICLASS, "random")
    strategy = LateAverage(case.spec).double()
    wanted = 0
    for name in case.spec.names:
        rows = case.batch.present[name]
        logits = strategy.heads[name](case.batch.features[name][rows])
        wanted += row_losses(logits, case.target[rows], case.spec.kind).mean()
    assert_close(strategy.loss(strategy(case.batch), case.batch, case.target), wanted)


@pytest.mark.parametrize("certainty", [-300.0, -40.0, 40.0, 300.0])
def test_float32_keeps_the_logit_of_very_small_and_very_large_probabilities(certainty):
    spec = FusionSpec({"ehr": 1, "cxr": 1}, 1, TargetKind.BINARY)
    strategy = LateAverage(spec)
    for head in strategy.heads.values():
        torch.nn.init.ones_(head.weight)
        torch.nn.init.zeros_(head.bias)
    value, shown = torch.tensor([[certainty]]), torch.tensor([True])
    batch = Batch({"ehr": value, "cxr": value}, {"ehr": shown, "cxr": shown})
    assert_close(strategy(batch).logits, value)


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="found 'median'"):
        LateAverage(FusionSpec({"ehr": 1}, 1, TargetKind.BINARY), average="median")


# --------------------------------------------------------------------------------------------
# fitted weights


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_weights_count_among_the_modalities_a_row_has(average):
    case = make_case(3, TargetKind.MULTICLASS, "random")
    strategy = LateAverage(case.spec, average=average).double()
    strategy.modality_weights.copy_(torch.tensor([0.5, 2.5, 1e-6]))
    found = strategy(case.batch).logits
    for row in range(len(case.target)):
        shown = [n for n in case.spec.names if case.batch.present[n][row]]
        w = {n: float(strategy.modality_weights[i]) for i, n in enumerate(case.spec.names)}
        votes = {n: strategy.heads[n](case.batch.features[n][row]) for n in shown}
        total = sum(w[n] for n in shown)
        if average == "probability":
            mean = sum(w[n] * votes[n].softmax(-1) for n in shown) / total
            assert_close(found[row].softmax(-1), mean)
        else:
            assert_close(found[row], sum(w[n] * votes[n] for n in shown) / total)


@pytest.mark.parametrize(("modalities", "number"), [(1, 2), (2, 12), (3, 67), (4, 85), (6, 57)])
def test_candidates_are_equal_weights_and_a_grid_on_the_simplex(modalities, number):
    every = list(candidates(modalities))
    assert len(every) == number
    assert every[0] == [1.0] * modalities
    assert all(sum(c) == pytest.approx(modalities) and min(c) > 0 for c in every)
    assert all(any(c[m] > 0.999 * modalities for c in every) for m in range(modalities))


def test_the_candidate_with_the_least_held_out_loss_is_chosen_and_equal_weights_on_ties():
    strategy = LateAverage(FusionSpec({"ehr": 1, "cxr": 1}, 1, TargetKind.BINARY), weights="fitted")
    every = list(candidates(2))

    def chosen(losses):
        held = {f"candidate {i}": v for i, v in enumerate(losses)}
        (estimate, _) = strategy.stages()
        return estimate.finish([SplitLosses({}, {}, {}, held)])["modality_weights"].tolist()

    assert chosen([0.5] * len(every)) == [1.0, 1.0]
    assert chosen([0.5, 0.4, *[0.5] * (len(every) - 2)]) == pytest.approx(every[1])
    assert chosen([float("nan"), *[0.5] * (len(every) - 1)]) == pytest.approx(every[1])


@pytest.mark.parametrize("kind", list(TargetKind))
def test_each_candidate_has_the_loss_of_the_prediction_that_it_would_give(kind):
    case = make_case(2, kind, "random")
    strategy = LateAverage(case.spec, weights="fitted").double()
    losses = strategy.head_losses(strategy(case.batch), case.batch, case.target)
    for i, weights in enumerate(candidates(2)):
        strategy.modality_weights.copy_(torch.tensor(weights))
        wanted = row_losses(strategy(case.batch).logits, case.target, kind)
        assert_close(losses[f"candidate {i}"], wanted, rtol=1e-5, atol=1e-6)


def test_modalities_of_noise_lose_their_weight_and_probing_leaves_nothing_else_behind():
    table = make_rows(seed=1)
    for seed, name in enumerate(("b", "c")):
        table.values[name].normal_(generator=torch.Generator().manual_seed(seed))
    table.values["a"][:, 0] += 3 * table.target

    def trained(**options):
        member = make_member(lambda: make_model(LateAverage, **options), table)
        population, (fit,) = train([member], settings(epochs=1), "auroc")
        return member_state(population, 0), fit

    (fitted, fit), (equal, plain) = trained(weights="fitted", holdout=0.5, estimate_epochs=12), trained()
    assert fitted.pop("fusion.modality_weights")[0] > 2
    assert equal.pop("fusion.modality_weights").tolist() == [1, 1, 1]
    assert all(torch.equal(fitted[n], value) for n, value in equal.items())
    assert (fit.epochs, plain.epochs) == (13, 1)


@pytest.mark.parametrize("options", [{"weights": "learned"}, {"holdout": 0.0}, {"estimate_epochs": 0}])
def test_options_of_fitted_weights_are_checked(options):
    with pytest.raises(ValueError, match="found"):
        LateAverage(FusionSpec({"ehr": 1}, 1, TargetKind.BINARY), **options)
