"""The encoder ``lstm``."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from fusionbench.noise import Dropout
from fusionbench_plugins.encoders.lstm import Lstm
from tests.plugins.encoders.small import SERIES


@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}])
def test_lstm_cells_give_the_same_numbers_and_gradients(options):
    fused = Lstm(SERIES, hidden=5, **options).double()
    plain = Lstm(SERIES, hidden=5, cell="plain", **options).double()
    plain.load_state_dict(fused.state_dict())
    x, lengths = torch.randn(4, 6, 3, dtype=torch.float64), torch.tensor([6, 1, 3, 5])
    torch.testing.assert_close(fused(x, lengths), plain(x, lengths), rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(e(x, lengths).square().sum(), list(e.parameters())) for e in (fused, plain)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_lstm_equals_a_packed_library_lstm_of_several_layers():
    from torch.nn.utils.rnn import pack_padded_sequence

    encoder = Lstm(SERIES, hidden=5, layers=2, bidirectional=True)
    reference = torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    state = {}
    for depth, layer in enumerate(encoder.layers):
        for suffix, cell in zip(("", "_reverse"), layer, strict=True):
            state |= {n.replace("l0", f"l{depth}") + suffix: p for n, p in cell.named_parameters()}
    reference.load_state_dict(state)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    _, (hidden, _) = reference(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    torch.testing.assert_close(encoder(x, lengths), torch.cat([hidden[-2], hidden[-1]], dim=1))


def test_lstm_runs_the_cell_that_suits_the_device(monkeypatch):
    from fusionbench_plugins.encoders import lstm

    called = []
    plain = lstm.plain_lstm
    monkeypatch.setattr(lstm, "plain_lstm", lambda *a: called.append(True) or plain(*a))
    encoder, x = Lstm(SERIES, hidden=5), torch.randn(4, 6, 3)
    here = encoder(x)
    assert not called
    monkeypatch.setattr(encoder, "stackable_on", lambda device: True)  # as CUDA would be told
    torch.testing.assert_close(encoder(x), here)
    assert called


@pytest.mark.parametrize("cell", ["fused", "plain"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_never_reads_padding_forward_or_backward(cell, bidirectional):
    encoder = Lstm(SERIES, hidden=5, layers=2, bidirectional=bidirectional, cell=cell)
    x, lengths = torch.randn(3, 6, 3), torch.tensor([2, 6, 4])
    spoiled = x.clone()
    spoiled[0, 2:] = torch.nan
    spoiled[2, 4:] = torch.inf
    assert torch.equal(encoder(x, lengths), encoder(spoiled, lengths))
    encoder(spoiled, lengths).sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_lstm_without_lengths_reads_all_steps_with_the_same_bits(bidirectional):
    encoder, x = Lstm(SERIES, hidden=5, layers=2, bidirectional=bidirectional), torch.randn(3, 6, 3, requires_grad=True)
    found = [encoder(x), encoder(x, torch.tensor([6, 6, 6]))]
    assert torch.equal(*found)
    wanted = [x, *encoder.parameters()]
    gradients = [torch.autograd.grad(f.square().sum(), wanted) for f in found]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_plain_lstm_stacks_over_runs():
    members = [Lstm(SERIES, hidden=5, layers=2, bidirectional=True, cell="plain") for _ in range(3)]
    parameters, buffers = stack_module_state(members)
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    stacked = vmap(lambda p, b: functional_call(members[0], (p, b), (x, lengths)))(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([m(x, lengths) for m in members]))


def test_fused_lstm_follows_functional_parameters():
    members = [Lstm(SERIES, hidden=5) for _ in range(2)]
    x = torch.randn(4, 6, 3)
    output = functional_call(members[0], dict(members[1].named_parameters()), (x,))
    assert torch.equal(output, members[1](x))
    assert not torch.equal(output, members[0](x))


def test_lstm_dropout_uses_the_noise_it_is_given():
    encoder = Lstm(SERIES, hidden=5, layers=2, dropout=0.5).train()
    x = torch.randn(3, 6, 3)
    sources = [m for m in encoder.modules() if isinstance(m, Dropout)]
    assert len(sources) == 2
    sources[-1].noise = torch.zeros(3, 5)
    assert not encoder(x).any()
    assert encoder.eval()(x).any()


@pytest.mark.parametrize(("options", "message"), [({"cell": "gru"}, "auto"), ({"layers": 0}, "at least one layer")])
def test_lstm_refuses_options_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        Lstm(SERIES, **options)
