"""Registrations: identity, options that are checked before anything is built, and content addresses."""

from __future__ import annotations

import pytest

import fusionbench
from fusionbench import FusionStrategy, hookspecs
from fusionbench.contract.kinds import KINDS
from fusionbench.contract.registration import BASES, GIVEN, SINGULAR, Registration, option_names, source_of
from fusionbench.errors import ConfigError, PluginError, WeightsError


class Example(FusionStrategy):
    """Has options."""

    def __init__(self, spec, heads: int = 1, *, dropout: float = 0.0, fails: Exception | None = None):
        super().__init__(spec)
        if fails is not None:
            raise fails
        if heads < 1:
            raise ValueError(f"heads must be at least 1, found {heads}")


class Needy(FusionStrategy):
    """Has an option without a default."""

    def __init__(self, spec, modality):
        super().__init__(spec)


def registration(target=Example, kind="strategies"):
    return Registration(kind, "example", target, "guest", "1.0")


# ---------------------------------------------------------------- options


def test_every_kind_is_described_in_every_table():
    assert set(KINDS) == set(SINGULAR) == set(GIVEN) == {*BASES, "observers"}
    assert all(hasattr(hookspecs, hook) for hook in KINDS.values())
    assert all(hasattr(fusionbench, base) for base in BASES.values())


def test_options_reach_the_constructor():
    assert isinstance(registration().build("f:1", None, heads=2, dropout=0.1), Example)


def test_unknown_options_are_all_named_with_hints_and_what_is_accepted():
    with pytest.raises(ConfigError) as caught:
        registration().build("f.yaml:3: strategies[0]", None, head=2, drop=1)
    assert str(caught.value) == (
        "f.yaml:3: strategies[0]: fusion strategy 'example' has no option 'head'; did you mean 'heads'? "
        "and no option 'drop'; did you mean 'dropout'?\n  accepted: heads, dropout, fails"
    )


def test_a_misspelt_key_of_the_benchmark_is_hinted_at_too():
    assert "'imputer'; did you mean 'imputers'?" in str(registration().problem_with({"imputer": "mean"}))
    assert "did you mean" not in str(registration(kind="encoders").problem_with({"imputer": "mean"}))


def test_an_option_cannot_take_the_place_of_what_the_core_gives():
    assert "has no option 'spec'" in str(registration().problem_with({"spec": 1}))


def test_a_missing_option_is_named_before_anything_is_built():
    assert registration(Needy).problem_with({}) == (
        "fusion strategy 'example': missing a required argument: 'modality'\n  accepted: modality"
    )
    assert registration(Needy).problem_with({"modality": "ehr"}) is None


def test_a_class_without_options_says_so():
    class Plain(FusionStrategy):
        """Nothing to set."""

    assert str(registration(Plain).problem_with({"x": 1})).endswith("accepted: no options")


def test_a_constructor_that_refuses_a_value_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"^f:1: fusion strategy 'example': heads must be at least 1, found 0$"):
        registration().build("f:1", None, heads=0)


def test_a_constructor_that_fails_otherwise_is_the_plugins_failure():
    with pytest.raises(
        PluginError, match=r"^f:1: fusion strategy 'example' of guest 1.0 cannot be constructed: KeyError: 'x'$"
    ):
        registration().build("f:1", None, fails=KeyError("x"))


def test_messages_of_the_house_pass_through():
    with pytest.raises(WeightsError, match=r"^not here$"):
        registration().build("f:1", None, fails=WeightsError("not here"))


def test_option_names_leave_out_what_the_core_gives():
    assert option_names(Example, skip=1) == ["heads", "dropout", "fails"]


# ---------------------------------------------------------------- identity and keys


def test_identity_names_plugin_distribution_version_and_source():
    assert set(registration().identity) == {"name", "distribution", "version", "source"}
    assert registration().source_digest == registration(Needy).source_digest  # one file


def test_a_class_that_was_made_without_a_file_has_no_source():
    assert registration(type("Made", (), {"__module__": "builtins"})).source_digest == ""


def test_source_of_a_module_is_found_without_importing_it():
    assert source_of("fusionbench.contract.registration").endswith("registration.py")
    assert source_of("no.such") == source_of("nosuch") == source_of("") == ""


# ---------------------------------------------------------------- names of a benchmark
