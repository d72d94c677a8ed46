"""Write the table of ICD codes of the 25 phenotypes from the published classifications.

    python tools/phenotype_codes.py CCS9 CCS10 GEM | ruff format - > phenotype_codes.py

The files, all public works of United States agencies:

* CCS9: ``AppendixASingleDX.txt`` of AHRQ's CCS for ICD-9-CM 2015: a line "number  name" per category, then indented codes.
* CCS10: ``ccs_dx_icd10cm_2019_1.csv`` of AHRQ's CCS for ICD-10-CM, quoted with apostrophes.
* GEM: ``2018_I9gem.txt`` of CMS' general equivalence mappings: ICD-9 code, ICD-10 code, flags. The ICD-10 codes of MedFuse are
  the last target of each ICD-9 code of a group.

A group is written as the shortest prefixes below which every known code belongs to it. That makes the table small, and decides
how codes younger than the classification are read: by the codes that share their longest known prefix, where those agree.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from fusionbench_plugins.tasks.mimic.outcomes.phenotypes import PHENOTYPES

Groups = dict[str, int]
_WIDTH = 100
_SPELT_ALIKE = ("V450", "V461", "V533")
"""ICD-10 headings in MIMIC-IV's code table that are spelt like ICD-9 codes of a group: MedFuse does not tell them apart."""

_HEAD = '''"""ICD codes of the 25 phenotypes, by CCS category; see :mod:`.phenotypes`.

Written by ``tools/phenotype_codes.py``, which says how. Sources: AHRQ, Healthcare Cost and Utilization Project (HCUP),
Clinical Classifications Software (CCS) for ICD-9-CM 2015 and for ICD-10-CM 2019.1; CMS, general equivalence mappings 2018.
The equivalents of 2018 were taken from a list of the codes that MedFuse reaches, not from CMS' file; from an older file
of CMS the script makes the same list but for 8 codes that lack and 4 that are too many.
"""

from __future__ import annotations

'''


def read_ccs9(path: Path) -> Groups:
    """Return the category of every ICD-9 code."""
    found: Groups = {}
    category = 0
    for line in path.read_text(encoding="ascii").splitlines():
        if heading := re.match(r"(\d+)\s+\S", line):
            category = int(heading[1])
        elif category and line.startswith(" "):
            found |= dict.fromkeys(line.split(), category)
    return found


def read_ccs10(path: Path) -> Groups:
    """Return the category of every ICD-10 code."""
    rows = re.findall(r"^'(\w+) *','(\d+) *'", path.read_text(encoding="latin-1"), re.MULTILINE)
    return {code: int(category) for code, category in rows}


def read_gem(path: Path, ccs9: Groups) -> Groups:
    """Return the category of the last ICD-10 target of every ICD-9 code, by that target."""
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    last = {row[0]: row[1] for row in rows if row[1] != "NoDx"}
    return {target: ccs9[code] for code, target in last.items() if code in ccs9}


def prefixes(groups: Groups) -> dict[int, list[str]]:
    """Return, for each category, the shortest prefixes below which there is no code of another.

    A code that begins codes of other categories ends in ``$`` and stands for itself.
    """
    below: dict[str, set[int]] = {}
    for code, category in groups.items():
        for length in range(1, len(code) + 1):
            below.setdefault(code[:length], set()).add(category)
    found: dict[int, list[str]] = {}
    for prefix, categories in sorted(below.items()):
        if len(categories) == 1 and len(below.get(prefix[:-1], {0, 1})) > 1:
            found.setdefault(min(categories), []).append(prefix)
        elif len(categories) > 1 and prefix in groups:
            found.setdefault(groups[prefix], []).append(f"{prefix}$")
    return found


def listed(groups: Groups) -> dict[int, list[str]]:
    """Return the codes of each category."""
    found: dict[int, list[str]] = {}
    for code, category in sorted(groups.items()):
        found.setdefault(category, []).append(code)
    return found


def table(name: str, about: str, codes: Mapping[int, Iterable[str]]) -> str:
    """Return one assignment as Python source."""
    lines = [f"{name}: dict[int, str] = {{"]
    for phenotype in PHENOTYPES:
        texts = textwrap.wrap(" ".join(codes[phenotype.ccs]), _WIDTH)
        if len(texts) == 1:
            lines.append(f'    {phenotype.ccs}: "{texts[0]}",')
        else:
            quoted = [f'        "{text} "' for text in texts[:-1]] + [f'        "{texts[-1]}"']
            lines += [f"    {phenotype.ccs}: (", *quoted, "    ),"]
    return "\n".join([*lines, "}", f'"""{about}"""', ""])


def main(ccs9: str, ccs10: str, gem: str) -> None:
    """Print the module."""
    nine = read_ccs9(Path(ccs9))
    equivalents = read_gem(Path(gem), nine) | {code: nine[code] for code in _SPELT_ALIKE}
    sys.stdout.write(
        _HEAD
        + "\n".join(
            [
                table("ICD9", "CCS 2015: prefixes of ICD-9-CM codes; with $, whole codes.", prefixes(nine)),
                table(
                    "ICD10",
                    "CCS 2019.1: prefixes of ICD-10-CM codes; with $, whole codes.",
                    prefixes(read_ccs10(Path(ccs10))),
                ),
                table("GEM", "Whole ICD-10-CM codes that MedFuse reaches.", listed(equivalents)),
            ]
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
