"""From the big tables to cleaned events: one pass over each file, then the rules on what was kept."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionbench.errors import DataError
from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.store import hash_file, signature
from fusionbench_plugins.tasks.mimic.tables.cohort import CohortRule, remarks, require_rows, select_candidates
from fusionbench_plugins.tasks.mimic.tables.database import (
    Resources,
    database,
    execute,
    execute_watched,
    literal,
    pattern,
)
from fusionbench_plugins.tasks.mimic.tables.layout import SourceTable, describe_layout
from fusionbench_plugins.tasks.mimic.tables.rules import RuleSet
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES, Conversion, Item, Range, Variable
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE, Window

VERSION = 5
"""Raised when the same tables and rules would give other events, so that old cache entries are not read."""

STAYS = "stays.parquet"
EVENTS = "events.parquet"
_EVENT_TABLES = ("chartevents", "labevents")

_CONVERT = {
    Conversion.NONE: "raw",
    Conversion.FAHRENHEIT: "(raw - 32) * 5 / 9",
    Conversion.FAHRENHEIT_IF_HOT: "CASE WHEN raw >= 79 THEN (raw - 32) * 5 / 9 ELSE raw END",
    Conversion.PERCENT: "CASE WHEN raw > 1 THEN raw / 100 ELSE raw END",
    Conversion.PERCENT_ALWAYS: "raw / 100",
    Conversion.FRACTION_TO_PERCENT: "CASE WHEN raw <= 1 THEN raw * 100 ELSE raw END",
    Conversion.POUND: "raw * 0.453592",
    Conversion.INCH: "raw * 2.54",
}
# values of an item that are in another unit than its label says, whatever a rule set does about it
_OTHER_UNIT = {
    Conversion.FAHRENHEIT: "raw < 79",
    Conversion.FAHRENHEIT_IF_HOT: "raw >= 79",  # charted as Celsius
    Conversion.PERCENT: "raw <= 1",
    Conversion.FRACTION_TO_PERCENT: "raw <= 1",
    Conversion.INCH: "raw > 100",
}
_UNBOUNDED = Range(float("-inf"), float("-inf"), float("inf"), float("inf"))


def extract(
    tables: Mapping[str, SourceTable],
    rules: RuleSet,
    window: Window,
    folder: Path,
    resources: Resources,
    progress: Progress,
) -> dict[str, Any]:
    """Write ``stays.parquet`` and ``events.parquet`` into ``folder``.

    * stays: row (0, 1, ... by stay_id), stay_id, subject_id, hadm_id, intime, outtime, age, gender, race, flag,
      by_times, label (int, 1 = died in hospital), end_hours (since intime: the last that is read).
    * events: row, variable (index into ``VARIABLES``), hours since admission to the unit, rank, number
      (in the variable's unit; for categorical variables the index of the one-hot column). At most one
      event per row, variable and time.

    Returns:
        Facts for the manifest: funnel, counts of what was dropped, rows, layout, versions, hashes of the tables.

    Raises:
        DataError: A table is malformed, or no stay is left.
        WorkspaceError: Memory or disk do not suffice.
    """
    import duckdb

    before = {name: signature(table.path) for name, table in tables.items()}
    with database(folder, resources) as connection:
        funnel = select_candidates(connection, tables, rules, window)
        _define_items(connection, rules)
        raw = [folder / f"{name}-matched.parquet" for name in _EVENT_TABLES]
        rows = _small_rows(connection)
        for name, path in zip(_EVENT_TABLES, raw, strict=True):
            rows[name] = _read_events(connection, tables[name], path, progress)
        _clean(connection, rules, raw)
        counts = _counts(connection)
        by_variable = _by_variable(connection)
        said = _unlinked(connection, raw, rows, tables)
        funnel += _finish(connection, rules, window, folder)
        said = [*remarks(connection, funnel), *said]
    for path in raw:
        path.unlink()
    return {
        "funnel": [list(step) for step in funnel],
        "counts": counts,
        "by_variable": by_variable,
        "remarks": said,
        "rows": rows,
        "layout": describe_layout(tables),
        "settings": {"rules": rules.name, "window": str(window)},
        "duckdb": duckdb.__version__,
        "tables": _provenance(tables, before, progress),
    }


def _small_rows(connection: Any) -> dict[str, int]:
    counts = {"patients": "count(*) FROM patients", "admissions": "count(*) FROM admissions"}
    counts |= {"icustays": "count(*) FROM icustays", "diagnoses_icd": "coalesce(sum(codes), 0) FROM coded"}
    return {name: int(connection.execute(f"SELECT {sql}").fetchall()[0][0]) for name, sql in counts.items()}


def _provenance(tables: Mapping[str, SourceTable], before: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return name, size, time and SHA-256 of every table: the hash is that of the publisher's SHA256SUMS.txt."""
    size = sum(table.path.stat().st_size for table in tables.values())
    facts = {}
    with progress.stage("hashing tables", total=size / 1e6, unit="MB") as stage:
        for name, table in tables.items():
            facts[table.name] = {
                "file": table.path.name,
                "bytes": before[name][1],
                "modified_ns": before[name][2],
                "sha256": hash_file(table.path),
            }
            stage.advance(before[name][1] / 1e6)
    changed = [table.name for name, table in tables.items() if signature(table.path) != before[name]]
    if changed:
        raise DataError(
            f"{', '.join(changed)}: changed while being read; wait until the copy is complete, start again."
        )
    return facts


def items_of(variable: Variable, rules: RuleSet) -> Iterator[tuple[Item, Conversion]]:
    """Yield the items that a rule set reads, with the conversion it applies."""
    exceptions = dict(rules.conversions)
    for item in variable.items:
        if item.peer if rules.items == "peer" else item.sound:
            yield item, exceptions.get(item.itemid, item.conversion)


def _define_items(connection: Any, rules: RuleSet) -> None:
    import pandas as pd

    known = [
        {"variable": index, "text": text, "code": float(code), "score": score}
        for index, variable in enumerate(VARIABLES)
        for text, code, score in spellings(variable, rules)
    ]
    for name, rows in (("items", list(_item_rows(rules))), ("spellings", known)):
        connection.register("rows", pd.DataFrame(rows))
        connection.execute(f"CREATE TEMP TABLE {name} AS FROM rows")
        connection.unregister("rows")


def _item_rows(rules: RuleSet) -> Iterator[dict[str, Any]]:
    for index, variable in enumerate(VARIABLES):
        limits = variable.limits if rules.outliers and variable.limits else _UNBOUNDED
        published = variable.limits or _UNBOUNDED
        for item, conversion in items_of(variable, rules):
            yield {
                "itemid": item.itemid,
                "variable": index,
                "conversion": conversion.value,
                "charted": item.conversion.value,
                "least": published.reject_low,
                "most": published.reject_high,
                "rank": item.rank if rules.item_ranks else 0,
                "categorical": bool(variable.columns),
                "plain": variable.name in rules.plain_numbers,
                "text_tie": variable.name in rules.text_ties,
                "lookback": rules.lookback_hours if variable.name in rules.lookback else 0.0,
                **asdict(limits),
            }


def spellings(variable: Variable, rules: RuleSet) -> Iterator[tuple[str, int, int]]:
    """Yield text, one-hot column and score of each known spelling.

    Under ``meaning`` texts are in lower case and all spellings of one meaning share its column.
    """
    for category in variable.categories:
        for text in (category.column, *category.spellings):
            if rules.one_hot == "meaning":
                yield text.lower(), variable.columns.index(category.column), category.score
            elif text in variable.columns:
                yield text, variable.columns.index(text), category.score


def _read_events(connection: Any, table: SourceTable, target: Path, progress: Progress) -> int:
    # a laboratory row belongs to an admission, not to a stay
    stay = "AND (e.stay_id IS NULL OR e.stay_id = c.stay_id)" if "stay_id" in table.types else ""
    late = "false"
    if "storetime" in table.types:
        late = f"coalesce({_hours('e.storetime')} > c.end_hours + {TOLERANCE!r}, false)"
    # five rows in six are of other items: without them the joins cost a third less
    (items,) = connection.execute("SELECT string_agg(itemid::VARCHAR, ', ') FROM items").fetchall()[0]
    wanted = f"(SELECT * FROM {table.scan()} WHERE itemid IN ({items}))"
    return execute_watched(
        connection,
        f"""COPY (
            SELECT c.stay_id, e.itemid, {_hours("e.charttime")} AS hours, e.value, e.valuenum, {late} AS late
            FROM {wanted} e
            JOIN items i ON e.itemid = i.itemid
            JOIN candidates c ON e.hadm_id = c.hadm_id AND e.subject_id = c.subject_id {stay}
            WHERE hours > -i.lookback - {TOLERANCE!r} AND hours < c.end_hours + {TOLERANCE!r}
        ) TO {literal(target)} (FORMAT parquet)""",
        table.name,
        progress,
    )


def _hours(column: str) -> str:
    return f"(epoch_us({column}) - epoch_us(c.intime)) / 3.6e9"


def _clean(connection: Any, rules: RuleSet, raw: Sequence[Path]) -> None:
    text = """coalesce(
        try_cast(value AS DOUBLE),
        CASE variables.name
            WHEN 'sbp' THEN try_cast(regexp_extract(value, '^(\\d+)/(\\d+)$', 1) AS DOUBLE)
            WHEN 'dbp' THEN try_cast(regexp_extract(value, '^(\\d+)/(\\d+)$', 2) AS DOUBLE)
        END)"""
    text = f"CASE WHEN NOT plain OR regexp_full_match(value, '\\d+(\\.\\d*)?|\\.\\d+') THEN {text} END"
    number = f"coalesce(valuenum, {text})" if rules.number == "valuenum" else text
    spelling = "lower(trim(value))" if rules.one_hot == "meaning" else "value"
    cases = " ".join(f"WHEN '{conversion.value}' THEN {sql}" for conversion, sql in _CONVERT.items())
    odd = " ".join(f"WHEN '{conversion.value}' THEN {sql}" for conversion, sql in _OTHER_UNIT.items())
    names = ", ".join(f"({index}, '{variable.name}')" for index, variable in enumerate(VARIABLES))
    execute(
        connection,
        f"""CREATE TEMP TABLE cleaned AS
        WITH variables(variable, name) AS (VALUES {names}),
        raw AS (
            SELECT stay_id, hours, value, valuenum, late, i.*, {number} AS raw, s.code, s.score
            FROM read_parquet([{", ".join(map(pattern, raw))}]) e
            JOIN items i USING (itemid)
            JOIN variables USING (variable)
            LEFT JOIN spellings s ON s.variable = i.variable AND i.categorical AND s.text = {spelling}
        ),
        converted AS (
            SELECT *, CASE conversion {cases} END AS number, coalesce(CASE charted {odd} END, false) AS other_unit FROM raw
        )
        SELECT stay_id, variable, hours, late, rank, categorical, value IS NOT NULL AS has_text,
            value IS NULL AND valuenum IS NOT NULL AS beside,
            coalesce(regexp_full_match(trim(value), '[-+]?\\d+,\\d+'), false) AND number IS NULL AS comma,
            CASE WHEN text_tie THEN value END AS tie_text,
            CASE WHEN categorical THEN score ELSE number END AS tie_number,
            other_unit, NOT categorical AND isfinite(number) AND NOT number BETWEEN least AND most AS out_of_range,
            NOT categorical AND isfinite(number) AND NOT number BETWEEN low AND high AS outside,
            NOT categorical AND isfinite(number) AND NOT number BETWEEN reject_low AND reject_high AS outlier,
            CASE WHEN categorical THEN code
                WHEN isfinite(number) AND number BETWEEN reject_low AND reject_high
                    THEN greatest(low, least(high, number)) END AS number
        FROM converted""",
        "of events",
    )
    late = "late" if rules.results_known else "false"
    # one value for each stay, variable and time
    execute(
        connection,
        f"""CREATE TEMP TABLE single AS
        SELECT stay_id, variable, hours, rank, number FROM cleaned WHERE number IS NOT NULL AND NOT {late}
        QUALIFY row_number() OVER (
            PARTITION BY stay_id, variable, hours ORDER BY rank, tie_text DESC NULLS LAST, tie_number DESC) = 1""",
        "of events",
    )


def _counts(connection: Any) -> dict[str, int]:
    names = ("matched", "late_results", "unknown_texts", "outliers", "without_value", "kept")
    row = connection.execute(
        """SELECT count(*), count_if(late), count_if(categorical AND has_text AND number IS NULL), count_if(outlier),
            count_if(number IS NULL AND NOT coalesce(outlier, false) AND NOT (categorical AND has_text)),
            (SELECT count(*) FROM single) FROM cleaned"""
    ).fetchall()[0]
    return {name: int(count or 0) for name, count in zip(names, row, strict=True)}  # no rows: NULL


def _by_variable(connection: Any) -> dict[str, dict[str, int]]:
    """Return counts of what was read, by variable: nothing that a rule set decides but what it keeps and clips."""
    names = ("read", "kept", "other_unit", "out_of_range", "clipped", "unknown_texts", "late", "beside", "comma")
    rows = connection.execute(
        """SELECT variable, count(*), count(number), count_if(other_unit), count_if(out_of_range),
            count_if(outside AND NOT outlier), count_if(categorical AND has_text AND number IS NULL), count_if(late),
            count_if(beside AND number IS NULL), count_if(comma)
        FROM cleaned GROUP BY variable ORDER BY variable"""
    ).fetchall()
    # count_if is NULL where every condition is
    return {
        VARIABLES[variable].name: dict(zip(names, (int(n or 0) for n in counts), strict=True))
        for variable, *counts in rows
    }


def _unlinked(
    connection: Any, matched: Sequence[Path], rows: Mapping[str, int], tables: Mapping[str, SourceTable]
) -> list[str]:
    """Name the tables of events of which no row belongs to a stay of the cohort."""
    found = []
    for name, path in zip(_EVENT_TABLES, matched, strict=True):
        count = connection.execute(f"SELECT count(*) FROM read_parquet({pattern(path)})").fetchall()[0][0]
        if rows[name] and not count:
            found.append(
                f"none of the {rows[name]:,} rows of {tables[name].name} is an event of a variable in the window of a stay: "
                "look at its identifiers, times and items"
            )
    return found


def _finish(connection: Any, rules: RuleSet, window: Window, folder: Path) -> tuple[CohortRule, ...]:
    label = {"flag": "flag", "times": "by_times"}[rules.label]
    execute(
        connection,
        f"""CREATE TEMP TABLE stays AS
        SELECT (row_number() OVER (ORDER BY stay_id) - 1)::INTEGER AS row, * EXCLUDE (coded), {label} AS label
        FROM candidates c
        WHERE coded AND EXISTS (
            SELECT 1 FROM single e WHERE e.stay_id = c.stay_id AND e.hours > {-TOLERANCE!r})""",
        "of stays",
    )
    rows, died, differ = connection.execute(
        "SELECT count(*), coalesce(sum(label), 0), coalesce(count_if(flag != by_times), 0) FROM stays"
    ).fetchall()[0]
    note = f"{died} died; hospital_expire_flag and the times of death differ for {differ}"
    steps = (CohortRule(f"a diagnosis code, and an event in the {window}", int(rows), note),)
    require_rows(steps)
    execute(connection, f"COPY (FROM stays ORDER BY row) TO {literal(folder / STAYS)} (FORMAT parquet)", "of stays")
    execute(
        connection,
        f"""COPY (SELECT s.row, e.variable, e.hours, e.rank, e.number FROM single e JOIN stays s USING (stay_id)
        ORDER BY s.row, e.variable, e.hours) TO {literal(folder / EVENTS)} (FORMAT parquet)""",
        "of events",
    )
    return steps
