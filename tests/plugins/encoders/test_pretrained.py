"""What encoders around a model library share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fusionbench_plugins.encoders._pretrained import PretrainedEncoder, random_weights


class Wrapped(PretrainedEncoder):
    """A network with batch norm, and a layer of our own beside it."""

    def __init__(self, frozen):
        super().__init__()
        self.own = nn.Dropout(0.5)
        self.adopt(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)), frozen)

    def forward(self, inputs, lengths=None):
        return self.backbone(inputs)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_takes_the_gradients_away_and_nothing_else_does(frozen):
    encoder = Wrapped(frozen)
    assert encoder.frozen is frozen
    assert {p.requires_grad for p in encoder.backbone.parameters()} == {not frozen}


@pytest.mark.parametrize("frozen", [True, False])
def test_the_backbone_stays_in_evaluation_mode_while_the_rest_is_trained(frozen):
    encoder = Wrapped(frozen)
    assert encoder.train() is encoder
    assert (encoder.training, encoder.own.training) == (True, True)
    assert not any(module.training for module in encoder.backbone.modules())
    before = {name: tensor.clone() for name, tensor in encoder.backbone.named_buffers()}
    inputs = torch.randn(4, 3) + 5
    assert torch.equal(encoder(inputs), encoder(inputs))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.backbone.named_buffers())


def test_it_is_never_stacked():
    assert not PretrainedEncoder.stackable


def draw(encoder, model, *, frozen):
    with random_weights(encoder, model, frozen):
        return torch.rand(4)


def test_frozen_random_weights_are_those_of_the_model_whatever_the_seed_of_the_run():
    torch.manual_seed(1)
    one = draw("timm_image", "resnet18", frozen=True)
    torch.manual_seed(2)
    assert torch.equal(draw("timm_image", "resnet18", frozen=True), one)
    assert not torch.equal(draw("timm_image", "resnet34", frozen=True), one)
    assert not torch.equal(draw("hf_text", "resnet18", frozen=True), one)


def test_drawing_frozen_weights_leaves_the_loop_its_own_random_numbers():
    before = torch.get_rng_state()
    draw("timm_image", "resnet18", frozen=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_tuned_random_weights_follow_the_seed_of_the_run():
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(draw("timm_image", "resnet18", frozen=False))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
