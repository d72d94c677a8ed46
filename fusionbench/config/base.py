"""What sections of a benchmark file are made of: frozen models, and a plugin by name with its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Rate = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a benchmark file; nothing in it may be misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as 1: 'epochs: yes' would train one epoch
        values = value if isinstance(value, list) else [value]
        if any(isinstance(v, bool) for v in values) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false have no meaning here")
        return value


def repeated(names: Iterable[Any]) -> str:
    """Return what occurs more than once, as text."""
    return ", ".join(str(name) for name, count in Counter(names).items() if count > 1)


class Choice(BaseModel):
    """A plugin by name, with its options: ``concat`` or ``{name: concat, head_hidden: 64}``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The constructor options."""
        return dict(self.__pydantic_extra__ or {})


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
