"""Renders the EHR: vital signs, laboratory values, coma scores and weights over time.

Each channel follows ``base + scale * (loadings . drivers * ramp(t) + stay + drift(t) + error)``. The drivers
are the stay's evidence, interplay and phenotype factors; ``ramp`` rises over 48 hours, so that both level and
trend carry the evidence. Stay effect and errors are small and independent between channels: a dozen channels
and fifty hours average them out, which keeps the loss against the latents small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.events import Events, SortedEvents
from fusionbench_plugins.tasks.mimic.synthetic.items import EYES, MOTOR, REFILL, TUBED, VERBAL
from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools, Floats, Latents
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import HOUR, MINUTE, IcuStays, Ints

_STAY_EFFECT, _DRIFT, _ERROR = 0.12, 0.2, 0.3  # standard deviations, in units of a channel's scale
_DRIFT_MEMORY = 0.85  # from one hour to the next
_OUTLIER_SHARE = 0.0003


class Channel(NamedTuple):
    """A quantity, its plausible range, and what it responds to (standard deviations per unit of driver)."""

    base: float
    scale: float
    low: float
    high: float
    evidence: float = 0.0
    interplay: float = 0.0
    cardiac: float = 0.0
    respiratory: float = 0.0
    renal: float = 0.0
    metabolic: float = 0.0
    neurologic: float = 0.0

    @property
    def loadings(self) -> Floats:
        """The seven loadings."""
        return np.array(self[4:])


CHANNELS = {
    "heart_rate": Channel(86, 13, 35, 190, evidence=0.9, cardiac=0.2),
    "mean_pressure": Channel(78, 9, 35, 140, evidence=-0.8, cardiac=0.5),
    "pulse_pressure": Channel(52, 10, 15, 110, interplay=0.9),
    "respiratory_rate": Channel(19.5, 3.6, 6, 50, evidence=0.9, respiratory=0.2),
    "saturation": Channel(96.3, 1.6, 70, 100, evidence=-0.8, respiratory=-0.3),
    "temperature": Channel(37.0, 0.5, 32, 41.5, interplay=1.0),
    "glucose": Channel(138, 32, 40, 600, evidence=0.3, metabolic=0.9),
    "acidity": Channel(7.38, 0.05, 6.9, 7.65, evidence=-0.6, renal=-0.6),
    "oxygen": Channel(46, 10, 21, 100, evidence=0.6, respiratory=0.6),
    "alertness": Channel(0, 1, -5, 5, evidence=-0.9, neurologic=-0.4),
    "perfusion": Channel(0, 1, -5, 5, evidence=0.8),
    "weight": Channel(81, 18, 38, 180, metabolic=0.7),
    "lactate": Channel(1.9, 0.7, 0.5, 15, evidence=0.8),
    "creatinine": Channel(1.3, 0.5, 0.3, 12, evidence=0.2, renal=0.9),
    "white_cells": Channel(11, 3, 0.5, 45, interplay=0.7),
    "potassium": Channel(4.1, 0.5, 2.5, 7.5, renal=0.5),
    "sodium": Channel(139, 4, 118, 160),
    "urine": Channel(90, 40, 0, 600, evidence=-0.4, renal=-0.6),
}


def render_events(latents: Latents, stays: IcuStays, settings: SyntheticSettings) -> tuple[SortedEvents, ...]:
    """Return the rows of chartevents, labevents and outputevents.

    Args:
        latents: Of all stays, also those outside the cohort.
        stays: Their places on the calendar.
        settings: The dials.
    """
    bedside = _Bedside(latents, stays, settings)
    chart, labs, output = Events(), Events(), Events()
    _chart_vitals(bedside, chart)
    _chart_coma(bedside, chart)
    _chart_breathing_and_skin(bedside, chart)
    _chart_body(bedside, chart)
    _chart_alarms(bedside, chart)
    _measure_glucose(bedside, chart, labs)
    _measure_blood_gas(bedside, chart, labs)
    _measure_others(bedside, labs, output)
    return chart.sorted(), labs.sorted(), output.sorted()


@dataclass(frozen=True)
class _Cells:
    """Measured places of the grid: stay, hour since intime, and the second it was charted."""

    stay: Ints
    hour: Ints
    seconds: Ints


class _Bedside:
    """Time courses of all stays on an hourly grid, and the visits at which somebody looks."""

    def __init__(self, latents: Latents, stays: IcuStays, settings: SyntheticSettings) -> None:
        self.rng = numpy_generator("synthetic cohort: bedside", seed=settings.seed)
        self.drivers = np.column_stack(
            [latents.standard_evidence(settings)[:, 0], latents.interplay[:, 0], latents.factors]
        )
        self.lengths = stays.seconds
        self.rows = len(stays.intime)
        self.hours = int(np.ceil(self.lengths.max() / HOUR))
        self.first_full_hour = -stays.intime % HOUR
        self.charted = self._charted()

    def _charted(self) -> Bools:
        """Bool ``[stays, hours]``: False in gaps of a few hours when nobody charts."""
        charted = np.ones((self.rows, self.hours), bool)
        hour = np.arange(self.hours)
        for _ in range(3):
            begin = self.rng.integers(2, max(self.hours, 3), self.rows)[:, None]
            charted &= ~((hour >= begin) & (hour < begin + self.rng.integers(2, 7, self.rows)[:, None]))
        return charted

    def visits(self, every: int, keep: float = 0.95, patients: Bools | None = None, gaps: bool = True) -> _Cells:
        """Pick when something is measured: about ``every`` so many hours, less often after 48 hours."""
        hour = np.arange(self.hours)
        phase = self.rng.integers(0, every, self.rows)[:, None]
        step = np.where(hour < 48, every, 3 * every)
        picked = ((hour + phase) % step == 0) & (self.rng.random((self.rows, self.hours)) < keep)
        if gaps:
            picked &= self.charted
        if patients is not None:
            picked &= patients[:, None]
        minutes = self.rng.integers(0, 60, picked.shape) * (self.rng.random(picked.shape) < 0.2)
        seconds = self.first_full_hour[:, None] + hour * HOUR + minutes * MINUTE
        stay, at = np.nonzero(picked & (seconds < self.lengths[:, None]))
        return _Cells(stay, at, seconds[stay, at])

    def course(self, name: str) -> Floats:
        """Return the channel's true course without clipping, ``[stays, hours]``."""
        from scipy.signal import lfilter

        channel = CHANNELS[name]
        ramp = 0.7 + 0.6 * np.minimum(np.arange(self.hours), 48) / 48
        drift = self.rng.standard_normal((self.rows, self.hours)) * np.sqrt(1 - _DRIFT_MEMORY**2)
        level = (self.drivers @ channel.loadings)[:, None] * ramp
        level += _STAY_EFFECT * self.rng.standard_normal((self.rows, 1))
        level += _DRIFT * lfilter([1], [1, -_DRIFT_MEMORY], drift)
        return channel.base + channel.scale * level

    def read(self, name: str, course: Floats, cells: _Cells, error: float = _ERROR) -> Floats:
        """Measure a course at the given cells, with error, inside the plausible range: ``[cells]``."""
        channel = CHANNELS[name]
        values = course[cells.stay, cells.hour] + error * channel.scale * self.rng.standard_normal(len(cells.stay))
        return np.clip(values, channel.low, channel.high)

    def some(self, share: float) -> Bools:
        """Pick a share of the stays at random, whatever their state."""
        return self.rng.random(self.rows) < share

    def spoil(self, values: Floats, wrong: tuple[float, ...]) -> Floats:
        """Replace a few values by typing errors."""
        hit = self.rng.random(len(values)) < _OUTLIER_SHARE
        return np.where(hit, self.rng.choice(wrong, len(values)), values)


