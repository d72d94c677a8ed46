"""Who is in the cohort, in which order the rules are applied, and what each rule leaves.

A stay is kept when it began and ended in one unit, is the only such stay of its admission, the patient is
18 or older, it lasted as long as the window (where the task asks for that), the admission has a diagnosis code
and the window an event.
"""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from fusionbench.errors import DataError
from fusionbench_plugins.tasks.mimic.tables.database import execute
from fusionbench_plugins.tasks.mimic.tables.layout import SourceTable
from fusionbench_plugins.tasks.mimic.tables.rules import RuleSet
from fusionbench_plugins.tasks.mimic.tables.window import TOLERANCE, Window

_MINIMUM_AGE = 18
_MOST = 0.5
_MOST_SHORT = 0.8
_UNITS = {"hours": (20, 28), "minutes": (1_200, 1_700), "seconds": (72_000, 100_000)}
_OFF_HOURS, _OFF_SHARE = 1.0, 0.01  # between los and the times: both are rounded, and clocks change


class CohortRule(NamedTuple):
    """One line of the funnel: what was asked, how many stays are left, and a remark."""

    step: str
    rows: int
    note: str = ""


def select_candidates(
    connection: Any, tables: Mapping[str, SourceTable], rules: RuleSet, window: Window
) -> tuple[CohortRule, ...]:
    """Make table ``candidates``: the stays that pass every rule that needs no events.

    Columns: stay_id, subject_id, hadm_id, intime, outtime, los, age, gender, race, flag, by_times, coded, and
    end_hours, the last hour since intime that is read.

    Raises:
        DataError: Identifiers repeat, labels contradict each other, or no stay is left.
    """
    for name in ("icustays", "admissions", "patients"):
        execute(connection, f"CREATE TEMP TABLE {name} AS SELECT * FROM {tables[name].scan()}", tables[name].name)
    problems = [*_key_problems(connection, tables), *_length_problems(connection, tables["icustays"].name)]
    if problems:
        raise DataError("\n".join([*problems, "Each of these must be unique and complete; export the tables again."]))
    coded = tables["diagnoses_icd"]
    execute(
        connection,
        f"CREATE TEMP TABLE coded AS SELECT hadm_id, count(*) AS codes FROM {coded.scan()} GROUP BY hadm_id",
        coded.name,
    )
    for statement in _selection(rules, window):
        execute(connection, statement, "of stays")
    funnel: tuple[CohortRule, ...] = (
        CohortRule("ICU stays", _count(connection, "icustays")),
        CohortRule("same first and last care unit", _count(connection, "one_unit")),
        CohortRule("admission and patient known", _count(connection, "known")),
        CohortRule("only such stay of its admission", _count(connection, "only_stay")),
        CohortRule(f"{_MINIMUM_AGE} years or older", _count(connection, "adults")),
    )
    if window.least_hours:
        funnel += (CohortRule(f"{window.least_hours:g} h or longer", _count(connection, "candidates")),)
    require_rows(funnel, remarks(connection, funnel))
    return funnel


def _selection(rules: RuleSet, window: Window) -> tuple[str, ...]:
    age = {
        "admission": "p.anchor_age + year(a.admittime) - p.anchor_year",
        "anchor": "p.anchor_age",
    }[rules.age]
    died = "coalesce(a.admittime <= {0} AND {0} <= a.dischtime, false)"
    return (
        "CREATE TEMP TABLE one_unit AS SELECT * FROM icustays WHERE first_careunit = last_careunit",
        f"""CREATE TEMP TABLE known AS
        SELECT s.stay_id, s.subject_id, s.hadm_id, s.intime, s.outtime, s.los, {age} AS age, p.gender, a.race,
            a.hospital_expire_flag AS flag,
            ({died.format("p.dod")} OR {died.format("a.deathtime")})::INTEGER AS by_times
        FROM one_unit s
        JOIN admissions a ON a.subject_id = s.subject_id AND a.hadm_id = s.hadm_id
        JOIN patients p ON p.subject_id = s.subject_id""",
        # counted after the first rule: an admission whose other stay was left out above is kept
        "CREATE TEMP TABLE only_stay AS SELECT * FROM known QUALIFY count(*) OVER (PARTITION BY hadm_id) = 1",
        f"CREATE TEMP TABLE adults AS SELECT * FROM only_stay WHERE age >= {_MINIMUM_AGE}",
        f"""CREATE TEMP TABLE candidates AS
        SELECT c.*, EXISTS (SELECT 1 FROM coded d WHERE d.hadm_id = c.hadm_id) AS coded,
            {window.end("c.los")} AS end_hours
        FROM adults c WHERE c.los * 24 >= {window.least_hours - TOLERANCE!r}""",
    )


