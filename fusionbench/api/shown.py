"""Results as a notebook shows them: the answer and the decision table as HTML, curves as a picture."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusionbench.analysis.sheets import flat_names
from fusionbench.analysis.words import metric_name
from fusionbench.config.sections import REFERENCES
from fusionbench.plan.lines import Line, lines_of
from fusionbench.report.charts.drawing import COLOURS, DASHES, MARKERS, TOGETHER

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_BETTER = ("transparent", "#e3eef8", "#c3dbf0", "#94c0e3", "#61a3d6")
_WORSE = ("transparent", "#fdeee2", "#fbd9bd", "#f6bb8b", "#ee9a58")
_MOST_NOTES = 12


def as_html(record: Mapping[str, Any], failures: Mapping[str, str], page: Path | None) -> str:
    """Return the question, three sentences, what weakens them, and the decision table.

    Args:
        record: Of the run.
        failures: By name of a model, why it could not be trained.
        page: Of the run; None: there is none.
    """
    answer, parts = record.get("answer"), list[str]()
    marked = "display:inline-block;background:#ffd54a;color:#000;font-weight:bold;padding:0 .5em"
    parts += [f'<p><span style="{marked}">{html.escape(ribbon)}</span></p>' for ribbon in record["ribbons"]]
    if answer is None:
        parts.append("<p>Nothing could be scored.</p>")
    else:
        parts.append(f"<p><b>{html.escape(answer['question'])}</b></p>")
        sentences = "".join(f"<li>{html.escape(answer[k])}</li>" for k in ("average", "missing", "cost"))
        parts.append(f"<ul>{sentences}</ul>")
    if failures:
        failed = "".join(
            f"<li>{html.escape(n)}: {html.escape(r)}</li>" for n, r in list(failures.items())[:_MOST_NOTES]
        )
        parts.append(f"<p><b>{len(failures)} models failed</b>; the next run tries them again</p><ul>{failed}</ul>")
    if record.get("decision"):
        parts.append(_table(record["decision"]))
    if record["notes"]:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in record["notes"][:_MOST_NOTES])
        more = len(record["notes"]) - _MOST_NOTES
        rest = f"<li>and {more} more in <code>.notes</code></li>" if more > 0 else ""
        parts.append(f"<details><summary>what weakens these numbers</summary><ul>{notes}{rest}</ul></details>")
    if page is not None:
        parts.append(f"<p>report: <code>{html.escape(str(page))}</code></p>")
    return f'<div class="fusionbench">{"".join(parts)}</div>'


def _table(decision: Mapping[str, Any]) -> str:
    groups = "".join(
        f'<th colspan="{count}" style="text-align:center">{html.escape(name)}</th>'
        for name, count in decision["groups"]
    )
    heads = "".join(f"<th>{html.escape(title)}</th>" for title in decision["columns"])
    rows = []
    for cells, shades in zip(decision["rows"], decision["shades"], strict=True):
        name, *others = cells
        shown = "".join(_cell(cell, shade) for cell, shade in zip(others, shades[1:], strict=True))
        rows.append(f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>{shown}</tr>')
    caption = f'<p style="max-width:60em"><small>{html.escape(decision["caption"])}</small></p>'
    return f"<table><thead><tr>{groups}</tr><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{caption}"


def _cell(text: str, shade: int | None) -> str:
    colour = (_BETTER if (shade or 0) > 0 else _WORSE)[min(abs(shade or 0), 4)]
    ink = ";color:#000" if shade else ""  # the page may be dark
    return f'<td style="text-align:right;background:{colour}{ink}">{html.escape(text)}</td>'


def drawn(curves: pd.DataFrame, metric: str, patterns: Sequence[str], record: Mapping[str, Any]) -> Figure:
    """Draw curves, one panel for each pattern.

    Args:
        curves: As :attr:`Results.curves` has them.
        metric: What is drawn.
        patterns: The panels.
        record: Of the run: names of lines, and what the picture must say of its numbers.
    """
    from matplotlib.figure import Figure as Base

    class Figure(Base):
        """A figure that a notebook shows without being told which backend it has."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=110)
            return file.getvalue()

    (name,) = flat_names([metric])
    figure = Figure(figsize=(4.2 * len(patterns) + 1.8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(patterns), sharey=True, squeeze=False)[0]
    called = {Line(p["strategy"], p["imputer"], p["variant"] or ""): p["called"] for p in record["points"]}
    lines = [line for line in lines_of(curves.fillna({"variant": ""})) if line.strategy not in REFERENCES]
    for panel, pattern in zip(panels, patterns, strict=True):
        for number, line in enumerate(lines):
            mine = curves[line.rows_of(curves) & (curves["pattern"] == pattern)].sort_values("rate")
            style = {"color": COLOURS[number % 8], "marker": MARKERS[number % 8], "linestyle": DASHES[number % 6]}
            panel.plot(100 * mine["achieved"], mine[name], label=called.get(line, line.label), markersize=4, **style)
            if len(lines) <= TOGETHER // 2:
                ends = (mine[f"{name}_low"].astype(float), mine[f"{name}_high"].astype(float))
                panel.fill_between(100 * mine["achieved"], *ends, color=style["color"], alpha=0.12, linewidth=0)
        panel.set_title(f"missing: {pattern}", fontsize=10)
        panel.set_xlabel("really missing, percent")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(metric_name(metric))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.5)
    figure.suptitle("\n".join(record["ribbons"]), fontsize=9)
    return figure
