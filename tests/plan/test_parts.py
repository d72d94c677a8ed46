"""What a benchmark is made of: plugins with options, arms, and what enters the key of a result."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fusionbench.contract.batch import InputSpec
from fusionbench.contract.learners import Component
from fusionbench.keys import digest
from fusionbench.missingness.corruption import Corruption
from fusionbench.plan.parts import Arm, ModalityPart, Part, options_of


class Plain(Component):
    """Searches nothing."""


class Searching(Component):
    """Searches something."""

    @classmethod
    def search_space(cls, trial):
        return {"k": trial.suggest_int("k", 1, 3)}


class Inherits(Searching):
    """Searches what its parent does."""


def part(name, target=Plain, **options):
    def build(where, *arguments, **given):
        return where, arguments, given

    registration = SimpleNamespace(name=name, target=target, identity={"name": name}, build=build)
    return Part(registration, options, f"b.yaml:1: {name}")


def arm(**changes):
    given = {
        "title": "sum",
        "strategy": part("sum"),
        "imputer": part("knn", k=3),
        "regularisers": (),
        "corruption": None,
    }
    return Arm(**{**given, **changes})


def test_a_part_is_built_with_its_options_and_those_given_last_win():
    where, arguments, options = part("knn", k=3, p=1).build("spec", k=5)
    assert (where, arguments, options) == ("b.yaml:1: knn", ("spec",), {"k": 5, "p": 1})


@pytest.mark.parametrize(("target", "searches"), [(Plain, False), (Searching, True), (Inherits, True)])
def test_a_part_searches_when_its_class_or_a_parent_says_what(target, searches):
    assert part("x", target).searches is searches


def test_suggestions_are_told_apart_by_the_word_before_the_last_point():
    suggested = {"alpha": 1, "imputer.k": 2, "regulariser.0.weight": 3, "regulariser.1.weight": 4}
    found = {owner: options_of(owner, suggested) for owner in ("", "imputer", "regulariser.0", "regulariser", "k")}
    assert found == {"": {"alpha": 1}, "imputer": {"k": 2}, "regulariser.0": {"weight": 3}, "regulariser": {}, "k": {}}


def test_parts_of_an_arm_that_are_searched_have_the_names_of_their_options():
    carried = arm(imputer=part("knn", Searching), regularisers=(part("tla"), part("own", Searching)))
    assert list(carried.parts) == ["", "imputer", "regulariser.0", "regulariser.1"]
    assert carried.searched == ["imputer", "regulariser.1"]
    assert arm(strategy=part("sum", Searching)).searched == []  # the strategy is searched under no name


def test_an_arm_as_tuned_has_the_suggested_options_of_its_imputer_only():
    given = arm()
    tuned = given.tuned({"imputer.k": 7, "alpha": 2})
    assert tuned.imputer.options == {"k": 7}
    assert tuned.strategy is given.strategy
    assert given.imputer.options == {"k": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": part("sum", variant="logit")},
        {"imputer": part("knn", k=4)},
        {"regularisers": (part("tla"),)},
        {"corruption": Corruption("bernoulli", 0.3)},
        {"modalities": ("a", "b")},
    ],
    ids=lambda c: next(iter(c)),
)
def test_whatever_decides_a_result_is_in_the_identity_of_an_arm(change):
    assert digest(arm(**change).identity) != digest(arm().identity)


def test_what_decides_no_result_is_not_in_the_identity_of_an_arm():
    assert arm(title="mine").identity == arm().identity
    assert "modalities" not in arm().identity  # keys from before there were such arms stay
    assert arm(modalities=("b", "a")).identity == arm(modalities=("a", "b")).identity


def test_inputs_are_completed_alike_for_arms_with_one_imputer_and_one_view():
    assert arm(strategy=part("concat"), regularisers=(part("tla"),)).completion == arm().completion
    others = [arm(imputer=part("knn", k=4)), arm(modalities=("a",)), arm()]
    assert len({a.completion for a in others}) == 3


def test_an_arm_sees_modalities_in_the_order_of_the_data():
    assert arm().seen(["a", "b", "c"]) == ["a", "b", "c"]
    assert arm(modalities=("c", "a", "z")).seen(["a", "b", "c"]) == ["a", "c"]


def test_an_arm_is_called_by_title_and_imputer():
    assert arm(title="sum on a").label == "sum on a / knn"


def test_weights_from_elsewhere_and_being_trained_are_part_of_a_modality():
    def identity(trainable=False, fingerprint="f", dim=4):
        spec = InputSpec("vector", (dim,))
        return ModalityPart(part("mlp", hidden=[4]), spec, dim, trainable, fingerprint, "none").identity

    assert identity() == {"fingerprint": "f", "trainable": False, "name": "mlp", "options": {"hidden": [4]}}
    assert identity() != identity(trainable=True)
    assert identity() != identity(fingerprint="g")
    assert identity(dim=5) == identity()  # the data's digest has it
