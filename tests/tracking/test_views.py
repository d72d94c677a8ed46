"""Links to the page: one for each pattern."""

from __future__ import annotations

import json

from fusionbench.tracking.views import pages_of, views_of


def test_views_are_one_for_each_pattern_and_links_come_in_their_order():
    tags = views_of(["random", *(f"m{i}+n" for i in range(11))])
    pages = list(pages_of("7", {"other": "tag", **tags}))
    assert [pattern for pattern, _ in pages] == ["random", *(f"m{i}+n" for i in range(11))]
    assert (
        pages[2][1]
        == "/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning&viewStateShareKey=fusionbench.2"
    )
    state = json.loads(tags["mlflow.sharedViewState.fusionbench.2"])
    assert state["searchFilter"] == 'tags.pattern = "m1+n"'


def test_an_experiment_of_another_version_has_the_plain_page():
    assert list(pages_of("7", {})) == [
        ("", "/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning")
    ]
