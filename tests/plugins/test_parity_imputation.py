"""CRA and TLA against the parity files: MMIN's own module, and the closed forms of METHODS 9.3 and 10.

Tolerance: that of ``tests/parity.py``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fusionbench import Batch, FusionOutput, FusionSpec, TargetKind, TrainingClock
from fusionbench_plugins.imputers.cra import Cascade, CascadeShape, Cra, CraCycle
from fusionbench_plugins.regularisers.tla import Tla, combinations
from tests.parity import close, double_precision, parity

NAMES = ("m0", "m1", "m2")


@pytest.fixture(autouse=True)
def _double_precision():
    with double_precision():
        yield


def set_linear(layer: nn.Linear, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))


def linears(module: nn.Module) -> list[nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


# ------------------------------------------------------------------------------------------------ CRA


def load_mmin(cascade: Cascade, params: dict) -> Cascade:
    for k, block in enumerate(params["blocks"]):
        for part, stack in (("encoder", cascade.encoders[k]), ("decoder", cascade.decoders[k])):
            for layer, values in zip(linears(stack), block[part], strict=True):
                set_linear(layer, values["weight"], values["bias"])
    if not isinstance(cascade.transition, nn.Identity):
        for layer, values in zip(linears(cascade.transition), params["transition"], strict=True):
            set_linear(layer, values["weight"], values["bias"])
    return cascade


def test_the_cascade_equals_the_mmin_module():
    data = parity("cra_mmin")
    shape = CascadeShape(data["input_dim"], tuple(data["layers"]), data["num_blocks"], transition=True)
    x, target = torch.tensor(data["inputs"]["x"]), torch.tensor(data["inputs"]["target"])
    expected = data["outputs"]
    reconstruction, latents = load_mmin(Cascade(shape), data["params_forward"])(x)
    returned, returned_latents = load_mmin(Cascade(shape), data["params_backward"])(reconstruction)
    plain, _ = load_mmin(Cascade(shape._replace(transition=False)), data["params_forward"])(x)
    close(latents, expected["latents"])
    close(reconstruction, expected["recon"])
    close(plain, expected["recon_without_transition"])
    close(returned, expected["cycle_recon"])
    close(returned_latents, expected["cycle_latents"])
    close((reconstruction - target).square().mean(), expected["mse_forward"])
    close((returned - x).square().mean(), expected["mse_cycle"])


def load_omnifuse(cascade: Cascade, blocks: list[dict]) -> None:
    for encode, decode, values in zip(cascade.encoders, cascade.decoders, blocks, strict=True):
        for layer, key in zip(linears(encode) + linears(decode), ("e1", "e2", "d1", "d2"), strict=True):
            set_linear(layer, values[f"W{key}"], values[f"b{key}"])


def omnifuse_case(modalities: int, **options) -> tuple[dict, CraCycle, Batch]:
    data = parity(f"cra_omnifuse_m{modalities}")
    dims = dict(zip(NAMES[:modalities], data["dims"], strict=True))
    spec = FusionSpec(dims, num_outputs=2, kind=TargetKind.MULTICLASS)
    imputer = CraCycle(spec, blocks=data["num_blocks"], layers=(data["hidden"], data["latent"]), **options)
    load_omnifuse(imputer.onward, data["params_forward"])
    load_omnifuse(imputer.back, data["params_backward"])

    def per_modality(values):
        return dict(zip(dims, torch.tensor(values).split(list(dims.values()), dim=-1), strict=True))

    def rows(values):
        return dict(zip(dims, torch.tensor(values).bool().unbind(dim=1), strict=True))

    inputs = data["inputs"]
    batch = Batch(
        features=per_modality(inputs["v"]),
        present=rows(inputs["kept"]),
        available=rows(inputs["naturally_available"]),
        zero_input=per_modality(inputs["zero_input_embedding"]),
    )
    return data, imputer, batch


def side_by_side(batch: Batch) -> torch.Tensor:
    return torch.cat([batch.completed(n) for n in batch.names], dim=-1)


@pytest.mark.parametrize("modalities", [2, 3])
def test_imagined_embeddings_and_latents(modalities):
    data, imputer, batch = omnifuse_case(modalities)
    completed = imputer(batch)
    expected = data["outputs"]
    close(completed.extras["cra.shown"], expected["v_input"])
    close(completed.extras["cra.imagined"], expected["v_forward"])
    close(side_by_side(completed), expected["completed"])
    close(completed.latents, torch.tensor(expected["latents"]).transpose(0, 1).flatten(1))
    assert completed.latents.shape[1] == imputer.latent_dim


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize(
    ("targets", "reduction"), [("missing_only", "mean"), ("missing_only", "sum"), ("full_vector", "mean")]
)
def test_forward_and_backward_losses(modalities, targets, reduction):
    data, imputer, batch = omnifuse_case(modalities, targets=targets, reduction=reduction)
    expected = data["outputs"][targets]
    completed = imputer(batch)
    forward, backward = imputer.forward_loss(completed), imputer.backward_loss(completed)
    close(forward, expected[f"L_forward_{reduction}"])
    close(backward, expected[f"L_backward_{reduction}"])
    task = torch.tensor(0.75)
    close(imputer.loss(completed, task), forward + imputer.lambda_1 * backward + 10 * task)
    close(Cra.loss(imputer, completed, task), forward + 10 * task)


@pytest.mark.parametrize("targets", ["missing_only", "full_vector"])
def test_slots_that_the_record_lacks_enter_neither_the_loss_nor_its_gradient(targets):
    _, imputer, batch = omnifuse_case(3, targets=targets)
    garbage = {
        n: torch.where(batch.available[n][:, None], f, torch.full_like(f, torch.nan)) for n, f in batch.features.items()
    }
    task = torch.tensor(1.0)
    losses = [imputer.loss(imputer(replace(batch, features=f)), task) for f in (batch.features, garbage)]
    assert torch.equal(losses[0], losses[1])
    losses[1].backward()
    assert all(torch.isfinite(p.grad).all() for p in imputer.parameters())


def test_targets_are_gradient_stopped():
    _, imputer, batch = omnifuse_case(3)
    features = {n: f.clone().requires_grad_() for n, f in batch.features.items()}
    imputer.forward_loss(imputer(replace(batch, features=features))).backward()
    for name, values in features.items():
        hidden = batch.available[name] & ~batch.present[name]
        assert hidden.any()
        assert not values.grad[hidden].any()
        assert values.grad[batch.present[name]].any()


def test_imagination_losses_are_zero_where_nothing_is_hidden():
    _, imputer, batch = omnifuse_case(3)
    completed = imputer(replace(batch, present=batch.available))
    assert imputer.forward_loss(completed) == 0
    assert imputer.backward_loss(completed) == 0
    assert imputer.loss(completed, torch.tensor(2.0)) == 20


def test_only_forgets_what_the_imputer_left():
    _, imputer, batch = omnifuse_case(3)
    view = imputer(batch).only("m0")
    assert not view.extras
    assert not view.imputed


# ------------------------------------------------------------------------------------------------ TLA


def tla_case(modalities: int, **options) -> tuple[dict, Tla, Batch]:
    data = parity(f"tla_m{modalities}")
    names = NAMES[:modalities]
    tla = Tla(FusionSpec(dict.fromkeys(names, 1), num_outputs=3, kind=TargetKind.MULTICLASS), **options)
    present = torch.tensor(data["mining"]["naturally_available"]).bool()
    features = {n: torch.zeros(len(present), 1) for n in names}
    return data, tla, Batch(features, dict(zip(names, present.unbind(1), strict=True)))


def mined(data: dict, tla: Tla, batch: Batch):
    """Statistics with predictions read from the file by the combination that the view shows."""
    logits = torch.tensor(data["mining"]["logits_per_combination"])
    full = {n: torch.ones_like(p) for n, p in batch.present.items()}

    def predict(view: Batch) -> FusionOutput:
        asked = [n for n in view.names if view.present[n].any()]
        return FusionOutput(logits[sum(2 ** NAMES.index(n) for n in asked) - 1])

    target = torch.tensor(data["mining"]["y"])
    nothing = FusionOutput(torch.zeros(len(target), 3))
    observed = tla.statistics(nothing, batch, target, predict)
    complete = tla.statistics(nothing, replace(batch, present=full), target, predict)
    return observed, complete


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("distance", ["ce", "one_minus_p", "brier"])
def test_the_lazy_combination(modalities, distance):
    data, tla, batch = tla_case(modalities, distance=distance)
    expected = data["mining"]["result"][distance]
    observed, complete = mined(data, tla, batch)
    close(complete["sums"], expected["sum_all"])
    close(observed["sums"] / observed["counts"], expected["mean_valid"])
    assert tla.update(complete, TrainingClock(1, 9))["lazy_id"].item() == expected["lazy_all"]
    assert tla.update(observed, TrainingClock(1, 9))["lazy_id"].item() == expected["lazy_valid"]
    assert tla.combinations == tuple(range(1, 2**modalities))


def activation(data: dict, tla: Tla, ids: list[int]) -> torch.Tensor:
    codes = torch.tensor(ids)
    names = tla.spec.names
    present = {n: (codes >> m & 1).bool() for m, n in enumerate(names)}
    batch = Batch({n: torch.zeros(len(ids), 1) for n in names}, present)
    output = FusionOutput(torch.tensor(data["activation"]["logits"]))
    return tla.loss(output, batch, torch.tensor(data["activation"]["y"]))


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_activation_loss(modalities):
    data, tla, _ = tla_case(modalities, weight=1.0)
    _, by_batch, _ = tla_case(modalities, weight=1.0, reduction="batch_mean")
    expected = data["activation"]
    for regulariser in (tla, by_batch):
        regulariser.lazy_id.fill_(expected["lazy_id"])
    close(activation(data, tla, expected["pattern_ids"]), expected["loss_mean_over_mask"])
    close(activation(data, by_batch, expected["pattern_ids"]), expected["loss_sum_over_batch"])
    assert activation(data, tla, expected["no_match"]["pattern_ids"]) == expected["no_match"]["loss"]


def test_the_loss_is_zero_until_the_first_epoch_is_over():
    data, tla, batch = tla_case(3)
    observed, _ = mined(data, tla, batch)
    assert tla.update(observed, TrainingClock(0, 9)) == {}
    assert activation(data, tla, data["activation"]["pattern_ids"]) == 0


def test_accumulated_mining_sums_three_epochs_and_then_stays():
    data, tla, batch = tla_case(3, mine="accumulate")
    observed, _ = mined(data, tla, batch)
    for completed in range(9):
        for name, value in tla.update(observed, TrainingClock(completed, 9)).items():
            getattr(tla, name).copy_(value)
        assert (tla.lazy_id == -1).all() == (completed < 5)
    close(tla.distance_sums, 3 * observed["sums"])
    assert tla.lazy_id.item() == data["mining"]["result"]["ce"]["lazy_valid"]


def test_accumulated_mining_finds_something_in_short_trainings_too():
    data, tla, batch = tla_case(2, mine="accumulate")
    observed, _ = mined(data, tla, batch)
    assert "lazy_id" in tla.update(observed, TrainingClock(1, 2))


def test_several_lazy_combinations_in_order_and_the_first_on_ties():
    _, tla, _ = tla_case(2, top=2)
    counts = torch.tensor([2.0, 2.0, 2.0])
    assert tla.update({"sums": torch.tensor([3.0, 5.0, 5.0]), "counts": counts}, TrainingClock(1, 3))[
        "lazy_id"
    ].tolist() == [2, 3]
    counts = torch.tensor([0.0, 2.0, 0.0])
    assert tla.update({"sums": torch.tensor([0.0, 5.0, 0.0]), "counts": counts}, TrainingClock(1, 3))[
        "lazy_id"
    ].tolist() == [2, -1]


def test_combinations_can_be_restricted_and_options_are_checked():
    assert combinations(3) == (1, 2, 3, 4, 5, 6, 7)
    assert combinations(3, max_absent=1) == (3, 5, 6, 7)
    with pytest.raises(ValueError, match="top must be 1 to 3"):
        tla_case(2, top=4)
    with pytest.raises(ValueError, match="distance must be 'ce', 'one_minus_p' or 'brier'"):
        tla_case(2, distance="kl")


def test_the_auxiliary_head_learns_from_matching_rows_only():
    _, tla, batch = tla_case(2, head="auxiliary")
    tla.lazy_id.fill_(3)
    features = {
        n: torch.randn(len(f), 1, generator=torch.Generator().manual_seed(1)) for n, f in batch.features.items()
    }
    batch = replace(batch, features=features, present={n: torch.ones_like(p) for n, p in batch.present.items()})
    target = torch.zeros(len(batch.present["m0"]), dtype=torch.int64)
    tla.loss(FusionOutput(torch.zeros(len(target), 3)), batch, target).backward()
    assert tla.auxiliary.weight.grad.any()
