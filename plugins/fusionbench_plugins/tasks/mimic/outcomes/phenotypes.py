"""The 25 diagnosis groups of an admission, as an outcome.

Groups and types: Harutyunyan et al. 2019, Scientific Data 6:96; a group is one category of AHRQ's Clinical
Classifications Software (CCS). A label is 1 when any diagnosis code of the admission belongs to the group. Codes are
assigned at discharge, for the whole admission: this is labelling in retrospect, not prediction.
"""

# ruff: noqa: S608 - the SQL is made of constants, numbers and quoted paths

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from fusionbench import TargetKind
from fusionbench_plugins.tasks.mimic import store
from fusionbench_plugins.tasks.mimic.options import Options
from fusionbench_plugins.tasks.mimic.outcomes import phenotype_codes
from fusionbench_plugins.tasks.mimic.outcomes.outcome import Outcome
from fusionbench_plugins.tasks.mimic.store import Entry
from fusionbench_plugins.tasks.mimic.tables import extract
from fusionbench_plugins.tasks.mimic.tables.database import Resources, database, execute, pattern
from fusionbench_plugins.tasks.mimic.tables.layout import SourceTable, find_mimic_iv

VERSION = 2
"""Raised when the same codes would give other labels."""

LABELS = "labels.npy"
Labels = Literal["ccs", "medfuse"]
_FEW = 50
_ENOUGH_CODES = 500  # one in fifty of MIMIC's ICD-9 codes begins with 0


class Phenotype(NamedTuple):
    """One group: its CCS category, its name, and the course of what is in it."""

    ccs: int
    name: str
    course: Literal["acute", "mixed", "chronic"]


# in alphabetical order of the names: this is the order of the labels
PHENOTYPES: tuple[Phenotype, ...] = (
    Phenotype(157, "Acute and unspecified renal failure", "acute"),
    Phenotype(109, "Acute cerebrovascular disease", "acute"),
    Phenotype(100, "Acute myocardial infarction", "acute"),
    Phenotype(106, "Cardiac dysrhythmias", "mixed"),
    Phenotype(158, "Chronic kidney disease", "chronic"),
    Phenotype(127, "Chronic obstructive pulmonary disease and bronchiectasis", "chronic"),
    Phenotype(238, "Complications of surgical procedures or medical care", "acute"),
    Phenotype(105, "Conduction disorders", "mixed"),
    Phenotype(108, "Congestive heart failure; nonhypertensive", "mixed"),
    Phenotype(101, "Coronary atherosclerosis and other heart disease", "chronic"),
    Phenotype(50, "Diabetes mellitus with complications", "mixed"),
    Phenotype(49, "Diabetes mellitus without complication", "chronic"),
    Phenotype(53, "Disorders of lipid metabolism", "chronic"),
    Phenotype(98, "Essential hypertension", "chronic"),
    Phenotype(55, "Fluid and electrolyte disorders", "acute"),
    Phenotype(153, "Gastrointestinal hemorrhage", "acute"),
    Phenotype(99, "Hypertension with complications and secondary hypertension", "chronic"),
    Phenotype(151, "Other liver diseases", "mixed"),
    Phenotype(133, "Other lower respiratory disease", "acute"),
    Phenotype(134, "Other upper respiratory disease", "acute"),
    Phenotype(130, "Pleurisy; pneumothorax; pulmonary collapse", "acute"),
    Phenotype(122, "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)", "acute"),
    Phenotype(131, "Respiratory failure; insufficiency; arrest (adult)", "acute"),
    Phenotype(2, "Septicemia (except in labor)", "acute"),
    Phenotype(249, "Shock", "acute"),
)

NAMES: tuple[str, ...] = tuple(phenotype.name for phenotype in PHENOTYPES)


class LabelSet:
    """Codes to groups.

    * ``ccs``: CCS of the code's own version. An ICD-10 code that CCS does not know gets the group of the codes
      that share its longest known prefix, where they all agree.
    * ``medfuse``: ICD-9 codes by CCS, ICD-10 codes by one equivalence for each ICD-9 code. The version is not looked
      at: a few ICD-10 codes are taken for the ICD-9 code of the same spelling.

    Args:
        name: Which.
    """

    def __init__(self, name: Labels) -> None:
        self.name = name
        nine, ten = _positions(phenotype_codes.ICD9), _positions(phenotype_codes.ICD10)
        if name == "medfuse":
            self._whole = _positions(phenotype_codes.GEM)
            self._prefixes = {9: nine}
        elif name == "ccs":
            self._whole = {}
            self._prefixes = {9: nine, 10: ten}
        else:
            assert_never(name)

    def label(self, code: str, version: int) -> int | None:
        """Return the position in ``PHENOTYPES`` of a code without dot, None for a code of no group."""
        if code in self._whole:
            return self._whole[code]
        known = self._prefixes.get(version, {})
        if f"{code}$" in known:
            return known[f"{code}$"]
        # no prefix begins another one of the same table
        return next((known[code[:end]] for end in range(1, len(code) + 1) if code[:end] in known), None)


def _positions(codes: Mapping[int, str]) -> dict[str, int]:
    place = {phenotype.ccs: position for position, phenotype in enumerate(PHENOTYPES)}
    return {code: place[ccs] for ccs, listed in codes.items() for code in listed.split()}


