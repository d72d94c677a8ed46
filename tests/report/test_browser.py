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

    def __init__(self, browser, file, width, height=900):
        self.page = browser.new_page(viewport={"width": width, "height": height})
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
    small = opened.page.locator("#differences-as-more-is-missing figure.small")
    assert small.count() == 2 * (LINES - 1)  # the baseline is the line at 0
    boxes = [small.nth(i).locator("svg").bounding_box() for i in range(small.count())]
    assert all(box["width"] > 100 for box in boxes)
    assert opened.page.locator("#line-by-line figure.small svg").count() == 2 * LINES
    for pattern in (1, 2):
        assert opened.page.locator(f"[id^='curves-{pattern}-arm']").first.bounding_box()["width"] > 100


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
    assert opened.page.locator("table.grid tbody tr").count() == LINES + 1
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


def test_the_first_screen_holds_title_question_notes_and_the_decision_table(browser, file):
    found = Opened(browser, file, 1280, height=800)
    bottoms = {
        name: found.page.locator(css).bounding_box()
        for name, css in (
            ("title", "h1"),
            ("question", ".question"),
            ("notes", ".before"),
            ("table", "table.grid tbody"),
        )
    }
    assert all(box["y"] + box["height"] <= 800 for box in bottoms.values())
    assert bottoms["notes"]["y"] + bottoms["notes"]["height"] <= bottoms["table"]["y"]
    assert found.page.locator("h1").inner_text().startswith("Which fusion when")
    found.page.close()


def first_cells(table, column):
    return table.locator(f"tbody tr td:nth-child({column})").all_inner_texts()


def test_a_click_on_a_column_sorts_by_it_and_baseline_and_constant_stay_where_they_are(opened):
    table = opened.page.locator("table.grid")
    names = table.locator("tbody th").all_inner_texts()
    head = table.locator("thead tr:last-child th").nth(1)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = [float(c.rstrip("•↑↓")) for c in first_cells(table, 2)][1:-1]
    assert down == sorted(down, reverse=True)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = [float(c.rstrip("•↑↓")) for c in first_cells(table, 2)][1:-1]
    assert up == sorted(down)
    after = table.locator("tbody th").all_inner_texts()
    assert (after[0], after[-1]) == (names[0], names[-1])
    assert sorted(after) == sorted(names)


def test_words_sort_as_words_and_what_has_no_number_comes_last(opened):
    table = opened.page.locator("#leaderboard table").first
    table.locator("thead th").nth(1).locator("button").click()
    names = table.locator("tbody tr > :nth-child(2)").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    table.locator("thead th").first.locator("button").click()
    assert table.locator("tbody tr > :first-child").last.inner_text() == "-"


def test_a_filter_leaves_the_rows_that_hold_the_words(opened):
    sheet = opened.page.locator("#imputation-over-training .sheet")
    opened.unfold()
    rows = sheet.locator("tbody tr")
    sheet.locator("input[type=search]").fill("CRA_cycle")
    assert [row.is_visible() for row in rows.all()] == ["cra_cycle" in row.inner_text() for row in rows.all()]
    assert sheet.locator("[role=status]").inner_text() == f"3 of {3 * FILLING}"
    sheet.locator("input[type=search]").fill("")
    assert all(row.is_visible() for row in rows.all())


def test_a_hidden_line_leaves_every_table_and_every_picture_of_its_own_and_comes_back(opened):
    page = opened.page
    page.locator(".decision .tools summary").click()
    box = page.get_by_role("checkbox", name="a only, with a rather long name")
    mine = page.locator("[data-line~='line-a-only-with-a-rather-long-name-zero']")
    seen = mine.evaluate_all("all => all.filter(one => one.getClientRects().length).length")
    assert seen > 8
    box.uncheck()
    assert mine.evaluate_all("all => all.filter(one => one.getClientRects().length).length") == 0
    assert page.locator(".decision .tools summary").inner_text() == f"Lines shown: {LINES - 1} of {LINES}"
    page.get_by_role("button", name="none", exact=True).click()
    assert page.locator("#line-by-line .part:visible").count() == 0
    page.get_by_role("button", name="all", exact=True).click()
    assert mine.evaluate_all("all => all.filter(one => one.getClientRects().length).length") == seen


def test_the_name_of_a_line_leads_to_its_part(opened):
    link = opened.page.locator("table.grid tbody th a").nth(1)
    name, target = link.inner_text(), link.get_attribute("href")
    link.click()
    assert opened.page.url.endswith(target)
    part = opened.page.locator(target)
    assert part.locator("h3").inner_text() == name
    assert part.locator("figure svg").count() == 2


def test_without_a_script_everything_can_be_read_and_there_is_nothing_to_click_that_does_nothing(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("table.grid tbody tr").count() == LINES + 1
    assert page.locator("button, input").count() == 0
    assert page.locator("#line-by-line figure").first.is_visible()
    context.close()


def test_dark_follows_the_system_and_the_switch_and_paper_stays_white(browser, file):
    found = Opened(browser, file, 1280)
    paper = "getComputedStyle(document.body).backgroundColor"
    assert found.page.evaluate(paper) == "rgb(255, 255, 255)"
    found.page.get_by_role("button", name="Dark colours").click()
    dark = found.page.evaluate(paper)
    assert dark != "rgb(255, 255, 255)"
    found.page.emulate_media(media="print")
    assert found.page.evaluate(paper) == "rgb(255, 255, 255)"
    found.page.emulate_media(media="screen", color_scheme="dark")
    found.page.get_by_role("button", name="Light colours").click()
    assert found.page.evaluate(paper) == "rgb(255, 255, 255)"
    found.page.reload()
    assert found.page.evaluate(paper) == dark
    found.page.close()


def test_a_table_that_goes_on_to_the_right_says_so(browser, file):
    phone, desk = Opened(browser, file, 390), Opened(browser, file, 1280)
    assert phone.page.locator(".decision .hint").is_visible()
    assert desk.page.locator(".decision .hint").is_hidden()
    for one in (phone, desk):
        one.page.close()


def test_a_script_that_is_not_the_page_s_own_does_not_run(browser, file, tmp_path):
    other = tmp_path / "other.html"
    text = file.read_text(encoding="utf-8")
    other.write_text(text.replace("<main>", "<main><script>document.title = 'taken'</script>"), encoding="utf-8")
    found = Opened(browser, other, 1280)
    assert found.page.title() != "taken"
    assert any("Content Security Policy" in said for said in found.said)
    found.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_the_page_is_accessible(opened, media, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe (pip install -e '.[browser]')")
    opened.page.emulate_media(media=media, color_scheme=scheme)
    opened.unfold()
    found = axe.Axe().run(opened.page)
    assert [v["id"] for v in found.response["violations"]] == []


def test_the_page_and_what_lies_beside_it_are_small(file):
    assert file.name == PAGE
    assert file.stat().st_size < 2e6
    assert sum(p.stat().st_size for p in file.parent.rglob("*") if p.is_file()) < 5e6
