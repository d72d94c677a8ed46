"""Views of MLflow's chart page: one pattern, where the page by itself mixes them and draws ten runs.

A view is what the page's own Share button stores: a tag of the experiment, found by a key in the address. Plain JSON is
accepted. Versions of MLflow that do not know it show their own page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

SHARED = "mlflow.sharedViewState."
KEY = "fusionbench."
PAGE = {"compareRunsMode": "CHART", "workflowType": "machine_learning"}  # charts, and the menu of trained models
MISSING_PERCENT = "missing percent"
"""The metric that charts have on their horizontal axis: what was really hidden."""
MOST = 20  # lines of a chart: more take long to draw and cannot be told apart
COLUMNS = (
    "tags.`strategy`",
    "tags.`imputer`",
    "metrics.`summary/area`",
    "metrics.`summary/difference`",
    "metrics.`summary/regret`",
    "metrics.`totals/parameters`",
)


def views_of(patterns: Sequence[str]) -> dict[str, str]:
    """Return an experiment's tags: for each pattern a view of its curves; the newest are drawn, which are the best."""
    return {
        f"{SHARED}{KEY}{place}": json.dumps(
            {
                "pattern": pattern,  # for the links; the page takes what it knows
                "searchFilter": f'tags.pattern = "{pattern}"',
                "runsHiddenMode": "FIRST_20_RUNS",
                "selectedColumns": list(COLUMNS),
                "globalLineChartConfig": {
                    "xAxisKey": "metric",
                    "selectedXAxisMetricKey": MISSING_PERCENT,
                    "lineSmoothness": 0,
                },
            }
        )
        for place, pattern in enumerate(patterns)
    }


def pages_of(experiment: str, tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield patterns in their order, each with the place of its charts on the server; no pattern where there is no view.

    Args:
        experiment: Its id.
        tags: Its tags.
    """
    keys = sorted((t for t in tags if t.startswith(f"{SHARED}{KEY}")), key=lambda t: int(t.rpartition(".")[2]))
    for tag in keys:
        yield json.loads(tags[tag])["pattern"], _page(experiment, viewStateShareKey=tag.removeprefix(SHARED))
    if not keys:
        yield "", _page(experiment)


def _page(experiment: str, **more: str) -> str:
    return f"/#/experiments/{experiment}/runs?{urlencode({**PAGE, **more})}"
