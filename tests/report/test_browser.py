"""The report in a browser: lines, rows, no error, no network, phone, paper, accessibility."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from fusionbench.report.page import PAGE, write_report
from tests.builders import make_run, toy_dataset

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
LINES, FILLING = 5, 3
PAPER = 703  # pixels of an A4 page between its margins


def chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = [p for p in ("/usr/bin/chromium", *map(shutil.which, names)) if p and os.access(p, os.X_OK)]
    if not found:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    return found[0]


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[browser]')")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("browser")
    run = make_run(
        workspace,
        toy_dataset(rows=200),
        strategies=[
            {"name": "concat", "imputers": ["zero", "mean", "cra", "cra_cycle"]},
            {"name": "unimodal", "modality": "a", "label": "a only, with a rather long name"},
        ],
        missingness={"patterns": ["random", "a"], "rates": [0, 0.3, 0.6]},
        training={"epochs": 3, "batch_size": 32, "traces": True},
    )
    return write_report(run.execute(), workspace / "reports" / "toy")


class Opened:
    """A page with what it said and asked for."""

    def __init__(self, browser, file, width):
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.route(re.compile("^(?!file:)"), lambda route: route.abort())  # whatever is asked for goes nowhere
        self.page.goto(file.as_uri())

    def unfold(self):
        """Open everything that is folded."""
        self.page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")


@pytest.fixture(params=[1280, 390], ids=["desktop", "phone"])
def opened(browser, file, request):
    found = Opened(browser, file, request.param)
    yield found
    found.page.close()


def test_the_page_opens_without_an_error_and_asks_for_nothing_but_itself(opened, file):
    opened.unfold()
    opened.page.locator("footer").scroll_into_view_if_needed()  # nothing is asked for later either
    assert opened.said == []
    assert opened.asked == [file.as_uri()]


def test_every_line_is_drawn_and_seen(opened):
    for pattern in (1, 2):
        lines = opened.page.locator(f"[id^='curves-{pattern}-1-arm']")
        assert lines.count() == LINES
        boxes = [lines.nth(i).locator("path").first.bounding_box() for i in range(LINES)]
        assert all(box["width"] > 100 for box in boxes)
    assert opened.page.locator("#degradation-curves .legend li").count() == LINES


def test_every_imputer_has_a_line_over_training_for_each_modality(opened):
    section = opened.page.locator("#imputation-over-training")
    assert section.locator(".legend li").count() == FILLING
    for modality in (1, 2, 3):
        lines = opened.page.locator(f"[id^='imputation-{modality}-1-arm']")
        assert lines.count() == FILLING
        assert all(lines.nth(i).locator("path").first.bounding_box()["width"] > 100 for i in range(FILLING))
    assert section.locator("tbody tr").count() == 3 * FILLING


def test_true_and_imputed_embeddings_stand_side_by_side_for_each_line_whose_rows_differ(opened):
    section = opened.page.locator("#original-and-imputed-embeddings")
    figures = section.locator("figure")
    assert figures.count() == 3 * (FILLING - 1)  # the mean is one cell
    for i in range(figures.count()):
        panels = figures.nth(i).locator("g[id*='-axes_']")
        assert panels.count() == 2
        left, right = panels.nth(0).bounding_box(), panels.nth(1).bounding_box()
        assert left["x"] + left["width"] <= right["x"] + 1
        assert figures.nth(i).locator("g[id*='-patch_'] path").count() > 6
    assert section.locator("tbody tr").count() == 3 * FILLING


def test_tables_have_a_row_for_every_line(opened):
    leaderboard = opened.page.locator("#leaderboard table").first
    assert leaderboard.locator("tbody tr").count() == LINES + 1  # the prevalence is a line too
    assert leaderboard.locator("tbody th[scope=row]").count() == 2 * (LINES + 1)
    assert opened.page.locator("#modality-subsets tbody tr").count() == LINES + 1


def test_the_page_is_never_wider_than_the_screen(opened):
    opened.unfold()
    wide, screen = opened.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen
    pictures = opened.page.locator("figure svg").evaluate_all("all => all.map(s => s.getBoundingClientRect().right)")
    assert max(pictures) <= screen


def test_on_paper_everything_is_unfolded_and_nothing_is_cut_off(opened):
    opened.page.emulate_media(media="print")
    assert opened.page.locator("nav").is_hidden()
    assert opened.page.locator("details pre").first.is_visible()
    styles = opened.page.locator(".scroll").evaluate_all("all => all.map(s => getComputedStyle(s).overflowX)")
    assert set(styles) == {"visible"}
    assert len(opened.page.pdf(format="A4")) > 20_000


def test_on_paper_no_table_and_no_picture_is_wider_than_the_page(browser, file):
    found = Opened(browser, file, PAPER)
    found.page.emulate_media(media="print")
    right = "all => Math.max(...all.map(s => s.getBoundingClientRect().right))"
    assert found.page.locator("figure svg").evaluate_all(right) <= PAPER
    assert found.page.locator("table").evaluate_all(right) <= PAPER
    found.page.close()


@pytest.mark.parametrize("media", ["screen", "print"])
def test_the_page_is_accessible(opened, media):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe (pip install -e '.[browser]')")
    opened.page.emulate_media(media=media)
    opened.unfold()
    found = axe.Axe().run(opened.page)
    assert [v["id"] for v in found.response["violations"]] == []


def test_the_page_and_what_lies_beside_it_are_small(file):
    assert file.name == PAGE
    assert sum(p.stat().st_size for p in file.parent.rglob("*") if p.is_file()) < 5e6
