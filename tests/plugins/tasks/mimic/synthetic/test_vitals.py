"""The record over time: ranges, rates and units, and what follows the planted evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fusionbench_plugins.tasks.mimic.synthetic import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.latents import draw_latents
from fusionbench_plugins.tasks.mimic.synthetic.stays import plan_hospital, plan_roles
from fusionbench_plugins.tasks.mimic.synthetic.vitals import CHANNELS, _Bedside
from tests.plugins.tasks.mimic.synthetic.small import agreement

PLAUSIBLE = {  # itemid: low, high, unit, events per stay and day in the first two days
    220045: (35, 190, "bpm", (18, 25)),
    220210: (6, 50, "insp/min", (18, 25)),
    220277: (70, 100, "%", (17, 25)),
    223761: (89, 107, "°F", (3, 7)),
    225664: (40, 600, None, (1, 5)),
    220621: (40, 600, "mg/dL", (1, 4)),
    223830: (6.9, 7.65, "units", (1, 4)),
    226730: (140, 205, "cm", (0, 1)),
    226512: (38, 180, "kg", (0, 1)),
}


@pytest.mark.parametrize("itemid", PLAUSIBLE)
def test_values_have_plausible_ranges_units_and_rates(table, cohort, itemid):
    low, high, unit, (least, most) = PLAUSIBLE[itemid]
    events = table("mimic-iv/icu/chartevents").query("itemid == @itemid").merge(cohort[["stay_id", "intime"]])
    assert events.valuenum.between(low, high).mean() > 0.998  # but for a few typing errors
    assert events.valueuom.isna().all() if unit is None else (events.valueuom == unit).all()
    hours = (pd.to_datetime(events.charttime) - events.intime).dt.total_seconds() / 3600
    early = events[hours <= 48]
    per_day = early.groupby("stay_id").size().mean() / 2
    assert least < per_day < most
    if itemid in (226730, 226512):
        assert hours.between(-2, 0).all()
    else:
        assert (hours >= 0).all()


def test_blood_pressures_are_coherent(table):
    events = table("mimic-iv/icu/chartevents")
    for systolic, diastolic, mean in ((220050, 220051, 220052), (220179, 220180, 220181)):
        wide = events[events.itemid.isin([systolic, diastolic, mean])].pivot_table(
            index=["stay_id", "charttime"], columns="itemid", values="valuenum"
        )
        assert (wide[systolic] > wide[diastolic]).all()
        expected = wide[diastolic] + (wide[systolic] - wide[diastolic]) / 3
        assert ((wide[mean] - expected).abs() <= 1.5).mean() > 0.995


def test_coma_scores_and_capillary_refill_are_texts(table):
    events = table("mimic-iv/icu/chartevents")
    eyes = events[events.itemid == 220739]
    assert {"None", "To Pain", "To Speech", "Spontaneously"} == set(eyes.value)
    assert set(zip(eyes.value, eyes.valuenum, strict=True)) >= {("None", 1), ("Spontaneously", 4)}
    verbal = events[events.itemid == 223900]
    assert {"No Response-ETT", "Oriented", "Confused"} <= set(verbal.value)
    refill = events[events.itemid.isin([223951, 224308])]
    assert set(refill.value) == {"Normal <3 Seconds", "Abnormal >3 Seconds"}
    assert refill.valuenum.isna().all()


def test_vital_signs_follow_the_planted_evidence(table, written):
    truth = pd.read_parquet(written[0] / "truth.parquet")
    signs = pd.Series({220045: 1, 220210: 1, 220277: -1, 220739: -1})
    events = table("mimic-iv/icu/chartevents").merge(truth[["stay_id"]])
    means = events[events.itemid.isin(signs.index)].pivot_table(index="stay_id", columns="itemid", values="valuenum")
    severity = (means - means.mean()) / means.std() @ signs
    assert agreement(severity, truth, "p_1") > 0.9


@pytest.fixture(scope="module")
def bedside():
    settings = SyntheticSettings(stays=60, seed=4)
    roles = plan_roles(settings)
    latents = draw_latents(len(roles), settings)
    return _Bedside(latents, plan_hospital(roles, latents.died, settings).stays, settings)


def test_a_visit_is_within_the_stay_and_in_no_gap(bedside):
    cells = bedside.visits(1, keep=1.0)
    assert len(cells.stay)
    assert (cells.seconds >= 0).all()
    assert (cells.seconds < bedside.lengths[cells.stay]).all()
    assert bedside.charted[cells.stay, cells.hour].all()
    assert not bedside.charted.all()
    some = bedside.visits(1, patients=np.arange(bedside.rows) == 3)
    assert set(some.stay.tolist()) == {3}


def test_visits_are_as_often_as_asked_and_a_third_of_that_after_two_days(bedside):
    cells = bedside.visits(4, keep=1.0, gaps=False)
    for stay in range(bedside.rows):
        hours = cells.hour[cells.stay == stay]
        early, late = np.diff(hours[hours < 48]), np.diff(hours[hours >= 48])
        assert set(early.tolist()) <= {4}
        assert set(late.tolist()) <= {12}


def test_what_is_read_is_within_the_range_of_its_channel_and_exact_without_error(bedside):
    cells = bedside.visits(6)
    wide = np.linspace(-1e3, 1e3, bedside.hours) * np.ones((bedside.rows, 1))
    channel = CHANNELS["saturation"]
    values = bedside.read("saturation", wide, cells)
    assert (values.min(), values.max()) == (channel.low, channel.high)
    course = np.full((bedside.rows, bedside.hours), 95.0)
    assert (bedside.read("saturation", course, cells, error=0.0) == 95).all()


def test_loadings_of_a_channel_are_for_every_driver_and_one_drives_each(bedside):
    assert {len(channel.loadings) for channel in CHANNELS.values()} == {bedside.drivers.shape[1]}
    assert (np.stack([channel.loadings for channel in CHANNELS.values()]) != 0).any(axis=0).all()
    assert all(channel.low <= channel.base <= channel.high for channel in CHANNELS.values())
