"""Seeds depend on purpose and axes, and on nothing else."""

from __future__ import annotations

import numpy as np
import torch

from fusionbench.seeding import numpy_generator, seed_for, torch_generator


def test_the_order_of_axes_does_not_matter_and_their_values_do():
    assert seed_for("batch order", seed=0, fold=2) == seed_for("batch order", fold=2, seed=0)
    asked = [seed_for("batch order", seed=s, fold=f) for s in range(3) for f in range(3)]
    assert len(set(asked)) == 9


def test_another_purpose_or_another_name_of_an_axis_is_another_seed():
    found = {seed_for("noise", fold=1), seed_for("corruption", fold=1), seed_for("noise", seed=1), seed_for("noise")}
    assert len(found) == 4


def test_a_number_is_not_the_text_of_it_nor_true_one():
    assert len({seed_for("x", a=1), seed_for("x", a="1"), seed_for("x", a=True), seed_for("x", a=None)}) == 4


def test_seeds_have_63_bits():
    found = np.array([seed_for("x", i=i) for i in range(400)], dtype=object)
    assert all(0 <= s < 2**63 for s in found)
    assert max(found) > 2**62  # the topmost bit of them is used


def test_a_seed_is_half_of_the_first_eight_bytes_of_a_hash_and_never_changes():
    """Every stored result was made with such seeds."""
    assert seed_for("batch order") == 3230486530413791225  # sha256 of ["batch order",[]]
    assert seed_for("batch order", seed=0, fold=2) == 357751060747220939  # ... [["fold",2],["seed",0]]


def test_generators_are_seeded_alike_every_time_and_leave_the_global_state_alone():
    before, global_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (torch.randn(4, generator=torch_generator("noise", fold=1)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, torch.randn(4, generator=torch_generator("noise", fold=2)))
    first, second = (numpy_generator("holdout", seed=1).permutation(9) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], global_before)  # noqa: NPY002


def test_torch_draws_on_the_cpu_from_the_seed_itself():
    generator = torch_generator("noise", fold=1)
    assert generator.device == torch.device("cpu")
    assert generator.initial_seed() == seed_for("noise", fold=1)
