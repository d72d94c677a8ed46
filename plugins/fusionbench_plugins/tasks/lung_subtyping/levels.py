"""Six pathological classes in three levels of risk, as OmniFuse groups them.

L1 = AAH, AIS; L2 = MIA, IA grade 1; L3 = IA grade 2, IA grade 3.
"""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

from fusionbench_plugins.tasks.table.manifest import Problems

CLASSES: Final = ("AAH", "AIS", "MIA", "IA grade 1", "IA grade 2", "IA grade 3")
LEVELS: Final = ("L1 (AAH, AIS)", "L2 (MIA, IA 1)", "L3 (IA 2, IA 3)")
_NUMBERS: Final = {name: i // 2 for i, name in enumerate(("aah", "ais", "mia", "ia1", "ia2", "ia3"))}
_ROMAN: Final = {"i": "1", "ii": "2", "iii": "3"}


def level_of(label: str) -> int | None:
    """Return the level of a class from 0, however it is spelled; None where it is none of the six.

    Case, spaces, ``-``, ``_``, ``.`` and the word *grade* do not matter: ``IA grade 1``, ``IA-1``, ``ia 1``, ``IAC1``, ``IA I``.
    """
    bare = re.sub(r"[\s_.\-]+|grade|g(?=\d)|级", "", str(label).strip().lower())
    found = re.fullmatch(r"(aah|ais|mia)|iac?([123]|i{1,3})", bare)
    if found is None:
        return None
    return _NUMBERS[found[1] or f"ia{_ROMAN.get(found[2], found[2])}"]


def with_levels(frame: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """Return a manifest whose labels are levels; what is no class of the six is counted in ``problems``.

    Where ``label`` holds other values and ``label_name`` the names of the classes, the names count.
    """
    columns = [name for name in ("label", "label_name") if name in frame]
    if not columns:
        return frame
    read = {name: [None if pd.isna(cell) else level_of(cell) for cell in frame[name]] for name in columns}
    best = min(columns, key=lambda name: sum(level is None for level in read[name]))
    there = frame[best].notna().to_numpy()
    unknown = [n for n, level in enumerate(read[best], 1) if level is None and there[n - 1]]
    if unknown:
        values = frame[best].iloc[[n - 1 for n in unknown]].nunique()
        problems.append(
            f"manifest: risk_levels: column '{best}': {len(unknown)} rows (first: row {unknown[0]}) hold {values} values that "
            f"are none of the six classes; accepted: {', '.join(CLASSES)}, in any case, also as IA1, IA-1, IAC1 or IA I"
        )
        return frame
    levels = pd.Series(read[best], index=frame.index, dtype="Int64")
    named = pd.Series(
        [None if level is None else LEVELS[level] for level in read[best]], index=frame.index, dtype=object
    )
    return frame.assign(label=levels, label_name=named)
