"""The documentation site: built strictly, it needs no network to be read, and every page is reached."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.report.test_browser import FLAGS, chromium

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(p.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for p in (ROOT / "docs").rglob("*.md"))
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}

pytestmark = pytest.mark.skipif(
    find_spec("material") is None or find_spec("latex2mathml") is None,
    reason="needs mkdocs-material and latex2mathml (pip install -e '.[docs]')",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as 'make docs' builds it, where every address but the machine's own is out of reach."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}  # a notice about MkDocs' future, not about us
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@dataclass
class Page(HTMLParser):
    """What a page loads, links to and offers as anchors."""

    path: Path
    loads: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    menu: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    styles: str = ""

    def __post_init__(self):
        super().__init__()
        self._navs, self._style = 0, False
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given["id"]} if given.get("id") else set()
        self._navs += tag == "nav"
        self._style = tag == "style"
        if tag in LOADED and given.get(LOADED[tag]) and given.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(given[LOADED[tag]])
        if tag == "a" and given.get("href"):
            (self.menu if self._navs else self.links).append(given["href"])
        self.styles += given.get("style") or ""

    def handle_endtag(self, tag):
        self._navs -= tag == "nav"
        self._style = False

    def handle_data(self, data):
        self.styles += data if self._style else ""

    @cached_property
    def addresses(self):
        return [*self.loads, *re.findall(r"url\(['\"]?([^'\")]+)", self.styles)]


@pytest.fixture(scope="module")
def pages(site):
    found = [p for p in site.rglob("*.html") if p.name != "404.html"]  # that is for servers, and counts from their root
    return {p.relative_to(site).as_posix(): Page(p) for p in found}


def target_of(page, link):
    """File and anchor that a relative link goes to."""
    parts = urlsplit(link)
    return (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path, unquote(parts.fragment)


def is_relative(address):
    return not urlsplit(address).scheme and not address.startswith("/")


def test_every_page_is_built(pages):
    assert [p for p in PAGES if p not in pages] == []


def test_pages_load_nothing_from_elsewhere_and_what_they_load_is_there(pages):
    addresses = [(name, page, a) for name, page in pages.items() for a in page.addresses if not a.startswith("data:")]
    assert len(addresses) > 5 * len(pages)
    assert [(name, a) for name, _, a in addresses if not is_relative(a)] == []
    assert [(name, a) for name, page, a in addresses if not target_of(page, a)[0].is_file()] == []


def test_style_sheets_load_nothing_from_elsewhere(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    found = [
        a for s in sheets for a in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", s.read_text(encoding="utf-8"))
    ]
    assert [a for a in found if not a.startswith(("data:", "#")) and not is_relative(a)] == []


def test_every_page_of_docs_is_in_the_navigation_of_every_page(site, pages):
    for name in ("index.html", "methods/pmr.html"):
        listed = {target_of(pages[name], a)[0] for a in pages[name].menu if is_relative(a)}
        assert [p for p in PAGES if (site / p).resolve() not in listed and p != name] == []


def test_links_of_the_site_go_to_files_and_anchors_that_are_there(site, pages):
    links = [(name, page, a) for name, page in pages.items() for a in page.links if is_relative(a)]
    found = {(name, a): target_of(page, a) for name, page, a in links}
    assert [at for at, (file, _) in found.items() if not file.is_file()] == []
    known = {p.path.resolve(): p.ids | {"", "__top"} for p in pages.values()}
    assert [at for at, (file, anchor) in found.items() if file in known and anchor not in known[file]] == []


def test_search_knows_every_page_also_without_a_server(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    located = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert [p for p in PAGES if p not in located] == []
    script = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert json.loads(script.removeprefix("var __index = ")) == index


def test_the_site_opened_from_the_disk_searches_and_asks_nobody(site):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[browser]')")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page()
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((site / "index.html").as_uri())
        page.get_by_role("textbox", name="Search").click()
        page.keyboard.type("Dempster")
        first = page.locator(".md-search-result__link").first
        first.wait_for(timeout=60_000)  # a busy machine starts Chromium slowly
        address = first.get_attribute("href") or ""
        browser.close()
    assert "methods/tmc.html" in address or "methods.html" in address
    assert said == []
    assert [a for a in asked if not a.startswith(("file:", "data:", "blob:"))] == []


# what reaches over the right edge and lies in nothing that can be scrolled; formulas on a wide screen must fit as they are
CUT = """() => {
    const width = document.documentElement.clientWidth, found = [];
    if (document.documentElement.scrollWidth > width + 1) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
    const scrolled = (e) => {
        for (; e && e !== document.body; e = e.parentElement)
            if (["auto", "scroll"].includes(getComputedStyle(e).overflowX)) return true;
        return false;
    };
    for (const e of document.querySelectorAll(".md-content :is(table, code, img, math, p, li, h1, h2, h3)")) {
        const { width: own, right } = e.getBoundingClientRect();
        if (own && right > width + 1 && !scrolled(e)) found.push(`${e.tagName} to ${right}: ${e.textContent.slice(0, 40)}`);
    }
    for (const e of document.querySelectorAll(".formula"))
        if (width > 1000 && e.scrollWidth > e.clientWidth + 1) found.push(`a formula is ${e.scrollWidth} wide`);
    return found;
}"""
# of each kind of page one: pictures, code, wide tables, formulas, the widest of each
SEEN = (
    "index",
    "repository/index",
    "methods",
    "methods/pmr",
    "methods/tmc",
    "statistics",
    "performance",
    "cite",
    "demo",
)


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_nothing_is_cut_at_the_right(site, width):
    """Chromium lays out some pages of hundreds of rows: that takes its time, most of it for the widest tables."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[browser]')")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 800})
        found = {}
        for name in SEEN:
            page.goto((site / f"{name}.html").as_uri())
            page.locator(".md-content__inner").wait_for()
            found[name] = page.evaluate(CUT)
        browser.close()
    assert {name: cut for name, cut in found.items() if cut} == {}


