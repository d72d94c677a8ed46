"""The tables of MIMIC-IV and MIMIC-CXR-JPG: columns, their order, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.events import SortedEvents, format_numbers
from fusionbench_plugins.tasks.mimic.synthetic.items import (
    CARE_UNITS,
    CHART_ITEMS,
    CODE_TITLES,
    LAB_ITEMS,
    OTHER_CODES,
    PHENOTYPES,
)
from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools, Floats, Latents
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import DAY, HOUR, MINUTE, NEVER, Hospital, Ints, identifiers

Columns = dict[str, Any]

_MASKED_PH_SHARE = 0.15
_LAB_WITHOUT_ADMISSION_SHARE = 0.02


def _times(seconds: Ints, unit: str = "s") -> NDArray[np.datetime64]:
    """Return ``datetime64[s]`` (or dates with unit ``D``); ``NEVER`` becomes not-a-time."""
    times = np.where(seconds == NEVER, np.datetime64("NaT", "s"), seconds.astype("datetime64[s]"))
    return times.astype(f"datetime64[{unit}]")


def _pick(words: Sequence[str | None], codes: NDArray[Any], empty: Bools | None = None) -> Any:
    """Return an Arrow string array of ``words[codes]``, null where ``empty``."""
    import pyarrow as pa

    return pa.array(words, pa.string()).take(pa.array(codes, mask=empty))


def _some(values: NDArray[Any], empty: Bools) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=empty)


def _providers(rows: int, rng: np.random.Generator, empty: float = 0.0) -> Any:
    names = [f"P{k:05d}" for k in rng.integers(0, 100_000, 60)]
    return _pick(names, rng.integers(0, len(names), rows), rng.random(rows) < empty)


def _generator(table: str, settings: SyntheticSettings) -> np.random.Generator:
    return numpy_generator(f"synthetic cohort: table {table}", seed=settings.seed)


# --------------------------------------------------------------------------------------------
# hosp/


def patients(hospital: Hospital, settings: SyntheticSettings) -> Columns:
    """``hosp/patients``."""
    rng = _generator("patients", settings)
    groups = ["2011 - 2013", "2014 - 2016"]  # the years that have chest images
    table = hospital.patients
    return {
        "subject_id": table.subject_id,
        "gender": _pick(["M", "F"], table.female.astype(int)),
        "anchor_age": table.anchor_age,
        "anchor_year": table.anchor_year,
        "anchor_year_group": _pick(groups, rng.integers(0, len(groups), len(table.subject_id))),
        "dod": _times(table.dod, "D"),
    }


def admissions(hospital: Hospital, settings: SyntheticSettings) -> Columns:
    """``hosp/admissions``."""
    rng = _generator("admissions", settings)
    table = hospital.admissions
    rows = len(table.hadm_id)

    def one_of(*words: str) -> Any:
        return _pick(words, rng.integers(0, len(words), rows))

    emergency = table.edregtime != NEVER
    leave = np.where(table.died, 0, rng.integers(1, 5, rows))
    return {
        "subject_id": hospital.patients.subject_id[table.patient],
        "hadm_id": table.hadm_id,
        "admittime": _times(table.admittime),
        "dischtime": _times(table.dischtime),
        "deathtime": _times(table.deathtime),
        "admission_type": _pick(["URGENT", "EW EMER."], emergency.astype(int)),
        "admit_provider_id": _providers(rows, rng),
        "admission_location": _pick(["TRANSFER FROM HOSPITAL", "EMERGENCY ROOM"], emergency.astype(int)),
        "discharge_location": _pick(["DIED", "HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB"], leave),
        "insurance": one_of("Other", "Medicare", "Medicaid"),
        "language": one_of("ENGLISH", "ENGLISH", "ENGLISH", "?"),
        "marital_status": _pick(
            ["MARRIED", "SINGLE", "WIDOWED", "DIVORCED"], rng.integers(0, 4, rows), rng.random(rows) < 0.03
        ),
        "race": one_of("WHITE", "WHITE", "WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "UNKNOWN", "OTHER"),
        "edregtime": _times(table.edregtime),
        "edouttime": _times(np.where(emergency, table.admittime + 30 * MINUTE, NEVER)),
        "hospital_expire_flag": table.died.astype(np.int64),
    }


def transfers(hospital: Hospital, settings: SyntheticSettings) -> Columns:
    """``hosp/transfers``: emergency room, ward, each ICU stay (two rows if moved), discharge."""
    import pyarrow as pa

    rng = _generator("transfers", settings)
    adm, icu = hospital.admissions, hospital.stays
    every = np.arange(len(adm.hadm_id))
    first = np.full(len(every), np.iinfo(np.int64).max)
    np.minimum.at(first, icu.admission, icu.intime)
    emergency = np.flatnonzero(adm.edregtime != NEVER)
    moved = icu.first_unit != icu.last_unit
    middle = np.where(moved, icu.intime + icu.seconds // 2, icu.outtime)
    units = ["Emergency Department", "Medicine", *CARE_UNITS]
    parts = [  # admission, event, unit (-1: none), begin, end
        (emergency, "ED", np.zeros(len(emergency), np.int64), adm.edregtime[emergency], adm.admittime[emergency]),
        (every, "admit", np.ones(len(every), np.int64), adm.admittime, first),
        (icu.admission, "transfer", icu.first_unit + 2, icu.intime, middle),
        (icu.admission[moved], "transfer", icu.last_unit[moved] + 2, middle[moved], icu.outtime[moved]),
        (every, "discharge", np.full(len(every), -1), adm.dischtime, np.full(len(every), NEVER)),
    ]
    admission, unit, begin, end = (np.concatenate([part[k] for part in parts]) for k in (0, 2, 3, 4))
    event = np.concatenate([np.full(len(part[0]), part[1]) for part in parts])
    order = np.lexsort((event == "discharge", begin, admission))
    admission, unit = admission[order], unit[order]
    return {
        "subject_id": hospital.patients.subject_id[adm.patient[admission]],
        "hadm_id": adm.hadm_id[admission],
        "transfer_id": identifiers(30_000_000, len(order), rng),
        "eventtype": pa.array(event[order].tolist()),
        "careunit": _pick(units, np.maximum(unit, 0), unit < 0),
        "intime": _times(begin[order]),
        "outtime": _times(end[order]),
    }


def diagnoses(hospital: Hospital, latents: Latents, settings: SyntheticSettings) -> Columns:
    """``hosp/diagnoses_icd``: half of the admissions are coded in ICD-9, half in ICD-10.

    The phenotypes of an admission are driven by the severity and the factors of its first stay.
    """
    rng = _generator("diagnoses_icd", settings)
    adm = hospital.admissions
    first = np.unique(hospital.stays.admission, return_index=True)[1]
    drivers = np.column_stack([latents.standard_evidence(settings)[:, 0], latents.factors])[first]
    has = draw_phenotypes(drivers, rng)
    version = np.where(rng.random(len(has)) < 0.5, 9, 10)
    choice = rng.random(has.shape)
    codes = [_codes_of(has[row], int(version[row]), choice[row], row, settings) for row in range(len(has))]
    rows = np.repeat(np.arange(len(has)), [len(c) for c in codes])
    return {
        "subject_id": hospital.patients.subject_id[adm.patient[rows]],
        "hadm_id": adm.hadm_id[rows],
        "seq_num": np.concatenate([np.arange(1, len(c) + 1) for c in codes]),
        "icd_code": [code for found in codes for code in found],
        "icd_version": version[rows],
    }


def draw_phenotypes(drivers: Floats, rng: np.random.Generator) -> Bools:
    """Draw the 25 labels: bool ``[rows, 25]``, each with its share in the population.

    Args:
        drivers: ``[rows, 6]``, standard normal: severity, then the phenotype factors.
        rng: For what the drivers do not explain.
    """
    from scipy.stats import norm

    loadings = np.array([p.loadings for p in PHENOTYPES])
    scores = drivers @ loadings.T + rng.standard_normal((len(drivers), len(PHENOTYPES)))
    limits = norm.isf([p.share for p in PHENOTYPES])
    has: Bools = scores / np.sqrt(1 + (loadings**2).sum(axis=1)) > limits
    return has


def _codes_of(has: Bools, version: int, choice: Floats, row: int, settings: SyntheticSettings) -> list[str]:
    others = OTHER_CODES[version]
    codes = [others[row % len(others)]]
    for phenotype, u in zip((PHENOTYPES[k] for k in np.flatnonzero(has)), choice[has], strict=True):
        known = phenotype.icd9 if version == 9 else phenotype.icd10
        if version == 10 and settings.version == "3.1":
            known += phenotype.recent
        codes.append(known[int(u * len(known))])
    return codes


def diagnosis_titles() -> Columns:
    """``hosp/d_icd_diagnoses``: the codes in use; a phenotype's code has the phenotype as its title."""
    titles = {(code, 9 if code in OTHER_CODES[9] else 10): title for code, title in CODE_TITLES.items()}
    for p in PHENOTYPES:
        titles |= {(code, 9): p.name for code in p.icd9} | {(code, 10): p.name for code in (*p.icd10, *p.recent)}
    rows = sorted(titles)
    return {
        "icd_code": [code for code, _ in rows],
        "icd_version": [version for _, version in rows],
        "long_title": [titles[row] for row in rows],
    }


