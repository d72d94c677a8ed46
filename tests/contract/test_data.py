"""What a task is, and what it prepares."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from fusionbench.contract.data import Dataset, Findings, FunnelStep, InputKind, Modality, Task
from fusionbench.targets import TargetKind
from tests.builders import toy_dataset


class Smallest(Task):
    """Implements what it must."""

    def prepare(self, cache, progress):
        return toy_dataset(rows=4)


def test_a_task_has_to_say_how_to_prepare_and_nothing_else():
    with pytest.raises(TypeError, match="abstract"):
        Task()
    assert Smallest().prepare(None, None).kind is TargetKind.BINARY


def test_a_task_without_a_check_is_described_and_recognises_no_folder(tmp_path):
    assert Smallest().check(tmp_path, None) is None
    assert Smallest.recognises(tmp_path) is None
    assert (Smallest.modality_names, Smallest.source) == ((), "")


@pytest.mark.parametrize("kind", TargetKind)
def test_a_data_set_is_as_long_as_it_has_rows(kind):
    assert len(toy_dataset(rows=30, kind=kind)) == 30


def test_what_is_prepared_stays_as_it_is():
    dataset = toy_dataset(rows=4)
    for one, field in ((dataset, "metric"), (dataset.modalities["a"], "kind"), (Findings([]), "lines")):
        with pytest.raises(FrozenInstanceError):
            setattr(one, field, "other")


def test_what_the_source_does_not_fix_is_left_open():
    modality = Modality("text", ["a"])
    assert (modality.lengths, modality.standardise, modality.columns) == (None, None, ())
    given = {"modalities": {"note": modality}, "available": [[True]], "target": [1], "kind": TargetKind.BINARY}
    dataset = Dataset(**given, outputs=("y",), groups=[0], digest="d")
    assert (dataset.split, dataset.folds, dataset.ceiling) == (None, None, None)
    assert (dataset.synthetic, dataset.metric) == (False, "auroc")


def test_a_step_of_the_funnel_needs_no_note():
    assert FunnelStep("adults", 12) == ("adults", 12, "")


def test_every_kind_of_input_has_an_encoder_among_the_built_ins():
    from typing import get_args

    from fusionbench.plugins.catalogue import Plugins

    plugins = Plugins()
    read = set().union(*(plugins.get("encoders", n).target.accepts for n in plugins.names("encoders")))
    assert read == set(get_args(InputKind))
