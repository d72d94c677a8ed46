"""Who lay where and when: patients, admissions and ICU stays, also those that the cohort rules exclude.

All times are int64 seconds since 1970-01-01, ``NEVER`` where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.items import CARE_UNITS
from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings

MINUTE, HOUR, DAY = 60, 3600, 86_400
NEVER = -(2**62)

Ints = NDArray[np.int64]


class Role(IntEnum):
    """Why a stay is in the database."""

    COHORT = 0
    SHORT = 1  # under 48 hours
    MOVED = 2  # first and last care unit differ
    TWIN = 3  # two stays in one admission
    MINOR = 4  # under 18 years


EXTRA_SHARES = {Role.SHORT: 0.06, Role.MOVED: 0.05, Role.TWIN: 0.04, Role.MINOR: 0.01}
RETURNING_SHARE = 0.08  # cohort stays that are a patient's second admission
_IN_ICU_SHARE = 0.75  # deaths
_MIDNIGHT_SHARE = 0.1  # deaths whose dischtime is the midnight before, as happens in MIMIC-IV
_LATER_DEATH_SHARE = 0.06  # survivors with a date of death within the year


@dataclass(frozen=True)
class Patients:
    """One row per patient; ``dod`` counts as midnight."""

    subject_id: Ints
    female: Bools
    anchor_age: Ints
    anchor_year: Ints
    dod: Ints


@dataclass(frozen=True)
class Admissions:
    """One row per admission; ``patient`` is a row of :class:`Patients`."""

    patient: Ints
    hadm_id: Ints
    admittime: Ints
    dischtime: Ints
    deathtime: Ints
    edregtime: Ints
    died: Bools


@dataclass(frozen=True)
class IcuStays:
    """One row per stay; ``admission`` is a row of :class:`Admissions`, units are of ``CARE_UNITS``."""

    role: Ints
    admission: Ints
    stay_id: Ints
    intime: Ints
    outtime: Ints
    first_unit: Ints
    last_unit: Ints

    @property
    def seconds(self) -> Ints:
        """Length of each stay."""
        return self.outtime - self.intime


@dataclass(frozen=True)
class Hospital:
    """The three tables, and what is often asked across them."""

    patients: Patients
    admissions: Admissions
    stays: IcuStays

    @property
    def subject_of_stay(self) -> Ints:
        """``subject_id`` of each stay."""
        return self.patients.subject_id[self.admissions.patient[self.stays.admission]]

    @property
    def hadm_of_stay(self) -> Ints:
        """``hadm_id`` of each stay."""
        return self.admissions.hadm_id[self.stays.admission]


def plan_roles(settings: SyntheticSettings) -> Ints:
    """Role of every stay, the cohort first. Twins come in pairs, one after the other."""
    extras = [np.full(2 * max(1, round(share * settings.stays / 2)), role) for role, share in EXTRA_SHARES.items()]
    return np.concatenate([np.full(settings.stays, Role.COHORT), *extras]).astype(np.int64)


def plan_hospital(roles: Ints, died: Bools, settings: SyntheticSettings) -> Hospital:
    """Give every stay an admission, a patient and a place on the calendar.

    Args:
        roles: From :func:`plan_roles`.
        died: Bool ``[stays]``; that of the first stay of an admission counts.
        settings: The dials.
    """
    rng = numpy_generator("synthetic cohort: calendar", seed=settings.seed)
    links = _link(roles, died, rng)
    patients = int(links.patient.max()) + 1
    anchor_year = rng.integers(2110, 2190, patients)
    admissions, intime, outtime = _times(links, anchor_year, rng)
    minor = np.isin(np.arange(patients), links.patient[links.admission[roles == Role.MINOR]])
    age = np.clip(np.rint(rng.normal(64, 16, patients)), 18, 91).astype(np.int64)
    unit = rng.integers(0, len(CARE_UNITS), len(roles))
    last_unit = np.where(
        roles == Role.MOVED, (unit + rng.integers(1, len(CARE_UNITS), len(roles))) % len(CARE_UNITS), unit
    )
    return Hospital(
        Patients(
            subject_id=identifiers(10_000_000, patients, rng),
            female=rng.random(patients) < 0.45,
            anchor_age=np.where(minor, 17, age),
            anchor_year=anchor_year,
            dod=_dates_of_death(admissions, patients, rng),
        ),
        admissions,
        IcuStays(roles, links.admission, identifiers(30_000_000, len(roles), rng), intime, outtime, unit, last_unit),
    )


def identifiers(low: int, count: int, rng: np.random.Generator) -> Ints:
    """Draw ``count`` different numbers of eight digits from ``low`` up, below ``low`` + 10 million."""
    return low + rng.choice(10_000_000, count, replace=False, shuffle=True).astype(np.int64)


# --------------------------------------------------------------------------------------------
# who belongs together


@dataclass(frozen=True)
class _Links:
    roles: Ints
    host: Ints  # [stays]: the earlier stay of the same admission, or -1
    admission: Ints  # [stays]
    earlier: Ints  # [admissions]: the patient's admission before, or -1
    patient: Ints  # [admissions]
    died: Bools  # [admissions]


def _link(roles: Ints, died: Bools, rng: np.random.Generator) -> _Links:
    host = _hosts(roles, died, rng)
    primary = np.flatnonzero(host < 0)
    admission = _number(host)
    shared = np.isin(primary, host)
    earlier = _earlier_admissions((roles[primary] == Role.COHORT) & ~shared, died[primary], rng)
    return _Links(roles, host, admission, earlier, _number(earlier), died[primary])


def _number(parent: Ints) -> Ints:
    """Number the roots 0, 1, ... and give every child its parent's number."""
    roots = parent < 0
    number = np.cumsum(roots) - 1
    return np.where(roots, number, number[parent])


