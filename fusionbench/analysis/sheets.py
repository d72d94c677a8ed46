"""Tables as CSV that a spreadsheet shows and does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusionbench.errors import printable

if TYPE_CHECKING:
    import pandas as pd

_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV; names that a spreadsheet would take for a formula have an apostrophe before them.

    Labels of strategies, classes and modalities are names that people chose; numbers stay what they are.
    """
    texts = {str(name): table[name].map(_harmless) for name in table if table[name].dtype.kind not in "biufcmM"}
    return table.assign(**texts).rename(columns=_harmless).to_csv(index=False)


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
