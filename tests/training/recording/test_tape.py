"""What a function does is taken down operator by operator, below autograd and vmap, and says when it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from fusionbench.training.recording.passes import annotate, calls
from fusionbench.training.recording.tape import MOST_OPERATORS, PLACE, CannotRecordError, place_of, record

X = torch.arange(12.0).reshape(3, 4)


def names(recording):
    return [getattr(n.target, "__name__", str(n.target)) for n in calls(recording)]


def test_operators_are_taken_down_and_the_result_is_the_functions():
    recording, result = record(lambda x: {"sum": x.sum(), "more": [x * 2]}, [X])
    assert names(recording) == ["sum.default", "mul.Tensor"]
    assert recording.inputs == 1
    assert torch.equal(result["more"][0], X * 2)
    assert recording.outputs.num_leaves == 2


def test_what_autograd_and_vmap_make_of_a_function_is_taken_down():
    weight = torch.ones(2, 4, requires_grad=True)

    def function(w, x):
        loss = vmap(lambda w, x: (x @ w).square().sum())(w, x).sum()
        return torch.autograd.grad(loss, w)

    recording, (gradient,) = record(function, [weight, torch.stack([X, X])])
    assert "bmm.default" in names(recording)
    torch.testing.assert_close(gradient, 2 * torch.stack([X.T @ (X @ torch.ones(4))] * 2))


def test_tensors_from_elsewhere_are_constants_in_the_order_they_were_met():
    first, second = torch.ones(3, 1), torch.full((4,), 2.0)
    recording, _ = record(lambda x: x * first + second - first, [X])
    assert [c is t for c, t in zip(recording.constants, (first, second), strict=True)] == [True, True]


def test_every_tensor_of_several_results_is_known():
    recording, _ = record(lambda x: [p + 1 for p in x.split([1, 3], dim=1)], [X])
    assert names(recording) == ["split_with_sizes.default", "getitem", "getitem", "add.Tensor", "add.Tensor"]


def test_other_names_of_a_tensor_are_the_tensor():
    recording, _ = record(lambda x: x.detach().detach() * 3, [X])
    assert names(recording) == ["mul.Tensor"]


def test_it_is_noted_who_writes_and_to_what():
    def function(x):
        kept = torch.zeros(4)
        kept.add_(x[0])
        return kept * 2

    recording, result = record(function, [X])
    assert torch.equal(result, X[0] * 2)
    assert len(recording.written) == 1
    assert X.untyped_storage()._cdata not in recording.written
    mine = X.clone()
    assert record(lambda x: x.mul_(2), [mine])[0].written == {mine.untyped_storage()._cdata}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x * float(x.sum()), r"asks for a number \(aten::_local_scalar_dense\)"),
        (lambda x: x * 2 if x.sum() > 0 else x, "asks for a number"),
        (lambda x: x[x > 3], r"makes a tensor whose shape depends on numbers \(aten::index\)"),
        (lambda x: x.nonzero(), "makes a tensor whose shape depends on numbers"),
        (lambda x: torch.masked_select(x, x > 3), "makes a tensor whose shape depends on numbers"),
        (lambda x: x.unique(), "makes a tensor whose shape depends on numbers"),
        (lambda x: x + torch.rand(4), r"draws random numbers \(aten::rand\)"),
        (lambda x: torch.nn.functional.dropout(x, 0.5), "draws random numbers"),
        (lambda x: (x, "text"), "returns something that is not a tensor"),
    ],
)
def test_what_cannot_be_taken_down_says_why(function, reason):
    with pytest.raises(CannotRecordError, match=reason):
        record(function, [X.clone()])


def test_indices_that_are_whole_numbers_are_no_obstacle():
    recording, result = record(lambda x: x[torch.tensor([2, 0])], [X])
    assert torch.equal(result, X[[2, 0]])
    assert "index.Tensor" in names(recording)


def test_a_function_that_catches_everything_hides_nothing():
    def function(x):
        try:
            return x * float(x.sum())
        except Exception:  # noqa: BLE001 - as a plugin may have it
            return x

    with pytest.raises(CannotRecordError, match="asks for a number"):
        record(function, [X])


def test_a_function_without_end_is_not_taken_down():
    def function(x):
        for _ in range(MOST_OPERATORS + 1):
            x = x + 1
        return x

    with pytest.raises(CannotRecordError, match="does more than 20,000 operators"):
        record(function, [torch.zeros(())])


def test_what_a_function_raises_is_its_own():
    with pytest.raises(ZeroDivisionError):
        record(lambda x: x / (1 // 0), [X])


def test_places_say_who_shares_memory_and_who_is_all_of_it():
    base = torch.zeros(4, 6)
    place, part, turned = place_of(base), place_of(base[1:]), place_of(base.T)
    assert place.storage == part.storage == turned.storage
    assert (place.whole, part.whole, turned.whole) == (True, False, True)
    assert part.offset == 6
    assert place.alike(place_of(torch.zeros(4, 6)))
    assert not place.alike(turned)
    assert not place_of(torch.zeros(1).expand(5)).whole


def test_places_are_noted_anew_after_a_change():
    recording, _ = record(lambda x: x.T.contiguous() * 2, [X])
    annotate(recording, [X])
    assert [n.meta[PLACE].shape for n in calls(recording)] == [(4, 3)] * 3
