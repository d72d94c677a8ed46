"""Items, units and codes that the synthetic tables use: those of the reference tables."""

from __future__ import annotations

import pandas as pd
import pytest

from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import NAMES, LabelSet
from fusionbench_plugins.tasks.mimic.synthetic.items import (
    CHART_ITEMS,
    CODE_TITLES,
    EYES,
    LAB_ITEMS,
    MOTOR,
    OTHER_CODES,
    PHENOTYPES,
    TUBED,
    VERBAL,
)
from fusionbench_plugins.tasks.mimic.synthetic.latents import FACTORS
from fusionbench_plugins.tasks.mimic.tables.variables import VARIABLES
from tests.shared import shared_folder


def test_codes_and_items_are_those_of_the_reference_tables():
    codes = pd.read_csv(shared_folder("data", "phenotype_codes.csv"), dtype=str).query("in_ccs == '1'")
    known = set(zip(codes.icd_version, codes.icd_code, codes.phenotype, strict=True))
    for p in PHENOTYPES:
        assert {("9", c, p.name) for c in p.icd9} | {("10", c, p.name) for c in p.icd10} <= known
    assert not {c for group in OTHER_CODES.values() for c in group} & set(codes.icd_code)
    labs = pd.read_csv(shared_folder("data", "mimic-iv-demo", "hosp", "d_labitems.csv.gz")).set_index("itemid")
    assert all(tuple(labs.loc[i.itemid, ["label", "fluid", "category"]]) == i[1:4] for i in LAB_ITEMS)


@pytest.mark.parametrize("phenotype", PHENOTYPES, ids=lambda p: p.name)
def test_the_codes_of_a_phenotype_are_of_its_group_and_recent_ones_by_their_relatives_only(phenotype):
    ccs, medfuse = LabelSet("ccs"), LabelSet("medfuse")
    for version, codes in ((9, phenotype.icd9), (10, (*phenotype.icd10, *phenotype.recent))):
        assert {NAMES[ccs.label(code, version)] for code in codes} == {phenotype.name}
    assert {medfuse.label(code, 10) for code in phenotype.recent} <= {None}


def test_every_group_has_a_phenotype_and_every_other_code_a_title_and_no_group():
    assert tuple(phenotype.name for phenotype in PHENOTYPES) == NAMES
    assert all(0 < phenotype.share < 1 and len(phenotype.loadings) == 1 + len(FACTORS) for phenotype in PHENOTYPES)
    others = {(code, version) for version, codes in OTHER_CODES.items() for code in codes}
    assert {code for code, _ in others} == set(CODE_TITLES)
    assert {LabelSet("ccs").label(*other) for other in others} == {None}


@pytest.mark.parametrize("items", [CHART_ITEMS, LAB_ITEMS], ids=["chart", "lab"])
def test_item_numbers_rise_for_they_are_looked_up_by_bisection(items):
    numbers = [item.itemid for item in items]
    assert numbers == sorted(set(numbers))


def test_all_variables_but_the_total_of_the_coma_scale_are_charted():
    charted = {item.itemid for item in (*CHART_ITEMS, *LAB_ITEMS)}
    without = [v.name for v in VARIABLES if not charted & {item.itemid for item in v.items if item.sound}]
    assert without == ["gcs_total"]
    for words, published in ((EYES, "gcs_eye"), (MOTOR, "gcs_motor"), ((*VERBAL, TUBED), "gcs_verbal")):
        (variable,) = [v for v in VARIABLES if v.name == published]
        scores = {text.lower(): c.score for c in variable.categories for text in (c.column, *c.spellings)}
        assert {text: scores[text.lower()] for _, text in words} == {text: score for score, text in words}
    assert all(low < high for low, high in ((item.low, item.high) for item in LAB_ITEMS))
