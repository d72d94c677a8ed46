"""A benchmark file: YAML in, frozen models out."""

from fusionbench.config.sections import Benchmark

__all__ = ["Benchmark"]
