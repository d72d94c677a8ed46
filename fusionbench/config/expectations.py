"""What is expected of a run, written down before it is run: ``expect``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fusionbench.config.base import Rate, Section, one_line
from fusionbench.config.document import Location
from fusionbench.config.missing import MissingnessSection
from fusionbench.errors import did_you_mean

LONGEST_SENTENCE: Final = 300


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _nowhere_special(value: Any) -> Any:
    return None if value == "area" else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class PointSection(Section):
    """One point of the curves: a pattern at a rate."""

    pattern: str
    rate: Rate


class Expectation(Section):
    """A sentence, and what has to be shown for it to hold; strategies are named as in the tables.

    ``better`` with ``than``: each of the first is better than each of the second. ``best``: the best line is among these.
    ``not_best``: none of these could be the best. ``tied``: these are equally good, and must not be told apart.
    ``need: any``: one of the strategies that are named first is enough. ``at``: ``area`` (the mean height of the curves) or one
    point, ``{pattern: random, rate: 0.8}``, where lines are compared with ``evaluation.baseline``.
    """

    says: Annotated[str, AfterValidator(one_line)] = Field(min_length=1, max_length=LONGEST_SENTENCE)
    better: Names = ()
    than: Names = ()
    best: Names = ()
    not_best: Names = ()
    tied: Names = ()
    need: Literal["all", "any"] = "all"
    at: Annotated[PointSection | None, BeforeValidator(_nowhere_special)] = None

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Expectation:
        given = [name for name in FORMS if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(
                f"expects one thing: one of {', '.join(FORMS)} with the names of strategies; found {found}"
            )
        if bool(self.than) != bool(self.better):
            raise ValueError("'better' and 'than' go together: {better: medfuse, than: concat}")
        if len(self.tied) == 1:
            raise ValueError("'tied' names two strategies or more")
        if self.need == "any" and self.form in ("tied", "best"):
            raise ValueError(f"'need: any' has no meaning with '{self.form}'")
        return self

    @property
    def form(self) -> str:
        """Which of :data:`FORMS` it asks."""
        return next(name for name in FORMS if getattr(self, name))

    @property
    def named(self) -> Iterator[tuple[str, int, str]]:
        """Every strategy that is named: under which key, at which place, and its name."""
        return ((key, i, name) for key in (*FORMS, "than") for i, name in enumerate(getattr(self, key)))


FORMS: Final = ("better", "best", "not_best", "tied")
"""What an expectation may ask."""


def misfits(
    expectations: Sequence[Expectation], lines: Sequence[str], missingness: MissingnessSection
) -> Iterator[tuple[Location, str]]:
    """Yield what expectations name that a benchmark does not have: where it stands, and a sentence.

    Args:
        expectations: Those of the benchmark.
        lines: Every name that one of its lines may be called by.
        missingness: Its patterns and rates.
    """
    for i, expectation in enumerate(expectations):
        here: Location = ("expect", i)
        for key, j, name in expectation.named:
            if name not in lines:
                hint = did_you_mean(name, lines)
                yield (
                    (*here, key, j),
                    f"no strategy of this benchmark is called {name!r}{hint}\n  accepted: {', '.join(lines)}",
                )
        if expectation.at is not None:
            yield from (((*here, "at", key), text) for key, text in _unknown_point(expectation.at, missingness))


def _unknown_point(point: PointSection, missing: MissingnessSection) -> Iterator[tuple[str, str]]:
    if point.pattern not in missing.patterns:
        yield (
            "pattern",
            f"no pattern {point.pattern!r} in missingness.patterns; accepted: {', '.join(missing.patterns)}",
        )
    if point.rate not in missing.rates:
        known = ", ".join(f"{rate:g}" for rate in missing.rates)
        yield "rate", f"no rate {point.rate:g} in missingness.rates; accepted: {known}"
