"""What a device can do in half precision: asked, tried, and a layer without a kernel kept in float32."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fusionbench.training.devices import precision
from fusionbench.training.model import seeded
from tests import front


class Listening(nn.Module):
    """An encoder of somebody else's, around a recurrent layer of the library's."""

    def __init__(self, layer, packed=False):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.layer = layer(4, 5, batch_first=True)
        self.packed = packed

    def forward(self, steps):
        steps = self.first(steps)
        if self.packed:
            steps = nn.utils.rnn.pack_padded_sequence(steps, [steps.shape[1]] * len(steps), batch_first=True)
        found = self.layer(steps)[0]
        return nn.utils.rnn.pad_packed_sequence(found, batch_first=True)[0] if self.packed else found


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layer", precision.RECURRENT)
def test_without_a_kernel_a_layer_of_anybodys_computes_in_float32_and_the_rest_does_not(layer, packed, monkeypatch):
    able = precision.abilities(torch.device("cpu"))
    monkeypatch.setattr(precision, "abilities", lambda _: replace(able, recurrent=False))
    module = seeded(0, lambda: Listening(layer, packed))
    steps = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    seen = []
    module.first.register_forward_hook(lambda *found: seen.append(found[-1].dtype))

    def inside(stage):
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            return stage(steps)

    precision.guard_recurrent_layers(module)
    copy = deepcopy(module)
    found = inside(module)
    assert found.dtype == torch.float32
    assert seen == [torch.bfloat16]
    # the layer alone, on what came from the first stage
    before = inside(module.first).float()
    wanted = type(module.layer).forward(module.layer, before)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())
    with torch.no_grad():
        copy.layer.weight_hh_l0.mul_(2)
    assert not torch.equal(inside(copy), inside(module))
    outside = torch.nn.functional.linear(steps, module.first.weight, module.first.bias)
    torch.testing.assert_close(module(steps), type(module.layer).forward(module.layer, outside)[0])


def test_what_this_processor_can_do_is_what_it_does():
    device = torch.device("cpu")
    able = precision.abilities(device)
    assert able.pays == able.native
    assert able.half
    assert precision.abilities(device) is able
    for layer in precision.RECURRENT:
        attempt = partial(precision._try_layer, layer, device)
        if able.recurrent:
            attempt()
    if not able.recurrent:
        with pytest.raises(RuntimeError, match="primitive"):
            precision._try_layer(nn.LSTM, device)


def test_a_library_held_to_old_instructions_has_neither_products_nor_layers():
    code = """
import torch
from fusionbench.training.devices.precision import abilities
print(abilities(torch.device("cpu")), sep="")
"""
    found = front.python(code, ONEDNN_MAX_CPU_ISA="AVX2")
    assert found.stderr == ""
    assert "held to AVX2 by ONEDNN_MAX_CPU_ISA) has no instructions for bfloat16" in found.stdout
    assert "no kernel for recurrent layers" in found.stdout


@pytest.mark.parametrize(
    ("capability", "native"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True), ((12, 0), True)]
)
def test_of_cuda_devices_those_from_compute_capability_8_on_have_it(capability, native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some Card")
    words, found = precision._cuda(torch.device("cuda", 1))
    assert found is native
    assert words == f"cuda:1 (Some Card, compute capability {capability[0]}.{capability[1]})"


def test_what_is_looked_at_for_the_first_time_inside_a_forward_pass_does_not_disturb_it():
    """Under checkpointing all that a pass saves is counted, and counted again when it is computed again."""
    module = seeded(0, lambda: Listening(nn.LSTM))
    precision.guard_recurrent_layers(module)
    steps = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    precision._abilities.cache_clear()
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        found = checkpoint(module, steps, use_reentrant=False)
    found.float().sum().backward()
    assert all(p.grad is not None for p in module.parameters())
