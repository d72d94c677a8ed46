"""MLflow's pages in a browser, by the links of the dashboard: a line for every arm without a click, rows, no error."""

from __future__ import annotations

import re
import socket
import warnings

import pytest

from fusionbench.commands.dashboard import free_port, server
from fusionbench_plugins.observers.mlflow.observer import MlflowTracker
from tests.builders import make_run, toy_dataset
from tests.report import test_browser as test_report_browser

pytestmark = pytest.mark.usefixtures("migrated")

ARMS = {"concat", "sum", "a only"}
CHART = ".js-plotly-plot"
# what MLflow itself says on a machine of one user: it asks who is logged in, and nobody can log in
KNOWN_REFUSALS = re.compile(r"/ajax-api/2\.0/mlflow/users/current$")
# Chromium's note that a chart was resized while it was measured; it draws it in the next frame
KNOWN_WORDS = re.compile(r"ResizeObserver loop|Failed to load resource")  # of the latter the address is checked above


browser = test_report_browser.browser


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A tracked run of three arms and two patterns, and the server on it."""
    workspace = tmp_path_factory.mktemp("mlflow-browser")
    alone = {"name": "unimodal", "modality": "a", "label": "a only"}
    patterns = {"patterns": ["random", "a"], "rates": [0, 0.3, 0.6]}
    run = make_run(workspace, toy_dataset(), strategies=["concat", "sum", alone], missingness=patterns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracking library's own dependencies
        summary = run.execute([MlflowTracker(run.benchmark, workspace)])
    said = []
    with server(workspace / "mlflow.db", free_port(), said.append) as found:
        yield found, summary, said
    assert found.process.poll() is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", found.port)) != 0, "something still listens"


class Opened:
    """A page with what it said, and what it was refused."""

    def __init__(self, browser, address):
        self.page = browser.new_page(viewport={"width": 1600, "height": 1000})
        self.said, self.refused = [], []
        self.page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("response", lambda answer: self.refused.append(answer.url) if answer.status >= 400 else None)
        self.page.goto(address)

    def wrong(self):
        refused = [url for url in self.refused if not KNOWN_REFUSALS.search(url)]
        return refused + [words for words in self.said if not KNOWN_WORDS.search(words)]


@pytest.fixture
def opened(browser, running):
    pages = []

    def open_page(address):
        pages.append(Opened(browser, address))
        return pages[-1]

    yield open_page
    for found in pages:
        found.page.close()


def assistant_is_open(page):
    """Whether the panel lies over the page; closed, its name stands on a button only."""
    named = page.get_by_text("MLflow Assistant")
    return named.count() > named.locator("xpath=ancestor-or-self::button").count()


def lines_of(chart):
    """Names and points of what a chart draws; bands have no name."""
    found = chart.evaluate(
        "plot => plot.data.map(line => [line.name, Array.from(line.x || []), Array.from(line.y || [])])"
    )
    return {name: dict(zip(xs, ys, strict=True)) for name, xs, ys in found if name and len(xs)}


def test_each_pattern_has_a_link(running):
    found, _, said = running
    assert [name for name, _ in found.links()] == ["toy (random)", "toy (a)"]
    assert [re.sub(r"\d+ s", "N s", line) for line in said] == [
        "starting the MLflow server",
        "it listens after N s; asking for what the page will ask for",
        "ready after N s",
    ]


@pytest.mark.parametrize(("place", "pattern"), [(0, "random"), (1, "a")])
def test_a_link_opens_on_one_line_for_every_arm_without_a_click(opened, running, place, pattern):
    found, summary, _ = running
    page = opened(found.links()[place][1])
    chart = page.page.locator(CHART).first
    chart.locator(".scatterlayer .trace").nth(len(ARMS) - 1).wait_for(timeout=60_000)
    curves = summary.tables.curves
    expected = {
        f"{strategy} / zero / {pattern}": dict(zip((100 * a for a in rows["achieved"]), rows["auprc"], strict=True))
        for strategy, rows in curves[curves["pattern"] == pattern].groupby("strategy")
        if strategy in ARMS
    }
    drawn = lines_of(chart)
    assert set(drawn) == set(expected)
    for name, points in expected.items():
        assert list(drawn[name]) == pytest.approx(list(points))
        assert list(drawn[name].values()) == pytest.approx(list(points.values()))
    assert page.page.get_by_text("missing percent", exact=True).count() > 0  # the axis
    assert not assistant_is_open(page.page)
    rows = page.page.locator("[role=row] a", has_text=f"/ zero / {pattern}")
    assert set(rows.all_inner_texts()) == set(expected)
    assert page.wrong() == []


def test_the_page_of_a_run_says_what_it_is_and_opens_among_trained_models(opened, running):
    from mlflow.tracking import MlflowClient

    found, _, _ = running
    (run, *_) = MlflowClient(tracking_uri=found.address).search_runs(["1"], "tags.pattern = 'a'", max_results=1)
    page = opened(f"{found.address}/#/experiments/1/runs/{run.info.run_id}")
    page.page.get_by_text("missing pattern").first.wait_for(timeout=60_000)
    assert page.page.get_by_text("Model registry").count() > 0  # the menu of trained models
    assert not assistant_is_open(page.page)
    assert page.wrong() == []


def test_the_compare_page_of_two_runs_draws_both(opened, running):
    from mlflow.tracking import MlflowClient

    found, _, _ = running
    client = MlflowClient(tracking_uri=found.address)
    runs = client.search_runs(["1"], "tags.pattern = 'random'", max_results=2)
    ids = "[" + ",".join(f'"{r.info.run_id}"' for r in runs) + "]"
    page = opened(f'{found.address}/#/compare-runs?runs={ids}&experiments=["1"]')
    for run in runs:
        page.page.get_by_text(run.info.run_name).first.wait_for(timeout=60_000)
    assert page.page.get_by_text("summary/area").first.is_visible()
    assert page.wrong() == []
