"""A program does what the function did, on any tensors that lie as those of the recording."""

from __future__ import annotations

import torch

from fusionbench.training.recording import passes
from fusionbench.training.recording.program import Program
from fusionbench.training.recording.tape import record


def made(function, inputs, **changes):
    recording, _ = record(function, inputs)
    return Program(recording, inputs, **changes)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def function(weight, x):
    """Something with views of the weight, a constant, and two results."""
    product = torch.bmm(x, weight.transpose(1, 2)) + torch.full((2,), 0.5)
    return torch.where(product > 0, product, 0).sum(1), weight.flatten(1).sum(1)


def test_other_tensors_of_the_same_shapes_give_what_the_function_gives():
    program = made(function, [numbers(3, 2, 4), numbers(3, 5, 4)], kept=1)
    weight, x = numbers(3, 2, 4, seed=7), numbers(3, 5, 4, seed=8)
    run = program.bind([weight])
    for _ in range(3):
        for found, wanted in zip(run(x), function(weight, x), strict=True):
            assert torch.equal(found, wanted)
        with torch.no_grad():  # what keeps its place may change its numbers
            weight.mul_(1.5)


def test_views_of_what_keeps_its_place_are_made_once():
    inputs = [numbers(3, 2, 4), numbers(3, 5, 4)]
    kept, free = made(function, inputs, kept=1), made(function, inputs)
    views = [n for n in kept._body.__self__.graph.nodes if "transpose" in str(n.target)]
    assert views == []
    assert any("transpose" in str(n.target) for n in free._body.__self__.graph.nodes)


def test_one_program_serves_several_owners():
    program = made(function, [numbers(3, 2, 4), numbers(3, 5, 4)], kept=1)
    weights = [numbers(3, 2, 4, seed=s) for s in (1, 2)]
    runs, x = [program.bind([w]) for w in weights], numbers(3, 5, 4, seed=3)
    for weight, run in zip(weights, runs, strict=True):
        assert torch.equal(run(x)[0], function(weight, x)[0])


def test_results_go_where_they_are_wanted():
    program = made(function, [numbers(3, 2, 4), numbers(3, 5, 4)], kept=1, into=[1])
    weight, x, place = numbers(3, 2, 4, seed=7), numbers(3, 5, 4, seed=8), torch.zeros(3)
    (first,) = program.bind([weight], [place])(x)
    wanted = function(weight, x)
    assert torch.equal(first, wanted[0])
    assert torch.equal(place, wanted[1])


def test_what_a_function_writes_to_what_it_keeps_is_written_again():
    def counting(count, x):
        count.add_(1)
        return x * count

    program = made(counting, [torch.zeros(1), torch.ones(3)], kept=1)
    count = torch.zeros(1)
    run = program.bind([count])
    assert [float(run(torch.ones(3))[0][0]) for _ in range(3)] == [1, 2, 3]
    assert float(count) == 3


def test_cleaning_leaves_fewer_operators_and_keeps_gradients_out():
    weight = numbers(3, 2, 4).requires_grad_()

    def differentiated(w, x):
        with torch.enable_grad():
            loss = torch.bmm(x, w.transpose(1, 2)).square().sum()
            return torch.autograd.grad(loss, w)

    recording, _ = record(differentiated, [weight, numbers(3, 5, 4)])
    before = len(list(passes.calls(recording)))
    program = Program(recording, [weight, numbers(3, 5, 4)], kept=1)
    assert program.size < before
    (found,) = program.bind([weight])(numbers(3, 5, 4))
    assert not found.requires_grad
    torch.testing.assert_close(found, differentiated(weight, numbers(3, 5, 4))[0])
