"""The batches of the kit: what they cover, and how they are changed."""

from __future__ import annotations

import pytest
import torch

from fusionbench import FusionSpec, TargetKind
from fusionbench.testing import default_cases, make_case
from fusionbench.testing.batches import cast, fill, map_rows, map_tensors


def test_cases_cover_sizes_targets_and_patterns_and_leave_no_row_empty():
    cases = default_cases()
    assert len(cases) == 4 * 3 * 3
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        shown, known = case.batch.usable_mask(), torch.stack(list(case.batch.available.values()), dim=1)
        assert shown.any(dim=1).all()
        assert not (shown & ~known).any()
        assert isinstance(case.spec, FusionSpec)


@pytest.fixture
def case():
    return make_case(3, TargetKind.MULTICLASS, "random")


def test_a_case_is_the_same_every_time(case):
    again = make_case(3, TargetKind.MULTICLASS, "random")
    assert torch.equal(case.target, again.target)
    for name, values in case.batch.features.items():
        assert torch.equal(values, again.batch.features[name])


@pytest.mark.parametrize("kind", TargetKind)
def test_every_class_and_every_state_of_a_label_appears(kind):
    case = make_case(2, kind, "complete")
    columns = case.target.reshape(len(case.target), -1).T
    classes = case.spec.num_outputs if kind is TargetKind.MULTICLASS else 2
    assert all(set(column.tolist()) == set(range(classes)) for column in columns)


def test_each_pattern_shows_what_its_name_says():
    shown = {p: make_case(3, TargetKind.BINARY, p).batch.usable_mask() for p in ("complete", "random", "single")}
    assert shown["complete"].all()
    assert shown["single"].sum(dim=1).tolist() == [1] * 12
    assert shown["single"].any(dim=0).all()
    assert 0 < shown["random"].double().mean() < 1


def test_an_unknown_pattern_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="one of complete, random, single, found 'half'"):
        make_case(2, TargetKind.BINARY, "half")


def test_rows_are_taken_in_the_order_asked_for_everywhere(case):
    some = case.rows([3, 0])
    assert torch.equal(some.target, case.target[[3, 0]])
    assert torch.equal(some.batch.latents, case.batch.latents[[3, 0]])
    for name in case.spec.names:
        assert torch.equal(some.batch.features[name], case.batch.features[name][[3, 0]])
        assert torch.equal(some.batch.present[name], case.batch.present[name][[3, 0]])
        assert torch.equal(some.batch.zero_input[name], case.batch.zero_input[name])


def test_a_copy_has_tensors_of_its_own(case):
    kept = case.copy()
    case.batch.features["ehr"].zero_()
    case.target.zero_()
    assert kept.batch.features["ehr"].any()
    assert kept.target.any()


def test_filling_touches_the_marked_rows_alone(case):
    rows = {name: torch.arange(12) == 4 for name in case.spec.names}
    filled = fill(case.batch, rows, 7.0).features["cxr"]
    assert filled[4].tolist() == [7.0] * 8
    assert torch.equal(filled[5:], case.batch.features["cxr"][5:])


def test_precision_is_changed_of_numbers_and_not_of_masks(case):
    half = cast(case.batch, torch.float16)
    numbers = [*half.features.values(), *half.zero_input.values(), half.latents]
    assert {t.dtype for t in numbers} == {torch.float16}
    assert {t.dtype for t in half.present.values()} == {torch.bool}


def test_what_is_not_by_row_is_changed_only_where_every_tensor_is(case):
    negated = {"rows": map_rows(case.batch, torch.logical_not), "all": map_tensors(case.batch, torch.logical_not)}
    assert negated["rows"].zero_input["ehr"].dtype == torch.float64
    assert negated["all"].zero_input["ehr"].dtype == torch.bool
