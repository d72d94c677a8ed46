"""The tiny cohort, written once for all tests of this folder."""

from __future__ import annotations

import pandas as pd
import pytest

from fusionbench.progress import SilentProgress
from fusionbench_plugins.tasks.mimic.synthetic import write_cohort
from tests.plugins.tasks.mimic.synthetic.small import TINY


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    return folder, write_cohort(folder, TINY, SilentProgress())


@pytest.fixture(scope="session")
def table(written):
    def read(name: str) -> pd.DataFrame:
        return pd.read_csv(
            written[0] / f"{name}.csv.gz",
            keep_default_na=False,
            na_values=[""],
            dtype={"StudyTime": str, "icd_code": str},
        )

    return read


@pytest.fixture(scope="session")
def cohort(table):
    """The stays that the published rules keep, one row each, with admission and patient."""
    stays = table("mimic-iv/icu/icustays")
    stays = stays[stays.first_careunit == stays.last_careunit]
    stays = stays.merge(table("mimic-iv/hosp/admissions")).merge(table("mimic-iv/hosp/patients"))
    stays = stays[stays.groupby("hadm_id").stay_id.transform("size") == 1]
    stays = stays[(stays.anchor_age >= 18) & (stays.los * 24 >= 48 - 1e-6)]
    for name in ("intime", "outtime", "admittime", "dischtime", "deathtime", "dod"):
        stays[name] = pd.to_datetime(stays[name])
    return stays.sort_values("stay_id").reset_index(drop=True)


@pytest.fixture(scope="session")
def links(table, cohort):
    """The last AP image from admission to 48 hours of each stay that has one."""
    images = table("mimic-cxr/mimic-cxr-2.0.0-metadata").merge(cohort[["subject_id", "stay_id", "intime"]])
    clock = images.StudyTime.str.split(".").str[0].str.zfill(6)
    moment = pd.to_datetime(images.StudyDate.astype(str) + clock, format="%Y%m%d%H%M%S")
    hours = (moment - images.intime).dt.total_seconds() / 3600
    kept = images[(hours >= 0) & (hours <= 48) & (images.ViewPosition == "AP")].assign(moment=moment)
    return kept.sort_values(["stay_id", "moment"]).groupby("stay_id").tail(1)
