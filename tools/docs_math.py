"""Formulas of the site: TeX in the pages becomes MathML, which browsers draw themselves, without a script, a font or a network.

A file view sets the same signs: a block of the language ``math``, and a formula in running text between ``$`` and a backtick
(as in ``$`a_1`$``), which no price and no shell variable looks like.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

BEFORE_CODE = 200  # code in backticks is found at 190
_ALIGNED = re.compile(r"\\(?:begin|end)\{aligned\}")
# what the library passes through as a name: a word of TeX that it does not know
_UNKNOWN = re.compile(r"<m[io]>(\\[a-zA-Z]+)</m[io]>")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Teach the Markdown of the site both ways of writing a formula."""
    fence = {"name": "math", "class": "formula", "format": block}
    config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", []).append(fence)
    config.markdown_extensions.append(Formulas())  # type: ignore[arg-type]  # Markdown takes names and objects alike
    return config


def mathml(tex: str, display: str) -> str:
    """Return a formula as MathML; a word that is not known ends the build.

    Args:
        tex: The formula.
        display: ``block`` or ``inline``.
    """
    made = convert(tex, display=display)
    unknown = _UNKNOWN.findall(made)
    if unknown or ">&<" in made:
        raise PluginError(f"formula not understood ({', '.join(unknown) or 'a stray &'}): {tex}")
    return made.replace('display="block"', 'display="inline" displaystyle="true"')  # a block would be centred


def block(source: str, _language: str, css_class: str, *_: Any, **__: Any) -> str:
    """Return what a block of the language ``math`` becomes: a grid of left sides, right sides and remarks.

    MathML has no line breaks, so remarks are set as text beside their formula, or below it where the screen is narrow.
    """
    rows = _ALIGNED.sub("", source).strip().split("\\\\\n")
    cells = "".join(_row(row) for row in rows)
    return f'<div class="{css_class}" tabindex="0" role="group" aria-label="formula">{cells}</div>'


def _row(tex: str) -> str:
    sides, _, remark = tex.strip().partition("&&")
    left, aligned, right = sides.partition("&")
    if not aligned:
        left, right = "", sides
    cells = (mathml(left, "block") if left.strip() else "", mathml(right, "block"), _remark(remark))
    return "".join(f"<div>{cell}</div>" for cell in cells)


def _remark(tex: str) -> str:
    """Return a remark, words in braces with signs between, such that it can be wrapped."""
    parts = re.split(r"\\text\{([^{}]*)\}", tex)
    said = [escape(p) if k % 2 else mathml(p, "inline") if p.strip() else "" for k, p in enumerate(parts)]
    return "".join(said).strip()


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]  # noqa: N802 - the library's
        """Keep what is made from everything that reads text."""
        return self.md.htmlStash.store(mathml(m[1], "inline")), m.start(0), m.end(0)


class Formulas(Extension):
    """Formulas in running text."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - named by the library
        """Look for them before code in backticks."""
        md.inlinePatterns.register(_Inline(r"\$`([^`]+)`\$", md), "formulas", BEFORE_CODE)
