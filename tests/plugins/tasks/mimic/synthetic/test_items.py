"""Items, units and codes that the synthetic tables use: those of the reference tables."""

from __future__ import annotations

import pandas as pd

from fusionbench_plugins.tasks.mimic.synthetic.items import LAB_ITEMS, OTHER_CODES, PHENOTYPES
from tests.shared import shared_folder


def test_codes_and_items_are_those_of_the_reference_tables():
    codes = pd.read_csv(shared_folder("data", "phenotype_codes.csv"), dtype=str).query("in_ccs == '1'")
    known = set(zip(codes.icd_version, codes.icd_code, codes.phenotype, strict=True))
    for p in PHENOTYPES:
        assert {("9", c, p.name) for c in p.icd9} | {("10", c, p.name) for c in p.icd10} <= known
    assert not {c for group in OTHER_CODES.values() for c in group} & set(codes.icd_code)
    labs = pd.read_csv(shared_folder("data", "mimic-iv-demo", "hosp", "d_labitems.csv.gz")).set_index("itemid")
    assert all(tuple(labs.loc[i.itemid, ["label", "fluid", "category"]]) == i[1:4] for i in LAB_ITEMS)
