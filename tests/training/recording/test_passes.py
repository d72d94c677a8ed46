"""Each pass takes out what it is for, leaves the values as they are to the last bit, and leaves alone what it must."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from fusionbench.training.recording import passes
from fusionbench.training.recording.passes import annotate, calls, placeholders
from fusionbench.training.recording.tape import record

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
W = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1))


def names(recording):
    return [getattr(n.target, "__name__", str(n.target)) for n in calls(recording)]


def run(recording, inputs):
    """Do what a graph says, call by call."""
    return torch.fx.Interpreter(torch.fx.GraphModule(torch.nn.Module(), recording.graph)).run(
        *inputs, *recording.constants
    )


def recorded(function, *inputs):
    """Return the recording of a function, and what it returned as a list."""
    recording, result = record(function, [i.clone() for i in inputs])
    return recording, list(result) if isinstance(result, (tuple, list)) else [result]


def assert_same(recording, wanted, *inputs):
    recording.graph.lint()
    for found, value in zip(run(recording, [i.clone() for i in inputs]), wanted, strict=True):
        assert torch.equal(found, value)


def test_idle_views_and_multiplications_by_one_go():
    recording, wanted = recorded(lambda x: (x.view(3, 5, 4).expand(3, 5, 4) * 1 / 1).permute(0, 1, 2) + 1, X)
    passes.drop_idle(recording)
    assert names(recording) == ["add.Tensor"]
    assert_same(recording, wanted, X)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(15, 4) + 1,  # another shape
        lambda x: x.transpose(1, 2) + 1,
        lambda x: x[1:] + 1,
        lambda x: x * 2 + 1,
        lambda x: (x > 0) * 1 + 1,  # another type
        lambda x: x * True + 1,
    ],
)
def test_views_and_products_that_do_something_stay(function):
    recording, wanted = recorded(function, X)
    before = names(recording)
    passes.drop_idle(recording)
    assert names(recording) == before
    assert_same(recording, wanted, X)


def test_what_nobody_reads_goes_and_what_writes_stays():
    kept = torch.zeros(3, 5, 4)

    def function(x):
        (x * 2).sin()
        kept.add_(x)
        return x + 1

    recording, wanted = recorded(function, X)
    passes.drop_dead(recording)
    assert names(recording) == ["add_.Tensor", "add.Tensor"]
    assert_same(recording, wanted, X)


def test_what_is_computed_twice_is_computed_once():
    recording, wanted = recorded(lambda x: (x.exp() + 1, x.exp() + 1, x.exp() + 2, x.sum(1), x.sum(2)), X)
    passes.share_equal(recording)
    assert names(recording) == ["exp.default", "add.Tensor", "add.Tensor", "sum.dim_IntList", "sum.dim_IntList"]
    assert_same(recording, wanted, X)


def test_numbers_that_only_look_equal_are_two():
    recording, wanted = recorded(lambda x: (x * 0.0, x * -0.0, x + 1, x + True), X)
    passes.share_equal(recording)
    assert len(names(recording)) == 4
    assert_same(recording, wanted, X)
    assert torch.equal(torch.signbit(run(recording, [X])[1]), torch.signbit(X * -0.0))


def test_what_is_read_before_and_after_a_write_is_read_twice():
    def function(x):
        kept = x.clone()
        before = kept.sum()
        kept.mul_(2)
        return before, kept.sum()

    recording, wanted = recorded(function, X)
    passes.share_equal(recording)
    assert names(recording).count("sum.default") == 2
    assert_same(recording, wanted, X)


def test_what_depends_on_no_input_is_computed_for_good():
    def function(x):
        scale = torch.full((4,), 2.0) * 3
        return x * scale + torch.ones_like(x) + torch.arange(4)

    recording, wanted = recorded(function, X)
    passes.fold_constants(recording)
    assert names(recording) == ["mul.Tensor", "add.Tensor", "add.Tensor"]
    assert_same(recording, wanted, X)


def test_memory_that_is_written_to_is_no_constant():
    def function(x):
        kept = torch.zeros(3, 5, 4)
        kept.add_(x)
        return kept

    recording, wanted = recorded(function, X)
    passes.fold_constants(recording)
    assert names(recording) == ["zeros.default", "add_.Tensor"]
    assert_same(recording, wanted, X)
    assert_same(recording, wanted, X)  # and again: nothing was added to what is kept


def test_the_gradient_of_a_weight_lies_as_the_weight():
    def function(w, x):
        with torch.enable_grad():
            w = w.detach().requires_grad_()
            loss = vmap(lambda w, x: torch.nn.functional.linear(x, w).sin().sum())(w, x).sum()
            return torch.autograd.grad(loss, w)

    recording, wanted = recorded(function, W, X)
    assert not wanted[0].is_contiguous()
    passes.drop_idle(recording)
    passes.turn_gradients(recording)
    passes.drop_dead(recording)
    (found,) = run(recording, [W, X])
    assert found.is_contiguous()
    torch.testing.assert_close(found, wanted[0], rtol=1e-5, atol=1e-6)


def test_a_product_that_is_also_read_as_it_is_is_not_turned():
    def function(w, x):
        product = torch.bmm(x, w.transpose(1, 2))
        return product, product.transpose(1, 2)

    recording, wanted = recorded(function, W, X)
    before = names(recording)
    passes.turn_gradients(recording)
    assert names(recording) == before
    assert_same(recording, wanted, W, X)


# ---------------------------------------------------------------- memory


def reused(function, *inputs, consumed=()):
    recording, wanted = recorded(function, *inputs)
    annotate(recording, [i.clone() for i in inputs])
    passes.reuse_memory(recording, consumed)
    return recording, wanted


def test_operators_by_element_overwrite_what_dies():
    recording, wanted = reused(lambda x: (x.exp() * 2).sin() + x, X)
    assert names(recording) == ["exp.default", "mul.Tensor", "sin.out", "add.out"] or "sin.out" in names(recording)
    assert_same(recording, wanted, X)


def both(x):
    y = x.exp()
    return y, y.sin()


def later(x):
    y = x.exp()
    sine = y.sin()
    return y.cos() * 0 + sine + y


def later_as_a_view(x):
    y = x.exp()
    return y.sin(), y[0].cos()


def beside_a_view(x):
    y = x.exp()
    return y.sin() + y.transpose(0, 1).transpose(0, 1)[:1]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sin() + 1,  # an input is the caller's
        both,  # an output is as well
        later,
        later_as_a_view,
        beside_a_view,
        lambda x: x.exp()[:, :1].sin(),  # not all of its memory
        lambda x: x.exp().sum(1, keepdim=True) * x,  # smaller
        lambda x: (x.exp() > 1) & (x.exp() < 2),  # another type
    ],
)
def test_what_is_still_read_is_not_overwritten(function):
    recording, wanted = reused(function, X)
    assert_same(recording, wanted, X)
    assert_same(recording, wanted, X)


def test_a_tensor_is_not_overwritten_while_another_view_of_it_is_read_beside_it():
    def function(x):
        y = x.exp()
        return y + y.flip(0) + y.transpose(0, 1).transpose(1, 0).roll(1, 0), y[0:1] * 1.5

    recording, wanted = reused(function, X)
    assert_same(recording, wanted, X)


def test_constants_are_never_overwritten():
    shift = torch.ones(3, 5, 4)
    recording, wanted = reused(lambda x: shift.sin() + x, X)
    passes.fold_constants(recording)
    assert_same(recording, wanted, X)
    assert torch.equal(shift, torch.ones(3, 5, 4))


def test_an_input_may_be_overwritten_where_the_caller_says_so():
    recording, wanted = reused(lambda x: x * 2 + 1, X, consumed=[0])
    assert "mul.out" in names(recording) or "add.out" in names(recording)
    given = X.clone()
    (found,) = run(recording, [given])
    assert torch.equal(found, wanted[0])
    assert found.data_ptr() == given.data_ptr()


def test_outputs_are_written_where_the_caller_wants_them():
    recording, wanted = recorded(lambda w, x: (torch.bmm(x, w.transpose(1, 2)), x.sin(), x.cos()), W, X)
    annotate(recording, [W, X])
    passes.write_into(recording, [0, 2])
    assert len(placeholders(recording)) == 4
    rows = torch.zeros(3, 20)  # a row for each model, with more behind it
    product, cosine = rows[:, :10].view(3, 5, 2), torch.zeros(3, 5, 4)
    (sine,) = torch.fx.Interpreter(torch.fx.GraphModule(torch.nn.Module(), recording.graph)).run(W, X, product, cosine)
    for found, value in zip((product, sine, cosine), wanted, strict=True):
        assert torch.equal(found, value)
    assert torch.equal(rows[:, 10:], torch.zeros(3, 10))
    assert "bmm.out" in names(recording)