def lab_items() -> Columns:
    """``hosp/d_labitems``."""
    return {name: [getattr(item, name) for item in LAB_ITEMS] for name in ("itemid", "label", "fluid", "category")}


def lab_events(hospital: Hospital, events: SortedEvents, settings: SyntheticSettings) -> Columns:
    """``hosp/labevents``: some values are masked in ``value``, some rows have no admission."""
    rng = _generator("labevents", settings)
    rows = len(events)
    item = np.searchsorted([i.itemid for i in LAB_ITEMS], events.itemid)
    low, high = (np.array([getattr(i, side) for i in LAB_ITEMS]) for side in ("low", "high"))
    number = np.array(events.number.cast("float64"))
    charttime = hospital.stays.intime[events.stay] + events.seconds
    specimen = np.cumsum(np.append(True, (np.diff(events.stay) != 0) | (np.diff(events.seconds) != 0)))
    masked = (events.itemid == 50931) | ((events.itemid == 50820) & (rng.random(rows) < _MASKED_PH_SHARE))
    return {
        "labevent_id": np.arange(1, rows + 1),
        "subject_id": hospital.subject_of_stay[events.stay],
        "hadm_id": _some(hospital.hadm_of_stay[events.stay], rng.random(rows) < _LAB_WITHOUT_ADMISSION_SHARE),
        "specimen_id": 40_000_000 + specimen,
        "itemid": events.itemid,
        "order_provider_id": _providers(rows, rng, empty=0.6),
        "charttime": _times(charttime),
        "storetime": _times(charttime + rng.integers(5, 100, rows) * MINUTE),
        "value": _mask(events.value, masked),
        "valuenum": events.number,
        "valueuom": _pick([i.unit for i in LAB_ITEMS], item),
        "ref_range_lower": format_numbers(low[item], 2),
        "ref_range_upper": format_numbers(high[item], 2),
        "flag": _pick(["abnormal"], np.zeros(rows, int), (number >= low[item]) & (number <= high[item])),
        "priority": _pick(["ROUTINE", "STAT"], rng.integers(0, 2, rows), rng.random(rows) < 0.1),
        "comments": _pick(["Reference range as of ___."], np.zeros(rows, int), ~masked),
    }


