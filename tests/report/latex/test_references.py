"""What lines cite."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fusionbench import Provenance
from fusionbench.plan.lines import Line
from fusionbench.report.latex.references import Reference, bibliography, cited, reference_of


@pytest.mark.parametrize(
    ("paper", "key"),
    [
        ("Hayat, Geras, Shamout 2022, MedFuse, MLHC", "hayat2022"),
        ("Hayat, Geras and Shamout 2022, MedFuse", "hayat2022"),
        ("Wu et al. 2025, OmniFuse, Information Fusion 117:102890", "wu2025"),
        ("Vaezi Joze, Shaban, Iuzzolino, Koishida 2020, MMTM", "joze2020"),
        ("Pölsterl 2022, DAFT", "polsterl2022"),
        ("Baseline; one encoder and one head", None),
        ("Baseline; linear head as in Peng et al. 2022, Balanced", None),
        ("Wu et al. 2025, OmniFuse (baseline 'Sum')", None),
        ("common practice", None),
        ("", None),
    ],
)
def test_a_key_is_the_first_author_and_the_year(paper, key):
    found = reference_of(Provenance(paper=paper))
    assert (found.key if found else None) == key


def test_a_method_may_say_its_key():
    assert reference_of(Provenance(paper="Common practice", key="own1")).key == "own1"
    assert reference_of(None) is None


def part(paper, link=""):
    return SimpleNamespace(
        registration=SimpleNamespace(target=SimpleNamespace(provenance=Provenance(paper, link=link)))
    )


def test_a_line_cites_its_strategy_and_its_regularisers_once_each():
    arm = SimpleNamespace(
        title="a",
        imputer_name="zero",
        strategy=part("Wu et al. 2025, X"),
        regularisers=(part("Wu et al. 2025, X"), part("Wei, Luo 2023, Y")),
    )
    found = cited(SimpleNamespace(arms=[arm]))
    assert [r.key for r in found[Line("a", "zero")]] == ["wu2025", "wei2023"]


def test_the_bibliography_has_every_key_once_and_escapes_text():
    one, two = Reference("b1", "B & C_d 1", "https://x.y/z_1"), Reference("a1", "A 1", "")
    text = bibliography({Line("p", "q"): (one, two), Line("r", "s"): (one,)})
    assert text.count("@misc{") == 2
    assert text.index("@misc{a1,") < text.index("@misc{b1,")
    assert r"note = {B \& C\_d 1}" in text
    assert r"howpublished = {\url{https://x.y/z_1}}" in text
