"""What a notebook shows of results."""

from __future__ import annotations

import html
import re

from fusionbench.api.shown import as_html

EMPTY = {"ribbons": ["MARK"], "answer": None, "notes": [], "decision": None}


def test_the_answer_and_the_decision_table_are_shown(ran):
    results, _ = ran
    page = results._repr_html_()
    text = html.unescape(re.sub("<[^>]*>", " ", page))
    assert all(" ".join(sentence.split()) in " ".join(text.split()) for sentence in results.answer)
    assert "SYNTHETIC DATA" in text
    rows = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', page)
    assert set(rows) == {"Concat", "Sum", "plain", "prevalence"}
    assert page.count("<table>") == 1
    assert str(results.report()) in text
    assert "Time:" not in text


def test_names_are_text_and_failures_are_counted():
    page = as_html(EMPTY, {"<b>x</b>, fold 0": "<i>no</i>"}, None)
    assert "1 models failed" in page
    assert "&lt;b&gt;x" in page
    assert "<i>" not in page
    assert "Nothing could be scored" in page


def test_curves_are_drawn_and_are_a_picture_in_any_notebook(ran):
    results, _ = ran
    figure = results.plot()
    assert [panel.get_title() for panel in figure.axes] == ["missing: random", "missing: b"]
    assert len(figure.axes[0].lines) == 3
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "SYNTHETIC" in figure.get_suptitle()
    assert len(results.plot("b").axes) == 1