class Phenotypes(Outcome):
    """25 labels per admission.

    Args:
        labels: Name of the label set.
    """

    kind: ClassVar[TargetKind] = TargetKind.MULTILABEL
    outputs = NAMES

    def __init__(self, labels: Labels) -> None:
        self.labels = LabelSet(labels)
        self._facts: Mapping[str, Any] = {}

    def target(self, options: Options, root: Path, events: Entry, cache: Path) -> NDArray[np.int64]:
        """Return ``[rows, 25]``."""
        table = find_mimic_iv(root)["diagnoses_icd"]
        key = {
            "version": VERSION,
            "labels": self.labels.name,
            "codes": store.content_hash([phenotype_codes.ICD9, phenotype_codes.ICD10, phenotype_codes.GEM]),
            "events": events.folder.name,
            "content": events.sha256(extract.STAYS),
            "table": store.signature(table.path),
        }

        def build(folder: Path) -> Mapping[str, Any]:
            stays = events.folder / extract.STAYS
            return write_labels(table, stays, self.labels, folder, options.resources)

        made = store.entry(cache, "phenotypes", key, build)
        self._facts = made.facts
        labels = np.load(made.folder / LABELS, allow_pickle=False)
        target: NDArray[np.int64] = labels.astype(np.int64)
        return target

    def describe(self, target: NDArray[np.int64], options: Options) -> str:
        """Say how many labels are set."""
        return (
            f"25 diagnosis groups (labels {self.labels.name}) of the admission from the {options.window} of "
            f"{len(target)} ICU stays ({int(target.sum())} labels are 1), {options.step_hours:g} h steps, "
            f"rule set {options.rules}, {options.cohort_words} cohort"
        )

    def refusal(self, target: NDArray[np.int64]) -> str:
        """Refuse a label that all or none have: it has no score, and the mean over labels would lack it."""
        alike = [name for name, count in zip(NAMES, target.sum(axis=0), strict=True) if count in (0, len(target))]
        return f"{len(alike)} of 25 labels are alike in all {len(target)} stays: {', '.join(alike)}." if alike else ""

    def remarks(self, target: NDArray[np.int64]) -> tuple[str, ...]:
        """Warn of rare labels."""
        counts = np.minimum(target.sum(axis=0), len(target) - target.sum(axis=0))
        few = int((counts < _FEW).sum())
        said = (
            (f"{few} of 25 labels are 1 (or 0) in fewer than {_FEW} stays, the rarest in {counts.min()}",)
            if few
            else ()
        )
        return (*said, *_lost_codes(self._facts))


def _lost_codes(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say of codes that lost their version, or the zeros at their beginning: their groups would not be found."""
    incomplete, used = facts.get("incomplete", 0), facts.get("diagnoses", 0)
    if incomplete:
        yield f"{incomplete:,} of {incomplete + used:,} diagnoses of these stays lack icd_code or icd_version, and are left out"
    if facts.get("icd9", 0) >= _ENOUGH_CODES and not facts.get("icd9_from_zero", 1):
        yield (
            f"none of {facts['icd9']:,} ICD-9 codes begins with 0: zeros at the beginning were lost (038.9 became 389), and with "
            "them the groups of infections; export diagnoses_icd with icd_code as text"
        )


def write_labels(
    diagnoses: SourceTable, stays: Path, labels: LabelSet, folder: Path, resources: Resources
) -> dict[str, Any]:
    """Write ``labels.npy``: uint8 ``[rows, 25]``, 1 = a code of the admission belongs to the group.

    Returns:
        Counts: diagnoses of the cohort, those that belong to a group, and those of each ICD version.
    """
    with database(folder, resources) as connection:
        found = execute(
            connection,
            f"""SELECT s.row, upper(replace(trim(d.icd_code), '.', '')) AS code, d.icd_version AS version
            FROM {diagnoses.scan()} d JOIN read_parquet({pattern(stays)}) s
                ON d.hadm_id = s.hadm_id AND d.subject_id = s.subject_id""",
            diagnoses.name,
        ).fetchdf()
        rows = connection.execute(f"SELECT count(*) FROM read_parquet({pattern(stays)})").fetchall()[0][0]
    whole = found["code"].notna() & found["version"].notna()
    incomplete, found = int((~whole).sum()), found[whole]
    codes = found[["code", "version"]].drop_duplicates()
    codes = codes.assign(label=[labels.label(c, v) for c, v in zip(codes["code"], codes["version"], strict=True)])
    grouped = found.merge(codes.dropna(subset="label"), on=["code", "version"])
    made = np.zeros((rows, len(PHENOTYPES)), dtype=np.uint8)
    made[grouped["row"].to_numpy(), grouped["label"].to_numpy(dtype=np.int64)] = 1
    np.save(folder / LABELS, made, allow_pickle=False)
    versions = {f"icd{version}": int((found["version"] == version).sum()) for version in (9, 10)}
    from_zero = int(((found["version"] == 9) & found["code"].str.startswith("0")).sum())
    counts = {"diagnoses": len(found), "grouped": len(grouped), "incomplete": incomplete, "icd9_from_zero": from_zero}
    return {**counts, **versions}
