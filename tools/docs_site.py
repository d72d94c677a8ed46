"""What MkDocs is told about this repository: pages outside ``docs/``, and links to what is no page.

Pages are written for a plain file view, where ``../README.md`` is a file beside ``docs/``. On the site

* ``repository/FILE`` in the navigation of ``mkdocs.yml`` makes a page of FILE;
* a link to a page of the site goes there, from wherever it stands;
* a link to another file of the repository goes to ``repo_url``; without one it becomes the path, as code.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = "repository/"
# code first: what looks like a link in it is none
_CODE_OR_LINK = re.compile(
    r"^( *)```.*?^\1```$|`[^`\n]+`|\[(?P<text>(?:`[^`]*`|[^\[\]`]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that the navigation takes from outside ``docs/``."""
    for uri in _pages(config.nav):
        if uri.startswith(OUTSIDE):
            path = Path(config.config_file_path).parent / uri.removeprefix(OUTSIDE)
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make every link that leaves the folder of the page one of the site."""
    known = {_place(file.src_uri): file.src_uri for file in files}
    return rewrite_links(markdown, page.file.src_uri, known, config.repo_url or "")


def rewrite_links(markdown: str, uri: str, known: dict[str, str], repo_url: str = "") -> str:
    """Return the text with its links made for the site.

    Args:
        markdown: Text of a page.
        uri: The page on the site, as in the navigation.
        known: Files of the site: path in the repository to path on the site.
        repo_url: Address of the repository; empty: there is none to link to.
    """

    def replace(match: re.Match[str]) -> str:
        text, target = match["text"], match["target"] or ""
        if not target or target.startswith("#") or re.match(r"[a-z]+:", target):
            return match[0]
        path, hash_sign, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(_place(uri)), path))
        if place in known:
            return f"[{text}]({posixpath.relpath(known[place], posixpath.dirname(uri) or '.')}{hash_sign}{anchor})"
        if place.startswith("docs/") and place.endswith(".md"):
            return match[0]  # no such page: MkDocs says so
        if repo_url:
            return f"[{text}]({repo_url.rstrip('/')}/blob/HEAD/{place}{hash_sign}{anchor})"
        return f"`{place}`" if text.strip("`") in place else f"{text} (`{place}`)"

    return _CODE_OR_LINK.sub(replace, markdown)


def _place(uri: str) -> str:
    """Where a file of the site lies in the repository."""
    return uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else f"docs/{uri}"


def _pages(nav: Any) -> Iterator[str]:
    """Yield the files that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav or ():
            yield from _pages(part)
