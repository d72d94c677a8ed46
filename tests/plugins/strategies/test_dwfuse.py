"""DWFuse beyond the parity files: limits, missing and imputed modalities, and every option."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fusionbench import Batch, FusionSpec, TargetKind
from fusionbench.targets import row_losses
from fusionbench_plugins.strategies.dwfuse import DWFuse

NAMES = ("ehr", "cxr", "ecg")
SPEC = FusionSpec(dict.fromkeys(NAMES, 3), num_outputs=3, kind=TargetKind.MULTICLASS)
TARGET = torch.tensor([0, 2, 1, 1])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(6)
    features = {n: 3 * torch.randn(4, 3, generator=generator) for n in NAMES}
    return Batch(features, {n: torch.ones(4, dtype=torch.bool) for n in NAMES})


def on_logits(**options) -> DWFuse:
    """Heads that return their features: scores can be computed by hand."""
    strategy = DWFuse(SPEC, **{"joint": "none", **options})
    strategy.heads = nn.ModuleDict({n: nn.Identity() for n in NAMES})
    return strategy


def obvious_scores(batch: Batch, row: int, beta: float, exponent_modalities: int | None = None) -> torch.Tensor:
    shown = [n for n in NAMES if batch.usable(n)[row]]
    p = {n: batch.features[n][row].softmax(0) for n in shown}
    exponent = beta / max((exponent_modalities or len(shown)) - 1, 1)
    total = torch.zeros(3)
    for m in shown:
        weight = torch.ones(3)
        for n in shown:
            weight = weight * (1 - p[n]) ** exponent if n != m else weight
        total = total + weight * p[m].log()
    return total


def test_scores_equal_the_loop_for_every_pattern():
    batch = make_batch()
    present = {"ehr": [1, 1, 0, 0], "cxr": [1, 0, 1, 0], "ecg": [1, 1, 1, 1]}
    batch = replace(batch, present={n: torch.tensor(v).bool() for n, v in present.items()})
    scores = on_logits(beta=0.7)(batch).aux["scores"]
    literal = on_logits(beta=0.7, exponent_count="all")(batch).aux["scores"]
    for row in range(4):
        torch.testing.assert_close(scores[row], obvious_scores(batch, row, 0.7))
        torch.testing.assert_close(literal[row], obvious_scores(batch, row, 0.7, exponent_modalities=3))


def test_without_down_weighting_it_is_the_product_of_experts():
    batch = make_batch()
    strategy = on_logits(beta=0.0)
    output = strategy(batch)
    product = torch.stack([batch.features[n].softmax(-1) for n in NAMES]).prod(dim=0)
    torch.testing.assert_close(output.logits.softmax(-1), product / product.sum(-1, keepdim=True))
    unimodal = sum(row_losses(batch.features[n], TARGET, SPEC.kind).mean() for n in NAMES)
    torch.testing.assert_close(strategy.loss(output, batch, TARGET), unimodal)


def test_a_single_modality_keeps_its_own_prediction():
    batch = make_batch().only("cxr")
    for count in ("shown", "all"):
        logits = on_logits(exponent_count=count)(batch).logits
        torch.testing.assert_close(logits, batch.features["cxr"].log_softmax(-1))


def test_a_modality_that_is_certain_silences_the_others_without_infinities():
    batch = make_batch()
    certain = torch.tensor([500.0, 0.0, 0.0]).expand(4, 3).clone().requires_grad_()
    batch = replace(batch, features={**batch.features, "ehr": certain})
    strategy = on_logits(beta=1.0, weight_gradient="flow")
    output = strategy(batch)
    assert torch.isfinite(output.aux["scores"]).all()
    strategy.loss(output, batch, TARGET).backward()
    assert torch.isfinite(certain.grad).all()


def test_weights_are_constants_unless_told_to_flow():
    def gradient(option: str) -> torch.Tensor:
        batch = make_batch()
        leaf = batch.features["ehr"].clone().requires_grad_()
        batch = replace(batch, features={**batch.features, "ehr": leaf})
        strategy = on_logits(weight_gradient=option)
        loss = strategy.loss(strategy(batch), batch, TARGET)
        return torch.autograd.grad(loss, leaf)[0]

    batch = make_batch()
    leaf = batch.features["ehr"].clone().requires_grad_()
    weight = torch.ones(4)
    for n in ("cxr", "ecg"):
        weight = weight * (1 - batch.features[n].softmax(-1)[torch.arange(4), TARGET]) ** 0.25
    by_hand = torch.autograd.grad((weight * row_losses(leaf, TARGET, SPEC.kind)).mean(), leaf)[0]
    torch.testing.assert_close(gradient("stop"), by_hand)
    assert not torch.allclose(gradient("flow"), by_hand)


def test_one_weight_for_all_classes_at_inference_leaves_the_loss_as_it_is():
    batch = make_batch()
    plain, confident = on_logits(), on_logits(inference_weights="max_conf")
    torch.testing.assert_close(plain(batch).aux["scores"], confident(batch).aux["scores"])
    doubt = {n: (1 - batch.features[n].softmax(-1).amax(-1)) for n in NAMES}
    total = torch.zeros(4, 3)
    for m in NAMES:
        weight = torch.stack([doubt[n] for n in NAMES if n != m]).prod(0) ** 0.25
        total = total + weight[:, None] * batch.features[m].log_softmax(-1)
    torch.testing.assert_close(confident(batch).logits, total.log_softmax(-1), rtol=1e-4, atol=1e-5)


def test_the_joint_head_reads_latents_where_the_imputer_has_them():
    spec = replace(SPEC, latent_dim=5)
    batch = replace(make_batch(), latents=torch.randn(4, 5, generator=torch.Generator().manual_seed(7)))
    torch.manual_seed(0)
    automatic = DWFuse(spec, hidden=3)
    torch.testing.assert_close(automatic(batch).aux["joint"], automatic.joint(batch.latents))
    assert automatic.joint[0].in_features == 5
    concat = DWFuse(spec, joint="concat")
    side_by_side = torch.cat([batch.features[n] for n in NAMES], dim=-1)
    torch.testing.assert_close(concat(batch).aux["joint"], concat.joint(side_by_side))
    assert "joint" not in DWFuse(spec, joint="none")(batch).aux
    assert isinstance(DWFuse(spec, hidden=0).joint, nn.Linear)


def test_a_row_without_any_modality_predicts_by_the_joint_head_alone():
    strategy, batch = DWFuse(SPEC), make_batch().only()
    output = strategy(batch)
    assert not output.aux["scores"].any()
    expected = 0.1 * output.aux["joint"].log_softmax(-1)
    torch.testing.assert_close(output.logits, expected.log_softmax(-1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predict": "joint", "joint": "none"}, "needs a joint head"),
        ({"joint": "cra"}, "this imputer has none; use 'cra'"),
        ({"predict": "sum"}, "predict must be 'total', 'scores', 'joint' or 'mean', found 'sum'"),
        ({"weight_gradient": "go"}, "weight_gradient must be 'stop' or 'flow'"),
        ({"exponent_count": "m"}, "exponent_count must be 'shown' or 'all'"),
        ({"inference_weights": "true"}, "inference_weights must be 'per_class' or 'max_conf'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        DWFuse(SPEC, **options)