def test_formulas_are_mathml_with_nothing_left_of_tex(pages):
    written = {
        p.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        for p in (ROOT / "docs").rglob("*.md")
        if re.search(r"```math|\$`[^`\n]+`\$", p.read_text(encoding="utf-8"))
    }
    assert len(written) > 20
    texts = {name: pages[name].path.read_text(encoding="utf-8") for name in written}
    assert "statistics.html" in written
    assert [n for n, text in texts.items() if '<div class="formula"' not in text or "<math" not in text] == []
    assert [n for n, text in texts.items() if re.search(r"\\(mathrm|text|frac|sum)\b|\$<code>|MathML\}", text)] == []


@pytest.mark.parametrize("tex", [r"\nosuchword{x}", r"a & b"])
def test_a_formula_that_is_not_understood_ends_the_build(tex):
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match="formula not understood"):
        tool("docs_math").mathml(tex, "block")


def test_remarks_beside_a_formula_are_words_that_wrap():
    made = tool("docs_math").block(
        "\\begin{aligned}\nz &= a && \\text{where } m \\text{ is < 1} \\\\\nb &= 1\n\\end{aligned}", "math", "formula"
    )
    assert made.count("<div>") == 6
    assert "where <math" in made
    assert " is &lt; 1" in made


# --------------------------------------------------------------------------------------------
# links, without building


def tool(name):
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


def rewritten(text, uri="report.md", **given):
    known = {"docs/report.md": "report.md", "docs/a/b.md": "a/b.md", "README.md": "repository/README.md"}
    return tool("docs_site").rewrite_links(text, uri, known, **given)


@pytest.mark.parametrize(
    ("uri", "text", "shown"),
    [
        ("report.md", "[me](../README.md#try-it)", "[me](repository/README.md#try-it)"),
        ("a/b.md", "[me](../../README.md)", "[me](../repository/README.md)"),
        ("repository/README.md", "[`b`](docs/a/b.md) [top](#top)", "[`b`](../a/b.md) [top](#top)"),
        ("report.md", "[its code](../benchmarks/x.py)", "its code (`benchmarks/x.py`)"),
        ("report.md", "[`fusionbench/types.py`](../fusionbench/types.py)", "`fusionbench/types.py`"),
        ("report.md", "`[a](../x.py)` [web](https://example.org)", "`[a](../x.py)` [web](https://example.org)"),
        ("report.md", "```\n[a](../x.py)\n```", "```\n[a](../x.py)\n```"),
        ("report.md", "[gone](gone.md)", "[gone](gone.md)"),
    ],
)
def test_links_are_made_for_the_site(uri, text, shown):
    assert rewritten(text, uri) == shown


def test_links_to_files_go_to_the_repository_where_it_has_an_address():
    given = rewritten("[code](../x.py) [me](../README.md)", repo_url="https://example.org/fusionbench/")
    assert given == "[code](https://example.org/fusionbench/blob/HEAD/x.py) [me](repository/README.md)"
