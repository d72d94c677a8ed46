"""Who is in a made-up lung cohort: shares, patients, what modalities show."""

from __future__ import annotations

import numpy as np
import pytest

from fusionbench_plugins.tasks.lung_subtyping.synthetic.settings import SHARES, SyntheticLung, draw_examinations


def test_shares_patients_and_absences_are_those_of_the_dials():
    drawn = draw_examinations(SyntheticLung(examinations=10_000, pet_missing=0.3, report_missing=0.0))
    found = np.bincount(drawn.label, minlength=6) / 10_000
    assert found == pytest.approx(SHARES, abs=0.02)
    assert drawn.available.mean(axis=0) == pytest.approx([1, 0.7, 1], abs=0.02)
    patients, counts = np.unique(drawn.patient, return_counts=True)
    assert (len(patients), set(counts)) == (8000, {1, 2})
    assert all(len(set(drawn.label[drawn.patient == p])) == 1 for p in patients[:200])


def test_modalities_show_the_class_in_the_order_of_the_dials():
    drawn = draw_examinations(SyntheticLung(examinations=10_000))
    seen = [np.corrcoef(drawn.label, shown)[0, 1] for shown in drawn.shown.T]
    assert seen[0] > seen[2] > seen[1] > 0.5
    none = draw_examinations(SyntheticLung(examinations=10_000, ct=0, pet=0, report=0))
    assert max(abs(np.corrcoef(none.label, shown)[0, 1]) for shown in none.shown.T) < 0.05


def test_a_seed_is_a_cohort():
    one, same, other = (draw_examinations(SyntheticLung(seed=s)) for s in (0, 0, 1))
    assert np.array_equal(one.shown, same.shown)
    assert not np.array_equal(one.label, other.label)


def test_every_dial_out_of_range_is_named():
    with pytest.raises(ValueError, match="examinations must be a whole number from 60") as caught:
        SyntheticLung(examinations=3, pet_missing=1.0, image_size=64.5, seed=True)
    assert len(str(caught.value).splitlines()) == 4
