"""Options whose annotation lists the values are checked by it, however it is written and wherever the plugin comes from."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest

from fusionbench import FusionSpec, FusionStrategy, Missingness, TargetKind, Task
from fusionbench.contract.options import literal_values, problems_of, too_large, types_of
from fusionbench.contract.registration import Registration
from fusionbench.errors import ConfigError

Mode = Literal["paper", "official"]
SPEC = FusionSpec({"a": 2}, 1, TargetKind.BINARY)


def problem(hint: Any, value: Any) -> str:
    """Return what is wrong with a value of a type; empty where nothing is."""

    def constructor(option: Any) -> None:
        """Do nothing."""

    constructor.__annotations__["option"] = hint
    return "\n".join(problems_of(constructor, {"option": value}))


TAKEN = [
    (Mode, "paper"),
    (Mode | None, None),
    (Optional[Mode], "official"),  # noqa: UP045 - guests write it
    (Literal["a"] | Literal["b"], "b"),  # noqa: PYI030, RUF100 - guests write it
    (Literal["a", None], None),  # noqa: PYI061 - guests write it
    (Literal[1, 2], 2),
    (Literal[True], True),
    (Literal["auto"] | int, 3),
    (Literal["auto"] | float, 3),
    (Literal["auto"] | Sequence[int], [1]),
    (list[Mode], ["paper", "paper"]),
    (tuple[Mode, ...], ["paper"]),
    (Sequence[Mode] | None, None),
    (Mapping[str, Mode], "nothing is said of those"),
    (tuple[Mode, int], "nor of these"),
    (Annotated[Mode, "with a note"], "paper"),
    ("Literal['a'] | None", None),
    ("list['Mode']", ["paper"]),
    ("NowhereToBeFound | Literal['a']", "x"),
    ("1 +", "x"),
    (Any, "x"),
    (int, "only types that list values are looked at"),
    (list[int], "x"),
    (Mode | Registration, "x"),
    (Literal["binary"] | None, TargetKind.BINARY),
    (Mode, np.str_("paper")),
]
REFUSED = [
    (Mode, "papr", "option must be 'paper' or 'official', found 'papr'; did you mean 'paper'?"),
    (Mode, None, "option must be 'paper' or 'official', found null"),
    (Mode | None, 3, "option must be 'paper', 'official' or null, found 3"),
    (None | Mode, "x", "option must be 'paper', 'official' or null, found 'x'"),
    (Literal[1, 2], True, "option must be 1 or 2, found true"),
    (Literal[1, 2], 1.0, "option must be 1 or 2, found 1.0"),
    (Literal[True, "auto"], 1, "option must be true or 'auto', found 1"),
    (Literal["auto"] | int, "atuo", "option must be 'auto' or a whole number, found 'atuo'; did you mean 'auto'?"),
    (Literal["auto"] | int, True, "option must be 'auto' or a whole number, found true"),
    (list[Mode], ["paper", "offical"], "option must be a list of 'paper' or 'official', found ['paper', 'offical']; did you mean 'official'?"),
    (Sequence[Mode], "paper", "option must be a list of 'paper' or 'official', found 'paper'"),
    (tuple[Mode, ...] | None, [1], "option must be a list of 'paper' or 'official' or null, found [1]"),
    ("Literal['a']", ["a"], "option must be 'a', found ['a']"),
    ("Optional['Mode']", "x", "option must be 'paper', 'official' or null, found 'x'"),
    (Annotated[Mode, "with a note"], "x", "option must be 'paper' or 'official', found 'x'"),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value"), TAKEN, ids=str)
def test_values_that_a_type_lists_are_taken_and_those_of_other_types_are_not_looked_at(hint, value):
    assert problem(hint, value) == ""


@pytest.mark.parametrize(("hint", "value", "said"), REFUSED, ids=str)
def test_other_values_are_refused_with_what_is_accepted(hint, value, said):
    assert problem(hint, value) == said


class Guest(FusionStrategy):
    """Has three options with listed values, and no check."""

    def __init__(
        self, spec: FusionSpec, mode: Mode = "paper", scope: Literal["one", "all"] | None = None, width: int = 1
    ):
        super().__init__(spec)
        self.mode, self.scope = mode, scope
        if width < 1:
            raise ValueError(f"width must be 1 or more, found {width}")


class Derived(Guest):
    """Hands its options on."""

    def __init__(self, spec: FusionSpec, **options: Any):
        super().__init__(spec, **options)


class Hidden(FusionStrategy):
    """Has an annotation that nobody can look up."""

    def __init__(self, spec: FusionSpec, mode: Mode = "paper", other: OnlyForTypeCheckers = None):  # noqa: F821
        super().__init__(spec)


def registration(target, kind="strategies"):
    return Registration(kind, "guest", target, "a-guest", "1.0")


def test_all_wrong_options_of_a_plugin_are_said_at_once_and_where():
    with pytest.raises(ConfigError) as caught:
        registration(Guest).build("b.yaml:3: strategies[0]", SPEC, mode="papr", scope="al", width=0)
    assert str(caught.value) == (
        "b.yaml:3: strategies[0]: fusion strategy 'guest': mode must be 'paper' or 'official', found 'papr'; did you mean 'paper'?\n"
        "  scope must be 'one', 'all' or null, found 'al'; did you mean 'all'?"
    )


def test_unknown_options_and_wrong_values_come_together():
    said = registration(Guest).problem_with({"mod": 1, "scope": "two"})
    assert said == (
        "fusion strategy 'guest' has no option 'mod'; did you mean 'mode'?\n  accepted: mode, scope, width\n"
        "  scope must be 'one', 'all' or null, found 'two'"
    )
    assert registration(Guest).problem_with({"mode": "official", "scope": None, "width": 3}) is None


def test_an_annotation_that_cannot_be_looked_up_hinders_nothing():
    assert registration(Hidden).problem_with({"other": "x"}) is None
    assert "mode must be" in str(registration(Hidden).problem_with({"mode": "x", "other": "x"}))
    assert types_of(Hidden)["other"] is Any


def test_options_that_are_handed_on_are_checked_where_they_arrive():
    with pytest.raises(
        ConfigError, match=r"^f:1: fusion strategy 'guest': mode must be 'paper' or 'official', found 'x'$"
    ):
        registration(Derived).build("f:1", SPEC, mode="x")


def test_nothing_is_silent_in_python_either():
    with pytest.raises(ValueError, match=r"^mode must be 'paper' or 'official', found 'x'\nscope must be"):
        Guest(SPEC, "x", scope=3)
    assert (Guest(SPEC, "official").mode, Guest(SPEC).mode) == ("official", "paper")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'spec'"):
        Guest()
    with pytest.raises(TypeError, match="unexpected keyword argument 'x'"):
        Guest(SPEC, x=1)


def test_the_other_bases_of_the_contract_check_too():
    class Kinds(Task):
        """A task."""

        def __init__(self, kind: Literal["a", "b"] = "a"):
            self.kind = kind

        def prepare(self, cache, progress):
            raise NotImplementedError

    class Order(Missingness):
        """A mechanism."""

        def __init__(self, *, driver: Literal["a"] = "a"):
            self.driver = driver

        def thresholds(self, context, generator):
            raise NotImplementedError

    for made in (lambda: Kinds("c"), lambda: Order(driver="c")):
        with pytest.raises(ValueError, match="must be 'a'"):
            made()


def test_a_class_of_another_kind_is_checked_when_it_is_configured():
    @dataclass
    class Observer:
        """An observer derives from nothing."""

        config: Any
        workspace: Any
        level: Literal["few", "all"] = "few"

    observer = registration(Observer, kind="observers")
    assert observer.build("f:1", None, None, level="all").level == "all"
    with pytest.raises(ConfigError, match=r"^f:1: observer 'guest': level must be 'few' or 'all', found 'none'$"):
        observer.build("f:1", None, None, level="none")
    assert types_of(print) == types_of(type("Plain", (), {})) == {}


def test_a_checked_constructor_keeps_its_face():
    assert list(inspect.signature(Guest).parameters) == ["spec", "mode", "scope", "width"]
    assert Guest.__init__.__qualname__ == "Guest.__init__"
    assert pickle.loads(pickle.dumps(Guest(SPEC, "official"))).mode == "official"


def test_values_of_a_type_are_those_of_its_literals():
    assert literal_values(Literal["a", "b"]) == ("a", "b")
    assert literal_values(Literal["a"] | None) == ("a", None)
    assert literal_values(int | None) == ()
    assert literal_values(None) == ()


@pytest.mark.parametrize("options", [{"width": 2**31}, {"a": [1, 2**40]}, {"a": {"b": -(2**35)}}])
def test_whole_numbers_beyond_any_size_are_named(options):
    (problem,) = too_large(options)
    assert "must be a whole number of at most 2,147,483,647" in problem


def test_sizes_seeds_and_other_numbers_are_not():
    assert (
        too_large({"width": 2**31 - 1, "seed": 2**62, "data_seed": 2**40, "rate": 1e300, "on": True, "a": [None, "x"]})
        == []
    )
