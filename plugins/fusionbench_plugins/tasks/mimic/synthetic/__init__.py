"""A synthetic cohort in the file layout of MIMIC-IV and MIMIC-CXR-JPG, with a known best possible AUROC.

No patient is in it. ``settings`` has the dials, ``latents`` the model and its equations, ``truth`` the
posteriors; ``stays`` and ``studies`` lay patients and images out in time; ``vitals``, ``pictures`` and
``reports`` render the latents; ``tables``, ``cxr_tables``, ``files`` and ``write`` put it on disk.
"""

from fusionbench_plugins.tasks.mimic.synthetic.settings import MODALITIES, SyntheticSettings
from fusionbench_plugins.tasks.mimic.synthetic.truth import (
    PlantedAuroc,
    Truth,
    natural_auroc,
    planted_aurocs,
    subset_name,
)
from fusionbench_plugins.tasks.mimic.synthetic.write import GENERATOR_VERSION, holds_cohort, write_cohort

__all__ = [
    "GENERATOR_VERSION",
    "MODALITIES",
    "PlantedAuroc",
    "SyntheticSettings",
    "Truth",
    "holds_cohort",
    "natural_auroc",
    "planted_aurocs",
    "subset_name",
    "write_cohort",
]
