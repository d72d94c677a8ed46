"""The notebook of the documentation as a page of the site: its text, its code, and what came of each cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOK, PAGE = "notebook.ipynb", "notebook.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    book = json.loads((Path(config.docs_dir) / NOTEBOOK).read_text(encoding="utf-8"))
    files.append(File.generated(config, PAGE, content=as_markdown(book)))
    return files


def as_markdown(book: Mapping[str, Any]) -> str:
    """Return a notebook that was executed as a page."""
    return "\n\n".join(part for cell in book["cells"] for part in _parts(cell)) + "\n"


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    yield from filter(None, map(_shown, cell["outputs"]))


def _shown(output: Mapping[str, Any]) -> str:
    """What a cell shows: HTML as it is, a picture in the page, text as a terminal has it."""
    data = output.get("data", {})
    if "text/html" in data:
        # a blank line would end the HTML
        return f"<div>{''.join(data['text/html']).replace(chr(10) * 2, chr(10))}</div>"
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="What the cell above draws" src="data:image/png;base64,{picture}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
