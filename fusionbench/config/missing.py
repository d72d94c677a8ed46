"""The section on missing modalities, and rates by modality."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fusionbench.config import bounds
from fusionbench.config.base import Choice, Rate, Section, repeated


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


class MissingnessSection(Section):
    """Who is hidden, how much, and where.

    ``rates`` are nominal: what patterns hide at most. Rates by modality (``rates: {cxr: 0.6, report: 0.3}``, or a list of such,
    in one proportion) are the pattern ``cxr:0.6+report:0.3``, whose rate is that of the modality that is hidden most.

    ``absent`` names modalities that no row has when a model is used, at any rate, also at 0: training rows have them, so an
    imputer can imagine them (figure 5 of OmniFuse). Patterns hide the others; *complete data* then means all but these, achieved
    rates are shares of what is left, and subsets of the modalities are not scored.
    """

    mechanism: Choice = Choice(name="mcar")
    patterns: tuple[str, ...] = Field(("random",), max_length=bounds.MOST_CONDITIONS)
    rates: tuple[Rate, ...] = Field((0.0, 0.3, 0.6, 0.9), max_length=bounds.MOST_CONDITIONS)
    where: Literal["test", "train", "both", "grid"] = "test"
    absent: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _rates_by_modality(cls, value: Any) -> Any:
        rates = value.get("rates") if isinstance(value, dict) else None
        listed = rates if isinstance(rates, list | tuple) else [rates]
        mapped = [r for r in listed if isinstance(r, dict)]
        if not mapped:
            return value
        if "patterns" in value:
            raise ValueError("rates by modality are a pattern of their own; leave 'patterns' out")
        if not all(mapped) or not all(_is_rate(r) and r > 0 for one in mapped for r in one.values()):
            raise ValueError("rates by modality must be numbers above 0 and below 1, as in {cxr: 0.6, report: 0.3}")
        largest = max(mapped, key=lambda one: max(one.values()))
        wanted = {n: r / max(largest.values()) for n, r in largest.items()}
        for one in mapped:
            own = {n: r / max(one.values()) for n, r in one.items()}
            if own.keys() != wanted.keys() or any(abs(own[n] - wanted[n]) > 1e-9 for n in own):
                raise ValueError(
                    "rates by modality of one benchmark must be in one proportion, as {cxr: 0.3, report: 0.15} and "
                    "{cxr: 0.6, report: 0.3}; others are patterns: patterns: ['cxr:0.6+report:0.3', 'cxr:0.2+report:0.8']"
                )
        numbers = [max(r.values()) if isinstance(r, dict) else r for r in listed]
        pattern = "+".join(f"{n}:{r:g}" for n, r in sorted(largest.items()))
        return {
            **value,
            "rates": numbers if isinstance(rates, list | tuple) else [0.0, *numbers],
            "patterns": (pattern,),
        }

    @field_validator("rates")
    @classmethod
    def _sorted(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value:
            raise ValueError("rates must not be empty")
        return tuple(sorted(set(value)))

    @field_validator("absent")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := repeated(value):
            raise ValueError(f"{twice} is named twice")
        return value

    @field_validator("patterns")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or repeated(value):
            raise ValueError("patterns must be a non-empty list without repeats")
        return value
