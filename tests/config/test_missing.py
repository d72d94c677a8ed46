"""The section on missing modalities: rates by modality are a pattern."""

from __future__ import annotations

import pytest

from fusionbench.config.missing import MissingnessSection


def rates_of(rates, **more):
    found = MissingnessSection.model_validate({"rates": rates, **more})
    return found.patterns, found.rates


def test_rates_by_modality_are_a_pattern_in_their_proportion():
    assert rates_of({"report": 0.3, "cxr": 0.6}) == (("cxr:0.6+report:0.3",), (0.0, 0.6))
    several = [0, {"cxr": 0.3, "report": 0.15}, {"cxr": 0.6, "report": 0.3}]
    assert rates_of(several) == (("cxr:0.6+report:0.3",), (0.0, 0.3, 0.6))


@pytest.mark.parametrize(
    ("rates", "more", "said"),
    [
        ([{"a": 0.6, "b": 0.3}, {"a": 0.3, "b": 0.3}], {}, "must be in one proportion"),
        ({"a": 0.6}, {"patterns": ["random"]}, "leave 'patterns' out"),
        ({"a": 1.5}, {}, "numbers above 0 and below 1"),
        ({"a": True}, {}, "numbers above 0 and below 1"),
        ({"a": "much"}, {}, "numbers above 0 and below 1"),
        ([0, {}], {}, "numbers above 0 and below 1"),
    ],
)
def test_rates_by_modality_that_mean_nothing_are_refused(rates, more, said):
    with pytest.raises(ValueError, match=said):
        rates_of(rates, **more)
