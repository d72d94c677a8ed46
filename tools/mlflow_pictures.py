"""The pictures of the tour of MLflow, from a dashboard that runs.

    fusionbench run benchmarks/demo.yaml --workspace /tmp/demo
    fusionbench dashboard --workspace /tmp/demo
    python tools/mlflow_pictures.py http://127.0.0.1:5000 docs/images

Experiments are found by their names. ``mlflow-trials.png`` needs trials, which the demo has none of, and is not made here.
"""

from __future__ import annotations

import io
import json
import sys
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

SIZE = {"width": 1440, "height": 900}
FLAGS = ["--no-sandbox", "--disable-gpu"]
DRAWN = 12_000  # milliseconds: charts are drawn one after the other


def experiments(address: str) -> dict[str, str]:
    """Return the number of each experiment by its name."""
    asked = urllib.request.Request(  # noqa: S310 - the dashboard of this machine
        f"{address}/api/2.0/mlflow/experiments/search",
        data=b'{"max_results": 100}',
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        return {e["name"]: e["experiment_id"] for e in json.load(answer)["experiments"]}


def keep(page: Page, target: Path) -> None:
    """Write what the window shows, with few colours, of which small ones are kept: dots tell lines apart."""
    page.wait_for_timeout(DRAWN)
    shown = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown.quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)


def opened(page: Page, address: str) -> None:
    """Go to an address as if it were the first one."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_timeout(DRAWN)


def main(address: str, target: str) -> None:
    """Make them all."""
    folder, known = Path(target), experiments(address)
    missing = f"{address}/#/experiments/{known['demo-missing']}/runs"
    view = "?compareRunsMode={}&workflowType=machine_learning&viewStateShareKey=fusionbench.0"
    both = json.dumps([known["demo-missing"], known["demo-absence"]], separators=(",", ":"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        opened(page, missing + view.format("CHART"))
        keep(page, folder / "mlflow-chart.png")
        page.locator("button[data-component-id='fullscreen_button_chartcard']").nth(1).click()
        keep(page, folder / "mlflow-one.png")
        opened(page, missing + view.format("TABLE"))
        keep(page, folder / "mlflow-table.png")
        runs = [a.get_attribute("href") or "" for a in page.locator("a[href*='/runs/']").all()]
        run, three = runs[0], json.dumps([r.rpartition("/")[2] for r in runs[:3]], separators=(",", ":"))
        compared = f'runs={three}&experiments=["{known["demo-missing"]}"]'
        opened(page, f"{address}/#/compare-runs?{compared}")
        page.get_by_text("Show diff only").first.click()
        keep(page, folder / "mlflow-compare.png")
        opened(page, f"{address}/{run}")
        page.get_by_text("Show more").first.click()
        keep(page, folder / "mlflow-run.png")
        opened(page, f"{address}/{run}/artifacts/report.html")
        keep(page, folder / "mlflow-artifacts.png")
        opened(page, f"{address}/#/compare-experiments/s?experiments={both}&compareRunsMode=CHART")
        keep(page, folder / "mlflow-two.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
