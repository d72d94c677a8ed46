"""A made-up lung cohort in the task's own file layout: CT, PET, a report in Chinese. No patient is in it."""

from fusionbench_plugins.tasks.lung_subtyping.synthetic.settings import SyntheticLung
from fusionbench_plugins.tasks.lung_subtyping.synthetic.write import GENERATOR_VERSION, write_cohort

__all__ = ["GENERATOR_VERSION", "SyntheticLung", "write_cohort"]