def _mask(values: Any, masked: Bools) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    return compute.if_else(pa.array(masked), "___", values)


# --------------------------------------------------------------------------------------------
# icu/


def icu_stays(hospital: Hospital) -> Columns:
    """``icu/icustays``."""
    icu = hospital.stays
    return {
        "subject_id": hospital.subject_of_stay,
        "hadm_id": hospital.hadm_of_stay,
        "stay_id": icu.stay_id,
        "first_careunit": _pick(CARE_UNITS, icu.first_unit),
        "last_careunit": _pick(CARE_UNITS, icu.last_unit),
        "intime": _times(icu.intime),
        "outtime": _times(icu.outtime),
        "los": icu.seconds / DAY,
    }


def chart_items() -> Columns:
    """``icu/d_items``."""
    empty = np.full(len(CHART_ITEMS), "")
    names = ("itemid", "label", "abbreviation", "linksto", "category")
    columns: Columns = {name: [getattr(item, name) for item in CHART_ITEMS] for name in names}
    columns |= {"unitname": [i.unit for i in CHART_ITEMS], "param_type": [i.param_type for i in CHART_ITEMS]}
    return columns | {"lownormalvalue": empty.tolist(), "highnormalvalue": empty.tolist()}


def chart_events(hospital: Hospital, events: SortedEvents, settings: SyntheticSettings) -> Columns:
    """``icu/chartevents``."""
    rng = _generator("chartevents", settings)
    columns = _bedside_columns(hospital, events, rng)
    warning = _pick(["0", "1"], (rng.random(len(events)) < 0.001).astype(int), rng.random(len(events)) < 0.5)
    return columns | {
        "value": events.value,
        "valuenum": events.number,
        "valueuom": _units(events),
        "warning": warning,
    }


