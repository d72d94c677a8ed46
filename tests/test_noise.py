"""Noise as an input: dropout that draws nothing for itself."""

from __future__ import annotations

import pytest
import torch

from fusionbench.noise import Dropout, NoiseSource


def drawn(p, rows=4000, seed=0):
    return Dropout(3, p).draw(rows, torch.Generator().manual_seed(seed))


def test_a_draw_is_zero_or_the_inverse_of_the_share_kept():
    found = drawn(0.25)
    assert found.shape == (4000, 3)
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(found.mean()) == pytest.approx(1, abs=0.03)


def test_draws_are_those_of_the_generator_and_of_nothing_else():
    torch.manual_seed(5)
    first, state = drawn(0.5), torch.get_rng_state()
    assert torch.equal(first, drawn(0.5))
    assert not torch.equal(first, drawn(0.5, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_dropped_at_probability_zero():
    assert torch.equal(drawn(0.0), torch.ones(4000, 3))


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_a_probability_outside_is_refused(p):
    with pytest.raises(ValueError, match=rf"dropout probability must be in \[0, 1\), found {p}"):
        Dropout(3, p)


def test_without_a_draw_and_in_evaluation_it_is_the_identity():
    dropout, x = Dropout(3, 0.9), torch.ones(2, 3)
    assert dropout(x) is x
    dropout.noise = torch.zeros(2, 3)
    assert not dropout(x).any()
    assert dropout.eval()(x) is x


def test_a_row_has_one_mask_for_all_its_steps_and_keeps_its_type():
    dropout = Dropout(3, 0.5)
    dropout.noise = torch.tensor([[0.0, 2.0, 2.0], [2.0, 0.0, 0.0]])
    found = dropout(torch.ones(2, 4, 3, dtype=torch.float64))
    assert found.dtype == torch.float64
    for row in range(2):
        assert all(torch.equal(step.float(), dropout.noise[row]) for step in found[row])


def test_noise_is_no_part_of_a_stored_model_and_a_source_has_to_say_how_to_draw():
    assert Dropout(3, 0.5).state_dict() == {}
    with pytest.raises(NotImplementedError):
        NoiseSource().draw(2, torch.Generator())
