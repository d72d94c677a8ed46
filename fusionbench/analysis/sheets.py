"""Tables as files that everybody reads: CSV that a spreadsheet shows and does not run, and the same as Parquet.

The first line of every file is its header. Names are flat: letters, digits and ``_``, so that ``table.auroc_at_30`` works.
What every output must say of its numbers stands in two columns, ``synthetic`` and ``random_weights``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fusionbench.errors import printable

if TYPE_CHECKING:
    import pandas as pd

    from fusionbench.records import RunPlan

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Marks(NamedTuple):
    """What every row of every file says of its numbers.

    Args:
        synthetic: True: no patient is in the data.
        random_weights: True: an encoder that is usually pre-trained had random weights.
    """

    synthetic: bool
    random_weights: bool

    @classmethod
    def of(cls, plan: RunPlan) -> Marks:
        """Return the marks of a run."""
        return cls(bool(plan.dataset.synthetic), bool(plan.random_weights))


def flat_names(names: Iterable[object]) -> list[str]:
    """Return names of columns as files have them: ``auroc@0.3`` is ``auroc_at_30``, in percent missing; no two are equal."""
    found: list[str] = []
    for name in names:
        at_percent = re.sub(r"@(\d+(?:\.\d+)?)$", lambda m: f"_at_{100 * float(m[1]):g}", str(name))
        flat, number = re.sub(r"\W", "_", at_percent), 1
        while (different := flat if number == 1 else f"{flat}_{number}") in found:
            number += 1
        found.append(different)
    return found


def sheet(table: pd.DataFrame, marks: Marks) -> pd.DataFrame:
    """Return a table as files have it: with flat names, and the marks as its last columns."""
    flat = table.set_axis(flat_names(table.columns), axis="columns")
    kept = flat.drop(columns=[name for name in Marks._fields if name in flat])
    return kept.assign(**marks._asdict())


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV; names that a spreadsheet would take for a formula have an apostrophe before them.

    Labels of strategies, classes and modalities are names that people chose; numbers stay what they are.
    """
    texts = {str(name): table[name].map(_harmless) for name in table if table[name].dtype.kind not in "biufcmM"}
    return table.assign(**texts).rename(columns=_harmless).to_csv(index=False)


def as_parquet(table: pd.DataFrame) -> bytes:
    """Return a table as Parquet; a column of mixed values is text, and nothing is marked for spreadsheets."""
    texts = {str(name): table[name].map(_text) for name in table if table[name].dtype == object and _mixed(table[name])}
    file = io.BytesIO()
    table.assign(**texts).to_parquet(file, index=False)
    return file.getvalue()


def _mixed(column: pd.Series) -> bool:
    """Whether a column holds values of several kinds, or some that Parquet has no type for."""
    kinds = {type(value) for value in column if value is not None and value == value}  # noqa: PLR0124 - NaN
    return len(kinds) > 1 or not kinds <= {str, bool, int, float}


def _text(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shown = printable(cell, kept="\n\t")
    return f"'{shown}" if shown.startswith(_BEGINS_A_FORMULA) and len(shown) > 1 and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
