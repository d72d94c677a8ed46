"""What tests of the report share: a run that has everything, and how its page is read."""

from __future__ import annotations

from html.parser import HTMLParser

from fusionbench.report import Picture

RIBBON = "SYNTHETIC DATA: no patient is in it"
CHANGES = {
    "name": "reported",
    "question": "Which line is <higher>?",
    "strategies": [
        {"name": "concat", "imputers": ["zero", "mean"]},
        {"name": "concat", "label": "hiding", "corruption": {"policy": "bernoulli", "rate": 0.3}},
        {"name": "unimodal", "modality": "a", "label": "a only"},
    ],
    "missingness": {"patterns": ["random", "a"], "rates": [0, 0.5]},
    "tuning": {"trials": 2, "common": {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}},
}


class Page(HTMLParser):
    """Opened tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def section(page, anchor):
    return page.partition(f'<section id="{anchor}"')[2].partition("</section>")[0]


def blocks_of(found, kind):
    return [b for b in found.blocks if isinstance(b, kind)]


def without_pictures(patch):
    """Pictures cost most of the time; where they are not looked at they are not drawn."""
    patch.setattr(
        "fusionbench.report.charts.drawing.draw", lambda name, *_, **__: Picture("<svg/>", "", "", name, 1, b"x")
    )
