"""Which chest X-ray studies exist, when they were taken, and what each of them depicts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from fusionbench.seeding import numpy_generator
from fusionbench_plugins.tasks.mimic.synthetic.latents import Bools, Floats, Latents
from fusionbench_plugins.tasks.mimic.synthetic.settings import SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.stays import HOUR, IcuStays, Ints

WINDOW = 48 * HOUR
_EDGE_SHARE = 0.01  # chosen images exactly at the first and last admissible second
_EARLIER_SHARE, _LATE_SHARE, _UPRIGHT_SHARE = 0.3, 0.25, 0.25


class Kind(IntEnum):
    """What a study is for."""

    CHOSEN = 0  # the last AP within 48 hours: depicts the latents of the stay
    EARLIER = 1  # AP before the chosen one: depicts them vaguely
    LATE = 2  # AP after 48 hours: gives the outcome away, so that a leak shows as a score above the ceiling
    UPRIGHT = 3  # PA and lateral at any time: depicts nothing of the stay


@dataclass(frozen=True)
class Studies:
    """One row per study, by stay and time.

    Args:
        kind: A :class:`Kind`.
        stay: Row of the stays.
        seconds: Since the stay's intime.
        study_id: Begins with 99, which real ones do not.
        has_report: Bool.
        picture: ``[studies, 2]``: evidence and interplay that the picture depicts, about standard normal.
        words: The same for the report.
        cardiac: The cardiac phenotype factor, shown by heart size and its wording.
    """

    kind: Ints
    stay: Ints
    seconds: Ints
    study_id: Ints
    has_report: Bools
    picture: Floats
    words: Floats
    cardiac: Floats

    def __len__(self) -> int:
        return len(self.stay)


@dataclass(frozen=True)
class Images:
    """One row per image: one AP for a bedside study, PA and lateral for an upright one."""

    study: Ints
    view: list[str]
    dicom_id: list[str]

    def __len__(self) -> int:
        return len(self.study)


def plan_studies(latents: Latents, stays: IcuStays, settings: SyntheticSettings) -> Studies:
    """Lay out all studies; who has an AP image in the window follows ``latents.available``."""
    rng = numpy_generator("synthetic cohort: studies", seed=settings.seed)
    kind, stay, seconds = _schedule(latents.available[:, 1], stays, rng)
    order = np.lexsort((kind, seconds, stay))
    kind, stay, seconds = kind[order], stay[order], seconds[order]
    standard = latents.standard_evidence(settings)
    shown = [np.column_stack([standard[:, m], latents.interplay[:, m]])[stay] for m in (1, 2)]
    picture, words = (_depict(kind, latents.died[stay], clear, rng) for clear in shown)
    return Studies(
        kind=kind,
        stay=stay,
        seconds=seconds,
        study_id=99_000_001 + np.arange(len(stay)),
        has_report=(kind != Kind.CHOSEN) | latents.available[stay, 2],
        picture=picture,
        words=words,
        cardiac=latents.factors[stay, 0],
    )


def _schedule(has_image: Bools, stays: IcuStays, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    rows = len(has_image)
    window = np.minimum(stays.seconds, WINDOW)
    chosen = (window * rng.uniform(0.01, 0.98, rows)).astype(np.int64)
    edge = rng.random(rows)
    chosen = np.where(edge < _EDGE_SHARE, 0, np.where(edge > 1 - _EDGE_SHARE, window, chosen))
    earlier = (chosen * rng.uniform(0.05, 0.95, rows)).astype(np.int64)
    late = WINDOW + 1 + (rng.random(rows) ** 2 * np.maximum(stays.seconds - WINDOW - 2, 0)).astype(np.int64)
    upright = (window * rng.uniform(0.02, 0.98, rows)).astype(np.int64)
    draw = rng.random((3, rows))
    wanted = {
        Kind.CHOSEN: (has_image, chosen),
        Kind.EARLIER: (has_image & (draw[0] < _EARLIER_SHARE) & (earlier < chosen), earlier),
        Kind.LATE: ((draw[1] < _LATE_SHARE) & (late < stays.seconds), late),
        Kind.UPRIGHT: (draw[2] < _UPRIGHT_SHARE, upright),
    }
    picked = [(np.full(who.sum(), kind), np.flatnonzero(who), when[who]) for kind, (who, when) in wanted.items()]
    kind, stay, seconds = (np.concatenate(column) for column in zip(*picked, strict=True))
    return kind.astype(np.int64), stay, seconds


def _depict(kind: Ints, died: Bools, clear: Floats, rng: np.random.Generator) -> Floats:
    noise = rng.standard_normal(clear.shape)
    telling = np.column_stack([np.where(died, 2.0, -1.0) + 0.3 * noise[:, 0], noise[:, 1]])
    choices = [kind == k for k in (Kind.CHOSEN, Kind.EARLIER, Kind.LATE)]
    vague = 0.5 * clear + np.sqrt(0.75) * noise
    return np.select([c[:, None] for c in choices], [clear, vague, telling], noise)


def list_images(studies: Studies, settings: SyntheticSettings) -> Images:
    """Name the images of all studies; ids begin with ``ffffffff-``, which real ones do not."""
    upright = studies.kind == Kind.UPRIGHT
    study = np.repeat(np.arange(len(studies)), np.where(upright, 2, 1))
    second = np.append(False, study[1:] == study[:-1])
    view = np.select([~upright[study], ~second], ["AP", "PA"], "LATERAL").tolist()
    draws = numpy_generator("synthetic cohort: image ids", seed=settings.seed).integers(0, 2**32, (len(study), 4))
    return Images(study, view, ["-".join(["ffffffff", *(f"{part:08x}" for part in row)]) for row in draws.tolist()])
