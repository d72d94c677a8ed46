"""How long it takes by the clock: as long as the largest unit, and as long as all of it over all places."""

from __future__ import annotations

import pytest

from fusionbench.plan.estimates import Outlook


@pytest.mark.parametrize(
    ("longest", "places", "wanted"), [(10.0, 4, 25.0), (10.0, 100, 10.0), (100.0, 1, 100.0), (0.0, 0, 100.0)]
)
def test_elapsed_is_bounded_by_the_largest_unit_and_by_all_places(longest, places, wanted):
    outlook = Outlook("on Ray", units=10, longest=longest, seconds=100.0, places=places, memory=1, disk=1)
    assert outlook.elapsed == wanted