def output_events(hospital: Hospital, events: SortedEvents, settings: SyntheticSettings) -> Columns:
    """``icu/outputevents``."""
    columns = _bedside_columns(hospital, events, _generator("outputevents", settings))
    return columns | {"value": events.value, "valueuom": _units(events)}


def _bedside_columns(hospital: Hospital, events: SortedEvents, rng: np.random.Generator) -> Columns:
    rows = len(events)
    charttime = hospital.stays.intime[events.stay] + events.seconds
    return {
        "subject_id": hospital.subject_of_stay[events.stay],
        "hadm_id": hospital.hadm_of_stay[events.stay],
        "stay_id": hospital.stays.stay_id[events.stay],
        "caregiver_id": _some(rng.integers(10_000, 10_400, rows), rng.random(rows) < 0.05),
        "charttime": _times(charttime),
        "storetime": _times(charttime + rng.integers(0, HOUR // MINUTE, rows) * MINUTE),
        "itemid": events.itemid,
    }


def _units(events: SortedEvents) -> Any:
    position = np.searchsorted([i.itemid for i in CHART_ITEMS], events.itemid)
    return _pick([i.unit or None for i in CHART_ITEMS], position)


def iv_tables(
    hospital: Hospital, latents: Latents, events: Sequence[SortedEvents], settings: SyntheticSettings
) -> Mapping[str, tuple[Columns, bool]]:
    """All MIMIC-IV tables by path, with whether their texts hold commas.

    Args:
        hospital: Patients, admissions, stays.
        latents: Of all stays.
        events: Of chartevents, labevents and outputevents.
        settings: The dials.
    """
    chart, labs, output = events
    return {
        "hosp/patients": (patients(hospital, settings), False),
        "hosp/admissions": (admissions(hospital, settings), False),
        "hosp/transfers": (transfers(hospital, settings), False),
        "hosp/diagnoses_icd": (diagnoses(hospital, latents, settings), False),
        "hosp/d_icd_diagnoses": (diagnosis_titles(), True),
        "hosp/d_labitems": (lab_items(), True),
        "hosp/labevents": (lab_events(hospital, labs, settings), False),
        "icu/icustays": (icu_stays(hospital), False),
        "icu/d_items": (chart_items(), True),
        "icu/chartevents": (chart_events(hospital, chart, settings), False),
        "icu/outputevents": (output_events(hospital, output, settings), False),
    }
