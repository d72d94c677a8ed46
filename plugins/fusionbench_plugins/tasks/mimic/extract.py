"""From the big tables to cleaned events: one pass over each file, then the rules on what was kept."""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionbench.progress import Progress
from fusionbench_plugins.tasks.mimic.cohort import Step, require_rows, select_candidates
from fusionbench_plugins.tasks.mimic.database import database, execute, execute_watched, literal, pattern
from fusionbench_plugins.tasks.mimic.layout import Table
from fusionbench_plugins.tasks.mimic.rules import RuleSet
from fusionbench_plugins.tasks.mimic.store import hash_file
from fusionbench_plugins.tasks.mimic.variables import VARIABLES, Conversion, Item, Range, Variable

VERSION = 1
"""Raised when the same tables and rules would give other events, so that old cache entries are not read."""

STAYS = "stays.parquet"
EVENTS = "events.parquet"
_EVENT_TABLES = ("chartevents", "labevents")
# what an event may be outside the window by, in hours
_TOLERANCE = 1e-6

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
_UNBOUNDED = Range(float("-inf"), float("-inf"), float("inf"), float("inf"))


def extract(
    tables: Mapping[str, Table],
    rules: RuleSet,
    window_hours: float,
    folder: Path,
    memory_limit: str,
    threads: int,
    progress: Progress,
) -> dict[str, Any]:
    """Write ``stays.parquet`` and ``events.parquet`` into ``folder``.

    * stays: row (0, 1, ... by stay_id), stay_id, subject_id, hadm_id, intime, outtime, age, gender, race, flag,
      by_times, label (int, 1 = died in hospital).
    * events: row, variable (index into ``VARIABLES``), hours since admission to the unit, rank, number
      (in the variable's unit; for categorical variables the index of the one-hot column). At most one
      event per row, variable and time.

    Returns:
        Facts for the manifest: funnel, counts of what was dropped, versions, hashes of the tables.

    Raises:
        DataError: A table is malformed, or no stay is left.
        WorkspaceError: Memory or disk do not suffice.
    """
    import duckdb

    with database(folder, memory_limit, threads) as connection:
        funnel = select_candidates(connection, tables, rules, window_hours)
        _define_items(connection, rules)
        raw = [folder / f"{name}-matched.parquet" for name in _EVENT_TABLES]
        for name, path in zip(_EVENT_TABLES, raw, strict=True):
            _read_events(connection, tables[name], rules, window_hours, path, progress)
        _clean(connection, rules, raw)
        counts = _counts(connection)
        funnel += _finish(connection, rules, window_hours, folder)
    for path in raw:
        path.unlink()
    return {
        "funnel": [list(step) for step in funnel],
        "counts": counts,
        "duckdb": duckdb.__version__,
        "tables": {table.name: hash_file(table.path) for table in tables.values()},
    }


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
        for item, conversion in items_of(variable, rules):
            yield {
                "itemid": item.itemid,
                "variable": index,
                "conversion": conversion.value,
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


def _read_events(
    connection: Any, table: Table, rules: RuleSet, window_hours: float, target: Path, progress: Progress
) -> None:
    # a laboratory row belongs to an admission, not to a stay
    stay = "AND (e.stay_id IS NULL OR e.stay_id = c.stay_id)" if "stay_id" in table.types else ""
    late = "false"
    if rules.results_known and "storetime" in table.types:
        late = f"coalesce({_hours('e.storetime')} > {window_hours + _TOLERANCE!r}, false)"
    execute_watched(
        connection,
        f"""COPY (
            SELECT c.stay_id, e.itemid, {_hours("e.charttime")} AS hours, e.value, e.valuenum, {late} AS late
            FROM {table.scan()} e
            JOIN items i ON e.itemid = i.itemid
            JOIN candidates c ON e.hadm_id = c.hadm_id AND e.subject_id = c.subject_id {stay}
            WHERE hours > -i.lookback - {_TOLERANCE!r} AND hours < {window_hours + _TOLERANCE!r}
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
    names = ", ".join(f"({index}, '{variable.name}')" for index, variable in enumerate(VARIABLES))
    execute(
        connection,
        f"""CREATE TEMP TABLE cleaned AS
        WITH variables(variable, name) AS (VALUES {names}),
        raw AS (
            SELECT stay_id, hours, value, late, i.*, {number} AS raw, s.code, s.score
            FROM read_parquet([{", ".join(map(pattern, raw))}]) e
            JOIN items i USING (itemid)
            JOIN variables USING (variable)
            LEFT JOIN spellings s ON s.variable = i.variable AND i.categorical AND s.text = {spelling}
        ),
        converted AS (SELECT *, CASE conversion {cases} END AS number FROM raw)
        SELECT stay_id, variable, hours, late, rank, categorical, value IS NOT NULL AS has_text,
            CASE WHEN text_tie THEN value END AS tie_text,
            CASE WHEN categorical THEN score ELSE number END AS tie_number,
            NOT categorical AND isfinite(number) AND NOT number BETWEEN reject_low AND reject_high AS outlier,
            CASE WHEN categorical THEN code
                WHEN isfinite(number) AND number BETWEEN reject_low AND reject_high
                    THEN greatest(low, least(high, number)) END AS number
        FROM converted""",
        "of events",
    )
    # one value for each stay, variable and time
    execute(
        connection,
        """CREATE TEMP TABLE single AS
        SELECT stay_id, variable, hours, rank, number FROM cleaned WHERE number IS NOT NULL AND NOT late
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


def _finish(connection: Any, rules: RuleSet, window_hours: float, folder: Path) -> tuple[Step, ...]:
    label = {"flag": "flag", "times": "by_times"}[rules.label]
    execute(
        connection,
        f"""CREATE TEMP TABLE stays AS
        SELECT (row_number() OVER (ORDER BY stay_id) - 1)::INTEGER AS row, * EXCLUDE (coded), {label} AS label
        FROM candidates c
        WHERE coded AND EXISTS (
            SELECT 1 FROM single e WHERE e.stay_id = c.stay_id AND e.hours > {-_TOLERANCE!r})""",
        "of stays",
    )
    rows, died, differ = connection.execute(
        "SELECT count(*), coalesce(sum(label), 0), coalesce(count_if(flag != by_times), 0) FROM stays"
    ).fetchall()[0]
    note = f"{died} died; hospital_expire_flag and the times of death differ for {differ}"
    steps = (Step(f"a diagnosis code, and an event in the first {window_hours:g} h", int(rows), note),)
    require_rows(steps)
    execute(connection, f"COPY (FROM stays ORDER BY row) TO {literal(folder / STAYS)} (FORMAT parquet)", "of stays")
    execute(
        connection,
        f"""COPY (SELECT s.row, e.variable, e.hours, e.rank, e.number FROM single e JOIN stays s USING (stay_id)
        ORDER BY s.row, e.variable, e.hours) TO {literal(folder / EVENTS)} (FORMAT parquet)""",
        "of events",
    )
    return steps