def _chart_vitals(bedside: _Bedside, chart: Events) -> None:
    cells = bedside.visits(1)
    pulse = bedside.read("heart_rate", bedside.course("heart_rate"), cells)
    chart.add_numbers(220045, cells.stay, cells.seconds, bedside.spoil(pulse, (0, 980)))
    cells = bedside.visits(1)
    breaths = bedside.read("respiratory_rate", bedside.course("respiratory_rate"), cells)
    chart.add_numbers(220210, cells.stay, cells.seconds, bedside.spoil(breaths, (0, 820)))
    cells = bedside.visits(1, keep=0.93)
    saturation = bedside.read("saturation", bedside.course("saturation"), cells)
    chart.add_numbers(220277, cells.stay, cells.seconds, bedside.spoil(saturation, (0, 9)))
    _chart_pressures(bedside, chart)
    course, celsius = bedside.course("temperature"), bedside.some(0.08)
    for itemid, who in ((223761, ~celsius), (223762, celsius)):
        cells = bedside.visits(4, patients=who)
        degrees = bedside.read("temperature", course, cells)
        fahrenheit = itemid == 223761
        chart.add_numbers(
            itemid, cells.stay, cells.seconds, degrees * 9 / 5 + 32 if fahrenheit else degrees, decimals=1
        )