def _hosts(roles: Ints, died: Bools, rng: np.random.Generator) -> Ints:
    host = np.full(len(roles), -1)
    twins = np.flatnonzero(roles == Role.TWIN)
    host[twins[1::2]] = twins[::2]
    # an admission of two stays of which one is in two units keeps the other: half of the moved ones are such
    survivors = np.flatnonzero((roles == Role.COHORT) & ~died)
    moved = np.flatnonzero(roles == Role.MOVED)[::2][: len(survivors) // 2]
    host[moved] = rng.choice(survivors, len(moved), replace=False)
    return host


def _earlier_admissions(eligible: Bools, died: Bools, rng: np.random.Generator) -> Ints:
    earlier = np.full(len(eligible), -1)
    candidates = rng.permutation(np.flatnonzero(eligible))
    second, others = np.split(candidates, [max(1, round(RETURNING_SHARE * len(candidates)))])
    first = others[~died[others]][: len(second)]  # who died does not return
    earlier[second[: len(first)]] = first
    return earlier


# --------------------------------------------------------------------------------------------
# the calendar


def _times(links: _Links, anchor_year: Ints, rng: np.random.Generator) -> tuple[Admissions, Ints, Ints]:
    """Return the admissions, and ``intime`` and ``outtime`` of each stay."""
    count = len(links.patient)
    seconds = _stay_seconds(links.roles, rng)
    emergency = rng.random(count) < 0.7
    wait = np.where(
        rng.random(count) < 0.8, rng.integers(MINUTE, 6 * HOUR, count), rng.integers(12 * HOUR, 2 * DAY, count)
    )
    gap = rng.integers(12 * HOUR, 60 * HOUR, len(links.roles))
    tail = rng.integers(8 * HOUR, 8 * DAY, count)  # from the last ICU stay to discharge
    tail[links.died & (rng.random(count) < _IN_ICU_SHARE)] = 0
    midnight = links.died & (rng.random(count) < _MIDNIGHT_SHARE)

    def stays_from(admittime: Ints) -> tuple[Ints, Ints]:
        intime = (admittime + wait)[links.admission]
        later = links.host >= 0
        intime[later] += (seconds[links.host] + gap)[later]
        end = np.zeros(count, np.int64)
        np.maximum.at(end, links.admission, intime + seconds)
        return intime, _to_minute(end + tail)

    years = (anchor_year - 1970).astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    start = _to_minute(years[links.patient] + rng.integers(0, 300 * DAY, count))
    returning = links.earlier >= 0
    pause = rng.integers(7 * DAY, 500 * DAY, count)
    start[returning] = _to_minute(stays_from(start)[1][links.earlier] + pause)[returning]
    intime, end = stays_from(start)
    admissions = Admissions(
        patient=links.patient,
        hadm_id=identifiers(20_000_000, count, rng),
        admittime=start,
        dischtime=np.where(midnight, end - end % DAY, end),
        deathtime=np.where(links.died, end, NEVER),
        edregtime=np.where(emergency, start - _to_minute(rng.integers(HOUR, 8 * HOUR, count)), NEVER),
        died=links.died,
    )
    return admissions, intime, intime + seconds


def _to_minute(seconds: Ints) -> Ints:
    return seconds - seconds % MINUTE


def _stay_seconds(roles: Ints, rng: np.random.Generator) -> Ints:
    long = 48 * HOUR + np.minimum(np.exp(rng.normal(3.2, 0.9, len(roles))), 192) * HOUR + MINUTE
    short = rng.uniform(6 * HOUR, 47.5 * HOUR, len(roles))
    return np.where(roles == Role.SHORT, short, long).astype(np.int64)


def _dates_of_death(admissions: Admissions, patients: int, rng: np.random.Generator) -> Ints:
    last = np.full(patients, NEVER)
    np.maximum.at(last, admissions.patient, admissions.dischtime)
    later = last - last % DAY + rng.integers(2, 360, patients) * DAY
    dod = np.where(rng.random(patients) < _LATER_DEATH_SHARE, later, NEVER)
    dod[admissions.patient[admissions.died]] = (admissions.deathtime - admissions.deathtime % DAY)[admissions.died]
    return dod
