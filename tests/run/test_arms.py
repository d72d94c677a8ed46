"""Arms before their first model is trained."""

from __future__ import annotations

import pytest

from fusionbench.errors import ConfigError
from fusionbench.run.arms import reads_of, try_arms
from tests.builders import make_run, toy_dataset

ONE = {"name": "unimodal", "modality": "b"}
TWO = {"name": "sum", "modalities": ["a", "c"]}


def test_what_each_arm_reads_is_known_before_it_is_trained(tmp_path):
    run = make_run(tmp_path, toy_dataset(), strategies=["concat", ONE, TWO])
    found = reads_of(run.resolved.arms, run.blueprint, list(run.dataset.modalities))
    assert list(found.values()) == [("a", "b", "c"), ("b",), ("a", "c")]


def test_refused_options_of_all_arms_are_said_at_once(tmp_path):
    wrong = [{"name": "unimodal", "label": n, "modality": n} for n in ("nobody", "nothing")]
    with pytest.raises(ConfigError) as caught:
        make_run(tmp_path, toy_dataset(), strategies=["concat", *wrong])
    assert len(caught.value.problems) == 2


def test_arms_that_can_be_built_pass(tmp_path):
    run = make_run(tmp_path, toy_dataset(), strategies=["concat", ONE])
    try_arms(run.resolved.arms, run.blueprint)
