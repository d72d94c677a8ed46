"""A small benchmark file to be spoilt, and how to load it or to collect what is wrong with it."""

from __future__ import annotations

import pytest

from fusionbench.config.reading import load_benchmark
from fusionbench.errors import ConfigError

GOOD = """\
name: toy  # line 1
task: {name: toy, rows: 120}
encoders:
  a: identity
  b: {name: mlp, hidden: 8}
strategies:
  - concat
  - name: sum
    variant: logit
missingness:
  rates: [0, 0.5]
"""


def load(tmp_path, text, *assignments, **environ):
    path = tmp_path / "b.yaml"
    path.write_text(text, encoding="utf-8")
    return load_benchmark(path, assignments, environ)


def problems(tmp_path, text, *assignments, **environ):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *assignments, **environ)
    return [p.replace(str(tmp_path / "b.yaml"), "b.yaml") for p in caught.value.problems]


def one(tmp_path, text, *assignments, **environ):
    found = problems(tmp_path, text, *assignments, **environ)
    assert len(found) == 1, found
    return found[0]
