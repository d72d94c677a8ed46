"""The modalities of a data set and their encoders: what does not fit is said, and what fits is encoded."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fusionbench.config.missing import MissingnessSection
from fusionbench.contract.data import Modality
from fusionbench.contract.learners import Encoder
from fusionbench.contract.registration import Registration
from fusionbench.data.encoding import check_missingness, check_modalities, encode_modalities, with_remarks
from fusionbench.errors import ConfigError, DataError, PluginError
from fusionbench.plan.parts import Part
from fusionbench.plugins.catalogue import Plugins
from fusionbench.plugins.resolving import resolve
from fusionbench.progress import SilentProgress
from tests.builders import make_benchmark, toy_dataset
from tests.front import TOY

CPU = torch.device("cpu")


def resolved(**changes):
    return resolve(make_benchmark(**changes), Plugins([TOY]), lambda location: f"toy.yaml: {location[0]}: ")


def encoder(name, **options):
    return Part(Registration("encoders", name, Plugins().get("encoders", name).target, "fusionbench", ""), options, "e")


def encoded(folder, dataset=None, **encoders):
    parts = resolved()
    parts = replace(parts, encoders={**parts.encoders, **encoders})
    return encode_modalities(dataset or toy_dataset(rows=20), parts, folder, CPU, SilentProgress())


def test_a_modality_without_an_encoder_is_an_error_with_what_the_task_offers():
    with pytest.raises(ConfigError, match="encoders: none for modality b; the task offers a, b, c"):
        check_modalities(toy_dataset(), resolved(encoders={"a": "identity", "c": "identity"}), SilentProgress())


def test_an_encoder_without_a_modality_is_noted_and_not_used(tmp_path):
    parts = resolved(encoders=dict.fromkeys("abcz", "identity"))
    progress = SilentProgress()
    check_modalities(toy_dataset(), parts, progress)
    assert progress.notes == ["warning: the data hold no z; their encoders are not used"]
    inputs, _ = encode_modalities(toy_dataset(rows=20), parts, tmp_path, CPU, progress)
    assert list(inputs) == ["a", "b", "c"]


def test_an_arm_that_may_see_what_is_not_there_is_named_once():
    arms = [{"name": "sum", "modalities": ["a", "y", "x"], "imputers": ["zero", "mean"]}]
    with pytest.raises(ConfigError) as caught:
        check_modalities(toy_dataset(), resolved(strategies=arms), SilentProgress())
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].endswith("modalities: the task offers a, b, c; found x, y")


def test_every_pattern_that_names_nothing_is_reported():
    check_missingness(toy_dataset(), MissingnessSection(patterns=("random", "all", "a+b")))
    with pytest.raises(ConfigError) as caught:
        check_missingness(toy_dataset(), MissingnessSection(patterns=("random", "a+z", "b", "q")))
    assert [p.split("; ")[0][:38] for p in caught.value.problems] == [
        "missingness.patterns: pattern 'a+z': n",
        "missingness.patterns: pattern 'q': no ",
    ]


def test_what_is_always_absent_must_be_there_and_leave_something():
    check_missingness(toy_dataset(), MissingnessSection(absent=("a",), patterns=("random", "b")))
    with pytest.raises(ConfigError) as caught:
        check_missingness(toy_dataset(), MissingnessSection(absent=("a", "bb"), patterns=("random", "a", "a+b")))
    assert caught.value.problems == [
        "missingness.absent: no modality named 'bb'; did you mean 'b'?; the data have a, b, c",
        "missingness.patterns: pattern 'a' hides a, which 'absent' takes from every row; leave it out of one of the two",
        "missingness.patterns: pattern 'a+b' hides a, which 'absent' takes from every row; leave it out of one of the two",
    ]
    with pytest.raises(ConfigError, match="names every modality"):
        check_missingness(toy_dataset(), MissingnessSection(absent=("a", "b", "c")))


def test_an_encoder_that_does_not_read_this_kind_of_modality_is_refused_with_what_it_reads(tmp_path):
    with pytest.raises(ConfigError, match="e: encoder 'lstm' reads series, but modality 'b' is vector"):
        encoded(tmp_path, b=encoder("lstm"))


class Doubler(Encoder):
    """Twice the input, once and for all."""

    accepts = frozenset({"vector"})
    frozen = True

    def __init__(self, spec):
        super().__init__()
        (self.output_dim,) = spec.shape

    def forward(self, inputs, lengths=None):
        return 2 * inputs


def test_frozen_encoders_have_run_and_trainable_ones_are_part_of_the_model(tmp_path):
    dataset = toy_dataset(rows=20)
    frozen = Part(Registration("encoders", "doubler", Doubler, "tests", ""), {}, "e")
    inputs, parts = encoded(tmp_path, dataset, a=frozen, b=encoder("mlp", output_dim=6))
    assert {n: i.encoded for n, i in inputs.items()} == {"a": True, "b": False, "c": False}
    assert {n: p.trainable for n, p in parts.items()} == {"a": False, "b": True, "c": True}
    assert {n: p.dim for n, p in parts.items()} == {"a": 4, "b": 6, "c": 4}
    has = dataset.available[:, 0]
    assert np.array_equal(inputs["a"].values[has], 2 * dataset.modalities["a"].values[has])
    assert not inputs["a"].values[~has].any()
    assert np.array_equal(inputs["b"].values, dataset.modalities["b"].values)
    assert parts["a"].fingerprint != ""
    assert parts["b"].fingerprint == ""  # options and seed decide it


def test_an_encoder_is_built_for_what_its_modality_is(tmp_path):
    dataset = toy_dataset(rows=20, width=5)
    flags = np.array([True, False, True, True, False])
    given = {**dataset.modalities, "c": replace(dataset.modalities["c"], standardise=flags)}
    _, parts = encoded(tmp_path, replace(dataset, modalities=given))
    spec = parts["c"].spec
    assert (spec.kind, spec.shape, spec.standardise) == ("vector", (5,), (True, False, True, True, False))
    bare = replace(dataset, modalities={**given, "c": replace(given["c"], standardise=None)}, digest="bare")
    assert encoded(tmp_path, bare)[1]["c"].spec.standardise == ()


class Deaf(Doubler):
    """The same, whatever is read."""

    def forward(self, inputs, lengths=None):
        return torch.ones_like(inputs)


def test_a_frozen_encoder_that_makes_the_same_of_all_rows_is_refused_also_when_they_are_stored(tmp_path):
    deaf = Part(Registration("encoders", "deaf", Deaf, "tests", ""), {}, "e")
    for _ in range(2):
        with pytest.raises(PluginError, match="modality a: encoder 'deaf' made the same embedding of all"):
            encoded(tmp_path, a=deaf)


class Broken(Doubler):
    def forward(self, inputs, lengths=None):
        raise IndexError("index out of range in self")


def test_whatever_an_encoder_raises_is_its_own_failure(tmp_path):
    broken = Part(Registration("encoders", "broken", Broken, "tests", ""), {}, "e")
    with pytest.raises(PluginError, match="encoding a: encoder Broken failed: IndexError: index out of range"):
        encoded(tmp_path, a=broken)


@pytest.mark.parametrize("grey", [0, 200])
def test_pictures_that_are_all_alike_stop_before_anything_is_encoded(tmp_path, grey):
    dataset = toy_dataset(rows=20)
    pictures = Modality("image", np.full((20, 8, 8), grey, dtype=np.uint8))
    with pytest.raises(DataError, match=r"modality b: all \d+ pictures are"):
        encoded(tmp_path, replace(dataset, modalities={**dataset.modalities, "b": pictures}), b=encoder("image_grid"))
    assert list(tmp_path.iterdir()) == []


def test_remarks_stand_among_the_warnings_with_the_modality():
    dataset = toy_dataset()
    inputs = {"a": SimpleNamespace(remarks=()), "b": SimpleNamespace(remarks=("5 texts are cut",))}
    assert with_remarks(dataset, inputs).warnings == (*dataset.warnings, "modality b: 5 texts are cut")
    assert with_remarks(dataset, {"a": inputs["a"]}) is dataset