def _chart_pressures(bedside: _Bedside, chart: Events) -> None:
    mean_course, pulse_course, arterial = (
        bedside.course("mean_pressure"),
        bedside.course("pulse_pressure"),
        bedside.some(0.4),
    )
    for items, who in (((220050, 220051, 220052), arterial), ((220179, 220180, 220181), ~arterial)):
        cells = bedside.visits(1, keep=0.93, patients=who)
        mean = bedside.read("mean_pressure", mean_course, cells)
        pulse = bedside.read("pulse_pressure", pulse_course, cells)
        diastolic = mean - pulse / 3
        for itemid, values in zip(items, (diastolic + pulse, diastolic, bedside.spoil(mean, (-27, 801))), strict=True):
            chart.add_numbers(itemid, cells.stay, cells.seconds, values)


def _chart_coma(bedside: _Bedside, chart: Events) -> None:
    cells = bedside.visits(4)
    course, tubed = bedside.course("alertness"), bedside.some(0.3)
    scales = ((220739, EYES, (-1.6, -1.1, -0.3)), (223901, MOTOR, (-2.0, -1.7, -1.4, -1.0, -0.5)))
    for itemid, words, cuts in scales:
        score = np.searchsorted(cuts, bedside.read("alertness", course, cells))
        chart.add_words(itemid, cells.stay, cells.seconds, score, words)
    score = np.searchsorted((-1.8, -1.2, -0.7, 0.2), bedside.read("alertness", course, cells))
    score = np.where(tubed[cells.stay], len(VERBAL), score)
    chart.add_words(223900, cells.stay, cells.seconds, score, (*VERBAL, TUBED))


def _chart_breathing_and_skin(bedside: _Bedside, chart: Events) -> None:
    cells = bedside.visits(4, keep=0.9, patients=bedside.some(0.75))
    percent = bedside.read("oxygen", bedside.course("oxygen"), cells)
    percent = np.maximum(5 * np.rint(percent / 5), 21)
    few = bedside.rng.random(len(percent)) < 0.002
    fractions = np.where(few, percent / 100, percent)  # a few are typed as fractions
    chart.add_numbers(223835, cells.stay, cells.seconds, fractions, decimals=2)
    course = bedside.course("perfusion")
    for itemid in (223951, 224308):
        cells = bedside.visits(4, keep=0.9)
        slow = bedside.read("perfusion", course, cells) > 0.9
        chart.add_text(itemid, cells.stay, cells.seconds, slow.astype(np.int64), REFILL)


