"""What a missingness mechanism has to say."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from fusionbench.contract.mechanism import Missingness, MissingnessContext


class Even(Missingness):
    """Hides rows in their order."""

    def thresholds(self, context, generator):
        rows, columns = context.available.shape
        return np.repeat(np.arange(rows)[:, None] / rows, columns, axis=1)


CONTEXT = MissingnessContext(np.ones((4, 2), dtype=bool), ("a", "b"), np.zeros(4, dtype=np.int64))


def test_a_mechanism_has_to_give_thresholds():
    with pytest.raises(TypeError, match="abstract"):
        Missingness()
    assert Even().thresholds(CONTEXT, np.random.default_rng(0))[:, 1].tolist() == [0, 0.25, 0.5, 0.75]


def test_summaries_are_made_only_for_those_that_ask():
    assert Even.uses_summaries is False
    assert CONTEXT.summaries is None


def test_what_a_mechanism_may_look_at_cannot_be_exchanged():
    with pytest.raises(FrozenInstanceError):
        CONTEXT.target = np.ones(4)
