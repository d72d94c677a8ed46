"""Sections of a radiology report, and the text that stands for a study.

A heading is a line that begins with one blank and capital letters, blanks or ``( ) / , -``, then a
colon and white space (the rule of the MIMIC-CXR maintainers). A third of the reports has no section called
Findings; they fall back to the impression, then to what follows the first blank line of the last section.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.studies.files import Files
from fusionbench_plugins.tasks.mimic.studies.images import Link

VERSION = 1
"""Raised when the same files would give other texts."""

REPORTS = "reports.parquet"

_HEADING = re.compile(r"^ ([A-Z ()/,-]+):(?=\s)", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_IMPRESSION = {"impression", "conclusion", "findings and impression", "findings/impression"}
# a title such as "CHEST, TWO VIEWS:" is followed by what was seen
_TITLE = re.compile(r"\b(chest|portable|views?|frontal|lateral|radiographs?|pa and lat|pa and lateral)\b")
# ... but "COMPARISON CHEST RADIOGRAPH:" is not a title
_OTHER = re.compile(r"\b(comparison|indication|history|reason|technique|exam|examination|procedure|clinical)\b")
_ORDER = ("findings", "impression", "last_paragraph")


def sections(text: str) -> dict[str, str]:
    """Split a report.

    Returns:
        Text by section name in lower case; the last one of each name. ``findings`` and ``impression`` are there
        only when they hold text; when neither is, ``last_paragraph`` is, if it holds text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    found: dict[str, str] = {}
    for heading, end in zip(headings, ends[: len(headings)], strict=True):
        name, content = section_name(heading.group(1)), text[heading.end() : end].strip()
        if content or name not in _ORDER:
            found[name] = content
    if not found.keys() & set(_ORDER):
        last = text[headings[-1].end() :] if headings else text
        paragraph = _BLANK_LINE.split(last, maxsplit=1)[-1].strip()
        if paragraph and _BLANK_LINE.search(last):
            found["last_paragraph"] = paragraph
    return found


def section_name(heading: str) -> str:
    """Return the common name of a heading: findings, impression, or itself in lower case."""
    name = " ".join(heading.lower().split())
    if name in _IMPRESSION or difflib.get_close_matches(name, ("impression", "conclusion"), cutoff=0.8):
        return "impression"
    if difflib.get_close_matches(name, ("findings",), cutoff=0.8):
        return "findings"
    if _TITLE.search(name) and not _OTHER.search(name):
        return "findings"
    return name


def study_text(report: str) -> tuple[str, str]:
    """Return the text that stands for a study, on one line, and the section it is from (both empty if none)."""
    found = sections(report)
    for name in _ORDER:
        text = " ".join(found.get(name, "").split())
        if text:
            return text, name
    return "", ""


def write_reports(links: Sequence[Link], files: Files, folder: Path, progress: Progress) -> dict[str, Any]:
    """Write ``reports.parquet``: row, text (not empty), section.

    Returns:
        Counts: reports per section, missing and empty ones, and those that are not UTF-8 (which are
        read with a mark in place of the bad bytes).
    """
    import pandas as pd

    counts = Counter(dict.fromkeys((*_ORDER, "missing", "empty", "not_utf8"), 0))
    texts: list[tuple[int, str, str]] = []
    with progress.stage("reading reports", total=len(links), unit="reports") as stage:
        for link in links:
            stage.advance()
            content = _read(files, link.report_path)
            if content is None:
                counts["missing"] += 1
                continue
            report = content.decode("utf-8", errors="replace")
            text, section = study_text(report)
            counts["not_utf8"] += "\ufffd" in report
            counts[section or "empty"] += 1
            if text:
                texts.append((link.row, text, section))
    table = pd.DataFrame(texts, columns=["row", "text", "section"])
    table.astype({"row": "int64", "text": "str", "section": "str"}).to_parquet(folder / REPORTS, index=False)
    return dict(counts)


def read_reports(path: Path) -> dict[int, str]:
    """Return the text by row."""
    import pandas as pd

    table = pd.read_parquet(path)
    return dict(zip(table["row"].tolist(), table["text"].tolist(), strict=True))


def _read(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except OSError:
        return None  # counted as missing: a damaged file has nothing to say
