"""What encoders are examined on, and how they are called."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from fusionbench import Encoder, InputSpec
from fusionbench.noise import Dropout
from fusionbench.testing.inputs import EncoderSubject, default_inputs, floats, give_noise, read, valid

CASES = {case.name: case for case in default_inputs()}
SERIES = CASES["series of differing length"]


def test_every_kind_of_input_is_there_as_a_data_set_holds_it():
    assert {case.spec.kind for case in CASES.values()} == {"series", "image", "text", "vector"}
    for case in CASES.values():
        if case.spec.kind != "text":
            assert case.values.shape[1:] == case.spec.shape
            assert case.values.dtype == (np.uint8 if case.spec.kind == "image" else np.float32)


def test_inputs_are_awkward():
    assert {1, 6} <= set(SERIES.lengths.tolist())
    assert "" in CASES["text"].values
    assert set(np.unique(SERIES.values[..., 2:]).tolist()) == {0.0, 1.0}  # indicators


def test_inputs_are_the_same_every_time():
    again = {case.name: case for case in default_inputs()}
    assert np.array_equal(SERIES.values, again[SERIES.name].values)
    assert np.array_equal(CASES["image"].values, again["image"].values)


def test_rows_are_taken_in_the_order_asked_for():
    some = SERIES.rows([4, 0])
    assert np.array_equal(some.values, SERIES.values[[4, 0]])
    assert some.lengths.tolist() == [2, 6]
    assert CASES["text"].rows([2, 1]).values == ["Large right effusion; oedema: 2 cm!", ""]


def test_blank_is_one_row_of_zeros_or_an_empty_text():
    assert CASES["text"].blank().values == [""]
    blank = SERIES.blank()
    assert (blank.values.shape, blank.values.any(), blank.lengths) == ((1, 6, 4), False, None)


class OfVectors(Encoder):
    """Doubles a vector."""

    accepts: ClassVar = frozenset({"vector"})
    output_dim = 5

    def __init__(self, spec, p=0.5):
        super().__init__()
        self.layer = nn.Linear(spec.shape[-1], 5)
        self.drop = Dropout(5, p)

    def forward(self, inputs, lengths=None):
        return self.drop(self.layer(inputs))


def test_an_encoder_is_examined_on_what_it_accepts_and_leaves_chance_alone():
    subject = EncoderSubject(OfVectors, cases=default_inputs())
    assert [case.name for case in subject.accepted()] == ["vector"]
    before = torch.get_rng_state()
    one, other = subject.example(), subject.example()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.layer.weight, other.layer.weight)
    assert not one.training


def test_lengths_of_the_case_are_read_unless_the_encoder_makes_its_own():
    class CutsShort(OfVectors):
        def prepare(self, values):
            return values, np.ones(len(values), dtype=np.int64)

    spec = InputSpec("series", (6, 4))
    assert read(OfVectors(spec), SERIES)[1].tolist() == [6, 1, 3, 6, 2]
    assert read(CutsShort(spec), SERIES)[1].tolist() == [1] * 5


def test_what_lies_behind_valid_tokens_is_set_to_zero():
    tokens, lengths = torch.ones(2, 3, 4), torch.tensor([3, 1])
    assert valid(tokens, lengths).sum(dim=(1, 2)).tolist() == [12.0, 4.0]
    assert torch.equal(valid(tokens[:, 0], lengths), tokens[:, 0])


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_given_as_the_loop_gives_it(seed):
    encoder = OfVectors(InputSpec("vector", (5,))).train()
    give_noise(encoder, 400, seed)
    drawn = encoder.drop.noise.clone()
    assert drawn.shape == (400, 5)
    assert set(drawn.unique().tolist()) == {0.0, 2.0}
    give_noise(encoder, 400, seed)
    assert torch.equal(encoder.drop.noise, drawn)
    give_noise(encoder, 400, seed + 1)
    assert not torch.equal(encoder.drop.noise, drawn)


def test_numbers_are_widened_and_flags_kept():
    found = floats({"a": torch.ones(1), "b": torch.ones(1, dtype=torch.bool)})
    assert [t.dtype for t in found.values()] == [torch.float64, torch.bool]
