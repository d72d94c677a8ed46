"""Execute the notebook of the documentation again: ``docs/notebook.ipynb`` is its own source.

    python tools/run_notebook.py

It needs a kernel (``pip install -e '.[notebook]'``) and runs in an empty folder. What is stored is without folders, times and
versions of this machine.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"
SECONDS = 600
_ELSEWHERE = re.compile(r"/[^\s<>'\"]*/runs/")
_TOOK = re.compile(r"; \d+:\d\d(:\d\d)?(?=<)")


def executed(path: Path, folder: Path) -> Any:
    """Run every cell of a notebook in a folder, and return it with what came of them.

    Args:
        path: The notebook.
        folder: Where its cells write.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources=resources).execute()


def scrubbed(book: Any) -> Any:
    """Take away what is of this machine: folders, times, versions of its kernel."""
    import nbformat

    found = nbformat.reads(_TOOK.sub("", _ELSEWHERE.sub("runs/", nbformat.writes(book))), as_version=4)
    found.metadata = {"kernelspec": found.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in found.cells:
        cell.metadata = {}
    return found


def main() -> None:
    """Execute it, and write it."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        book = scrubbed(executed(NOTEBOOK, Path(folder)))
    NOTEBOOK.write_text(nbformat.writes(book) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
