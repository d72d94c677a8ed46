"""Words the radiology reports from a fixed vocabulary of graded findings.

Each finding has six grades. The thresholds of findings that express the same latent are staggered, so
that together they grade it on a fine scale although each of them is coarse. They share their words: how
often each word occurs gives the latent back.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

import numpy as np

from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools, Floats
from fusionbench_plugins.tasks.mimic.synthetic.stays import Ints


class Finding(NamedTuple):
    """A sentence with a gap, and the words of its grades in rising order."""

    sentence: str
    grades: tuple[str, ...]


_AMOUNT = ("no", "minimal", "mild", "moderate", "marked", "severe")
_SIZE = ("tiny", "small", "modest", "average", "large", "huge")

EVIDENCE_FINDINGS = (
    Finding("There is {} bilateral airspace opacity.", _AMOUNT),
    Finding("Interval appearance suggests {} pulmonary edema.", _AMOUNT),
    Finding("There is {} pleural effusion at the bases.", _AMOUNT),
    Finding("There is {} consolidation in the lower lobes.", _AMOUNT),
    Finding("There is {} pulmonary vascular congestion.", _AMOUNT),
    Finding("Bibasilar atelectasis is present to {} degree.", _AMOUNT),
)
INTERPLAY_FINDINGS = (
    Finding("Lung volumes are {}.", _SIZE),
    Finding("The hila are {}.", _SIZE),
    Finding("The mediastinum is {}.", _SIZE),
    Finding("The aortic knob is {}.", _SIZE),
)
CARDIAC_FINDINGS = (
    Finding("The cardiac silhouette is {}.", ("diminutive", "normal", "borderline", "enlarged", "globular", "massive")),
)
_UNRELATED = (
    "An endotracheal tube ends 4 cm above the carina.",
    "A right internal jugular line ends in the superior vena cava.",
    "A nasogastric tube passes below the diaphragm.",
    "No pneumothorax is seen.",
    "Osseous structures are intact.",
)
_INDICATIONS = ("Hypoxia.", "Line placement.", "Shortness of breath.", "___ year old patient.")
_CONCLUSIONS = ("Findings as above.", "Continued follow-up is suggested.")
_LAYOUTS = ("both", "findings", "titled", "impression")
_LAYOUT_SHARES = (0.82, 0.08, 0.07, 0.03)
_SPAN = 2.4  # latents beyond this many standard deviations get the last grade


def grade(latent: Floats, findings: tuple[Finding, ...]) -> Ints:
    """Return the grade of each finding, ``[reports, findings]``, with staggered thresholds."""
    steps = len(findings[0].grades) - 1
    thresholds = np.linspace(-_SPAN, _SPAN, steps * len(findings)).reshape(steps, len(findings))
    grades: Ints = (latent[:, None, None] > thresholds).sum(axis=1)
    return grades


def write_reports(shown: Floats, cardiac: Floats, upright: Bools, rng: np.random.Generator) -> list[str]:
    """Write one report per row.

    Args:
        shown: ``[reports, 2]``, evidence and interplay, about standard normal.
        cardiac: ``[reports]``, standard normal.
        upright: bool ``[reports]``, True where the study is PA and lateral.
        rng: For the order of sentences, the layout and what is unrelated.
    """
    grades = [
        (findings, grade(latent, findings))
        for findings, latent in (
            (EVIDENCE_FINDINGS, shown[:, 0]),
            (INTERPLAY_FINDINGS, shown[:, 1]),
            (CARDIAC_FINDINGS, cardiac),
        )
    ]
    layouts = rng.choice(len(_LAYOUTS), len(shown), p=_LAYOUT_SHARES)
    asides = rng.random((len(shown), len(_UNRELATED))) < 0.25
    return [
        _compose(
            [
                f.sentence.format(f.grades[g])
                for findings, table in grades
                for f, g in zip(findings, table[row], strict=True)
            ]
            + [sentence for sentence, said in zip(_UNRELATED, asides[row], strict=True) if said],
            _LAYOUTS[layouts[row]],
            bool(upright[row]),
            rng,
        )
        for row in range(len(shown))
    ]


def _compose(sentences: list[str], layout: str, upright: bool, rng: np.random.Generator) -> str:
    """Lay the report out as in MIMIC-CXR: lines begin with a blank, headings are capitals and a colon."""
    body = " ".join(sentences[i] for i in rng.permutation(len(sentences)))
    conclusion = _CONCLUSIONS[rng.integers(len(_CONCLUSIONS))]
    indication = _INDICATIONS[rng.integers(len(_INDICATIONS))]
    head = [f"EXAMINATION:  CHEST ({'PA AND LAT' if upright else 'PORTABLE AP'})", f"INDICATION:  {indication}"]
    blocks = {
        "both": [*head, "COMPARISON:  ___.", f"FINDINGS:  {body}", f"IMPRESSION:  {conclusion}"],
        "findings": [*head, "COMPARISON:  ___.", f"FINDINGS:  {body}"],
        "titled": [f"CHEST, {'TWO VIEWS' if upright else 'PORTABLE AP'}:  {body}", f"IMPRESSION:  {conclusion}"],
        "impression": [*head, f"IMPRESSION:  {body}"],
    }[layout]
    return "\n \n".join(_wrap(block) for block in ["FINAL REPORT", *blocks]) + "\n"


def _wrap(text: str) -> str:
    return textwrap.fill(text, 78, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False)