def _chart_body(bedside: _Bedside, chart: Events) -> None:
    """Admission weight in kg and height are charted shortly before intime, as in MIMIC-IV."""
    weight = np.clip(bedside.course("weight")[:, 0], CHANNELS["weight"].low, CHANNELS["weight"].high)
    before = -bedside.rng.integers(5, 90 * MINUTE, bedside.rows)
    after = bedside.rng.integers(10 * MINUTE, 4 * HOUR, bedside.rows)
    measured = bedside.some(0.6)
    for itemid, who, seconds, values in (
        (226512, bedside.some(0.7), before, weight),
        (226531, bedside.some(0.7), after, weight / 0.453592),
    ):
        rows = np.flatnonzero(who)
        chart.add_numbers(itemid, rows, seconds[rows], values[rows], decimals=1)
    rows = np.flatnonzero(measured)
    height = np.clip(bedside.rng.normal(169, 10, len(rows)), 140, 205)
    chart.add_numbers(226730, rows, before[rows], height)
    chart.add_numbers(226707, rows, before[rows], height / 2.54)
    cells = bedside.visits(24, keep=0.6)
    daily = weight[cells.stay] + bedside.rng.normal(0, 0.8, len(cells.stay))
    chart.add_numbers(224639, cells.stay, cells.seconds, daily, decimals=1)


def _chart_alarms(bedside: _Bedside, chart: Events) -> None:
    """Items that are none of the 17 variables."""
    cells = bedside.visits(12)
    for itemid, levels in ((220046, (120, 130, 140)), (220047, (45, 50, 60))):
        limits = bedside.rng.choice(levels, len(cells.stay)).astype(float)
        chart.add_numbers(itemid, cells.stay, cells.seconds, limits)
    rhythms = ("SR (Sinus Rhythm)", "ST (Sinus Tachycardia)", "AF (Atrial Fibrillation)")
    chart.add_text(220048, cells.stay, cells.seconds, bedside.rng.integers(0, 3, len(cells.stay)), rhythms)


def _measure_glucose(bedside: _Bedside, chart: Events, labs: Events) -> None:
    course = bedside.course("glucose")
    cells = bedside.visits(6, keep=0.7)
    chart.add_numbers(225664, cells.stay, cells.seconds, bedside.read("glucose", course, cells))
    cells = bedside.visits(10, keep=0.9, gaps=False)
    serum = bedside.read("glucose", course, cells)
    labs.add_numbers(50931, cells.stay, cells.seconds, serum)
    chart.add_numbers(220621, cells.stay, cells.seconds, serum)


def _measure_blood_gas(bedside: _Bedside, chart: Events, labs: Events) -> None:
    sampled = bedside.some(0.65)
    cells = bedside.visits(8, keep=0.8, patients=sampled, gaps=False)
    acidity = bedside.read("acidity", bedside.course("acidity"), cells)
    labs.add_numbers(50820, cells.stay, cells.seconds, acidity, decimals=2)
    chart.add_numbers(223830, cells.stay, cells.seconds, acidity, decimals=2)
    lactate = bedside.read("lactate", bedside.course("lactate"), cells)
    labs.add_numbers(50813, cells.stay, cells.seconds, lactate, decimals=1)


def _measure_others(bedside: _Bedside, labs: Events, output: Events) -> None:
    cells = bedside.visits(12, keep=0.9, gaps=False)
    for itemid, name, decimals in (
        (50912, "creatinine", 1),
        (50971, "potassium", 1),
        (50983, "sodium", 0),
        (51301, "white_cells", 1),
    ):
        labs.add_numbers(itemid, cells.stay, cells.seconds, bedside.read(name, bedside.course(name), cells), decimals)
    cells = bedside.visits(24, keep=0.2, gaps=False)
    urine_acidity = np.clip(np.rint(2 * bedside.rng.normal(6, 0.7, len(cells.stay))) / 2, 5, 8.5)
    labs.add_numbers(51491, cells.stay, cells.seconds, urine_acidity, decimals=1)
    course, catheter = bedside.course("urine"), bedside.some(0.8)
    for itemid, every, who in ((226559, 2, catheter), (226560, 5, ~catheter)):
        cells = bedside.visits(every, keep=0.9, patients=who)
        volume = every * bedside.read("urine", course, cells)
        output.add_numbers(itemid, cells.stay, cells.seconds, 5 * np.rint(volume / 5))
