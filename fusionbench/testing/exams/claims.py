"""Checks of what a plugin says about itself."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from fusionbench.contract.registration import option_names
from fusionbench.testing.subjects import Examined


def check_provenance_is_given(subject: Examined) -> None:
    """A number in a table is only as good as the knowledge of what was run.

    Mend: give the class a docstring and ``provenance = Provenance(paper=..., differs=...)``.
    """
    provenance = subject.plugin.provenance
    assert subject.plugin.__doc__, f"{subject.plugin.__name__} has no docstring"
    assert provenance is not None, f"{subject.plugin.__name__}.provenance is not given"
    assert provenance.paper.strip(), f"{subject.plugin.__name__}.provenance.paper is empty"


def check_search_space_gives_constructor_arguments(subject: Examined) -> None:
    """Tuning builds the plugin from what ``search_space`` suggests; a typo would fail every trial.

    Mend: return a dict whose keys are constructor arguments and whose values the constructor accepts.
    """
    for corner in ("low", "high"):
        suggested = subject.plugin.search_space(CornerTrial(corner))
        unknown = sorted(set(suggested) - set(option_names(subject.plugin)))
        assert not unknown, f"search_space suggests {', '.join(unknown)}, which the constructor does not take"
        try:
            subject.example(**suggested)
        except (TypeError, ValueError) as refusal:
            raise AssertionError(f"the constructor refuses {suggested}: {refusal}") from refusal


class CornerTrial:
    """A trial that suggests one end of every range.

    Args:
        corner: ``low`` or ``high``.
    """

    def __init__(self, corner: str) -> None:
        self.last = corner == "high"

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return an end of the range."""
        assert low <= high, f"{name}: {low} is above {high}"
        return high if self.last else low

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Return an end of the range."""
        assert low <= high, f"{name}: {low} is above {high}"
        return high if self.last else low

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the first or the last choice."""
        return choices[-1 if self.last else 0]


def check_hyper_parameters_are_constructor_arguments(subject: Examined) -> None:
    """Runs that differ only in hyper-parameters are stacked; the runner matches them with options by name.

    Mend: call ``self.hyper(name, value)`` with the name of the constructor argument.
    """
    part = subject.example()
    arguments = inspect.signature(subject.plugin).parameters
    for name in getattr(part, "hyper_names", ()):
        assert name in arguments, f"hyper-parameter {name!r} is no argument of the constructor"
        assert getattr(part, name).ndim == 0, f"hyper-parameter {name!r} is not a 0-dim tensor"