def _key_problems(connection: Any, tables: Mapping[str, SourceTable]) -> list[str]:
    keys = {"icustays": "stay_id", "admissions": "hadm_id", "patients": "subject_id"}
    problems = []
    contradicting = _count(
        connection,
        "(SELECT hadm_id FROM admissions GROUP BY hadm_id HAVING count(DISTINCT hospital_expire_flag) > 1)",
    )
    if contradicting:
        problems.append(f"table {tables['admissions'].name}: {contradicting} admissions have two different labels")
    for name, key in keys.items():
        repeated = _count(connection, f"(SELECT {key} FROM {name} GROUP BY {key} HAVING count(*) > 1)")
        if repeated:
            problems.append(f"table {tables[name].name}: {repeated} values of {key} occur more than once")
    unlabelled = _count(
        connection,
        "(SELECT 1 FROM admissions WHERE hospital_expire_flag NOT IN (0, 1) OR hospital_expire_flag IS NULL)",
    )
    if unlabelled:
        problems.append(f"table {tables['admissions'].name}: {unlabelled} rows have no 0 or 1 in hospital_expire_flag")
    return problems


def _length_problems(connection: Any, table: str) -> list[str]:
    """Say that ``los`` is not what the times of most stays say: it is empty, or in another unit than days."""
    stays, empty, compared, differ, times = _lengths(connection)
    if empty > _MOST * stays:
        return [f"table {table}: los, the length of a stay in days, is empty for {empty:,} of {stays:,} stays"]
    unit = next((name for name, (low, high) in _UNITS.items() if low < times < high), None)
    if unit and differ > _MOST * compared:
        said = f"is {round(times):,} times outtime - intime in the middle, and differs for {differ:,} of {compared:,} stays"
        return [f"table {table}: los, the length of a stay in days, {said}: it is in {unit}"]
    return []


def _lengths(connection: Any) -> tuple[int, int, int, int, float]:
    """Return how many stays there are, lack ``los``, have both it and times, differ in these, and by which factor."""
    hours = "(epoch_us(outtime) - epoch_us(intime)) / 3.6e9"
    found = connection.execute(
        f"""SELECT count(*), count_if(los IS NULL), count_if(los IS NOT NULL AND {hours} IS NOT NULL),
            count_if(abs(los * 24 - {hours}) > greatest({_OFF_HOURS}, {_OFF_SHARE} * abs({hours}))),
            coalesce(median(los * 24 / nullif({hours}, 0)), 0)
        FROM icustays"""
    ).fetchall()[0]
    stays, empty, compared, differ = (int(count or 0) for count in found[:4])  # no rows: NULL
    return stays, empty, compared, differ, float(found[4])


def remarks(connection: Any, funnel: tuple[CohortRule, ...]) -> list[str]:
    """Return what a reader must know of how the stays were chosen: lengths that do not fit, rules that cost most stays."""
    stays, empty, _, differ, _ = _lengths(connection)
    found = []
    if empty:
        found.append(f"{empty:,} of {stays:,} ICU stays have no los, the length of the stay: they are left out")
    if differ:
        found.append(f"los is not outtime - intime for {differ:,} of {stays:,} ICU stays: los is what is used")
    for before, after in pairwise(funnel):
        # stays of two days are fewer than half in any hospital
        usual = _MOST_SHORT if after.step.endswith("h or longer") else _MOST
        if after.rows < (1 - usual) * before.rows:
            found.append(
                f"rule '{after.step}' leaves {after.rows:,} of {before.rows:,} stays: look at the columns it reads"
            )
    return found


def require_rows(funnel: tuple[CohortRule, ...], remarks: Sequence[str] = ()) -> None:
    """Raise a DataError that shows the funnel, with what there is to say of it, when its last step left nothing."""
    if funnel[-1].rows == 0:
        lines = "".join(f"\n  {remark}" for remark in remarks)
        raise DataError(f"no stay is left in the cohort; the steps left:\n{describe(funnel)}{lines}")


def describe(funnel: tuple[CohortRule, ...]) -> str:
    """Return the funnel as lines of text."""
    return "\n".join(f"  {s.rows:>9,}  {s.step}{f' ({s.note})' if s.note else ''}" for s in funnel)


def _count(connection: Any, relation: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
