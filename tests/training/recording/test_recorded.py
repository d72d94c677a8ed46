"""A function runs from its list only if the list does what the function does; else it runs as it is, and it is said why."""

from __future__ import annotations

import threading

import pytest
import torch

from fusionbench.training.recording.recorded import Programs, Recorded, tensors_of


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(function, programs=None, **changes):
    programs = Programs() if programs is None else programs
    return Recorded("the function", function, programs, **changes), programs


def simple(calls):
    def function(kept, inputs):
        calls.append(True)
        return {"scaled": inputs["x"] * kept["w"]}, {"sum": inputs["x"].sum(dim=1)}

    return function


def test_after_it_was_taken_down_the_function_is_not_called():
    calls = []
    recorded, programs = made(simple(calls))
    kept = {"w": numbers(2, 1)}
    for seed in range(4):
        x = numbers(2, 3, seed=seed)
        named, rest = recorded(kept, {"x": x})
        assert torch.equal(named["scaled"], x * kept["w"])
        assert torch.equal(rest["sum"], x.sum(dim=1))
    assert len(calls) == 2  # taken down, and compared
    assert programs.reasons == {}


def test_other_shapes_and_other_owners_are_other_lists_or_none():
    calls = []
    programs = Programs()
    first, _ = made(simple(calls), programs)
    first({"w": numbers(2, 1)}, {"x": numbers(2, 3)})
    first({"w": numbers(2, 1)}, {"x": numbers(2, 5)})
    assert len(calls) == 4
    second, _ = made(simple(calls), programs)  # of the same operations: the list is there
    named, _ = second({"w": torch.full((2, 1), 2.0)}, {"x": torch.ones(2, 3)})
    assert torch.equal(named["scaled"], torch.full((2, 3), 2.0))
    assert len(calls) == 4
    third, _ = made(simple(calls), programs, decided="otherwise")
    third({"w": numbers(2, 1)}, {"x": numbers(2, 3)})
    assert len(calls) == 6


def test_named_results_are_written_where_the_caller_says():
    for wanted in (True, False):
        recorded, _ = made(simple([]), Programs(wanted=wanted))
        kept, place = {"w": numbers(2, 1)}, torch.zeros(2, 3)
        for seed in range(3):
            x = numbers(2, 3, seed=seed)
            named, _ = recorded(kept, {"x": x}, {"scaled": place, "other": torch.zeros(1)})
            assert named["scaled"] is place
            assert torch.equal(place, x * kept["w"])


def test_where_nothing_is_to_be_recorded_the_function_is_called_each_time():
    calls = []
    recorded, _ = made(simple(calls), Programs(wanted=False))
    for _ in range(3):
        recorded({"w": numbers(2, 1)}, {"x": numbers(2, 3)})
    assert len(calls) == 3


def counter():
    """Counts its calls in Python."""
    seen = []

    def function(kept, inputs):
        seen.append(True)
        return {}, inputs["x"] * len(seen)

    return function


def in_a_thread():
    """Computes where no tape sees it."""

    def function(kept, inputs):
        found = []
        thread = threading.Thread(target=lambda: found.append(inputs["x"] * 2))
        thread.start()
        thread.join()
        return {}, found[0] + 1

    return function


def of_parameters_in_a_thread():
    """The same, of what does not change between two batches."""

    def function(kept, inputs):
        found = []
        thread = threading.Thread(target=lambda: found.append(kept["w"] * 2))
        thread.start()
        thread.join()
        return {}, inputs["x"] + found[0]

    return function


def remembers():
    """Keeps a tensor of the call before."""
    last = [torch.zeros(2, 3)]

    def function(kept, inputs):
        result = inputs["x"] + last[0]
        last[0] = inputs["x"].clone()
        return {}, result

    return function


def through_numpy():
    """Leaves torch for a moment."""

    def function(kept, inputs):
        return {}, inputs["x"] + torch.from_numpy(inputs["x"].numpy() * 2)

    return function


@pytest.mark.parametrize("make", [counter, in_a_thread, of_parameters_in_a_thread, remembers, through_numpy])
def test_what_does_something_else_the_second_time_runs_as_it_is(make):
    recorded, programs = made(make())
    reference = make()
    kept = {"w": numbers(2, 1)}
    for seed in range(2):  # looking at it called it twice
        reference(kept, {"x": numbers(2, 3, seed=seed)})
    recorded(kept, {"x": numbers(2, 3, seed=0)})
    assert programs.reasons == {"the function": "does something else from call to call"}
    if make in (in_a_thread, of_parameters_in_a_thread, through_numpy):
        x = numbers(2, 3, seed=9)
        assert torch.equal(recorded(kept, {"x": x})[1], reference(kept, {"x": x})[1])


def test_what_asks_for_a_number_runs_as_it_is():
    def function(kept, inputs):
        return {}, inputs["x"] * float(inputs["x"].max())

    recorded, programs = made(function)
    for seed in range(3):
        x = numbers(2, 3, seed=seed)
        assert torch.equal(recorded({}, {"x": x})[1], x * x.max())
    assert programs.reasons == {"the function": "asks for a number (aten::_local_scalar_dense)"}


def test_what_writes_to_what_it_is_given_runs_as_it_is():
    def function(kept, inputs):
        return {}, inputs["x"].add_(1)

    recorded, programs = made(function)
    x = torch.zeros(2, 3)
    recorded({}, {"x": x})
    assert torch.equal(x, torch.ones(2, 3))  # once, though it was looked at
    assert programs.reasons == {"the function": "writes to what it is given"}


def test_what_is_kept_may_be_written_to_and_is_once_a_call():
    def function(kept, inputs):
        kept["count"].add_(1)
        return {}, inputs["x"] * kept["count"]

    recorded, programs = made(function)
    kept = {"count": torch.zeros(2, 1)}
    found = [float(recorded(kept, {"x": torch.ones(2, 3)})[1][0, 0]) for _ in range(4)]
    assert found == [1, 2, 3, 4]
    assert programs.reasons == {}


def test_what_the_function_raises_is_raised():
    def function(kept, inputs):
        raise ValueError("not with me")

    recorded, _ = made(function)
    for _ in range(2):
        with pytest.raises(ValueError, match="not with me"):
            recorded({}, {"x": numbers(2, 3)})


def test_a_tensor_that_takes_another_place_is_noticed():
    recorded, _ = made(simple([]))
    kept = {"w": numbers(2, 1)}
    recorded(kept, {"x": numbers(2, 3)})
    kept["w"] = torch.full((2, 1), 5.0)
    assert torch.equal(recorded(kept, {"x": torch.ones(2, 3)})[0]["scaled"], torch.full((2, 3), 5.0))


def test_rows_that_all_models_share_need_no_copy():
    def function(kept, inputs):
        return {}, torch.bmm(inputs["x"], kept["w"])

    recorded, programs = made(function)
    kept, shared = {"w": numbers(4, 3, 2)}, numbers(1, 5, 3).expand(4, 5, 3)
    for _ in range(2):
        found = recorded(kept, {"x": shared})[1]
        torch.testing.assert_close(found, torch.bmm(shared.contiguous(), kept["w"]), rtol=0, atol=1e-6)
    assert programs.reasons == {}


def test_tensors_of_a_tree_come_in_torchs_order():
    a, b, c, d = (torch.tensor(float(i)) for i in range(4))
    tree = {"z": (a, None, [b]), "a": {"x": c}, "n": 3, "m": d}
    assert [t is w for t, w in zip(tensors_of(tree), (a, b, c, d), strict=True)] == [True] * 4
