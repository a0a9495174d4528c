"""The dashboard in a real browser: headless Chromium, driven through its remote-debugging websocket."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.dashboards.conftest import DASHBOARDS
from tests.dashboards.furnished import write_rich

CHROMIUM = shutil.which("chromium") or next((path for path in ("/usr/bin/chromium",) if os.access(path, os.X_OK)), None)
PAGES = {
    "": "× fewer labels",
    "curves": "Labels saved by number of labelled images",
    "sweep": "Trials of the search",
    "runs": "18 pretrainings",
    "claims": "not testable here",
    "returns": "reaches balanced accuracy",
    "export": "Take the results away",
}
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: neither `chromium` on PATH nor /usr/bin/chromium"),
]
T = TypeVar("T")


class Tab:
    """One tab of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the Chrome DevTools Protocol, and what it answers."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=30))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """What the page shows as text, figures included."""
        figures = "[...document.querySelectorAll('svg text')].map(text => text.textContent)"
        return str(self.evaluate(f"document.body.innerText + {figures}"))

    def wait(self, expression: str) -> None:
        """Waits until an expression is true."""
        until(lambda: bool(self.evaluate(expression)), f"{expression}; the page shows: {self.text()[:400]}")

    def open(self, url: str, words: str, width: int = 1400) -> None:
        """Opens a page and waits until it shows these words and is at rest."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=url)
        self.wait(f"document.body && document.body.innerText.includes({json.dumps(words)})")
        self.wait("document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'")

    def click(self, word: str, place: int = 0) -> None:
        """Clicks a button that has this word; the first of them, or another."""
        has_it = f"button => button.innerText.split(/\\s+/).includes({json.dumps(word)})"
        found = f"[...document.querySelectorAll('button')].filter({has_it})"
        self.wait(f"{found}.length > {place}")
        self.evaluate(f"{found}[{place}].click()")


def until(ready: Callable[[], T], what: str, seconds: float = 25.0) -> T:
    """Waits until something is so, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.1)
    pytest.fail(f"waited {seconds:g} s for {what}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a dashboard on synthetic results."""
    root = tmp_path_factory.mktemp("results")
    write_rich(root)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(DASHBOARDS / "app.py"),
        *options,
        "--",
        "--results",
        str(root),
    ]
    environment = os.environ | {"PYTHONPATH": str(DASHBOARDS.parent)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/_stcore/health"), "the dashboard to start", 60)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    assert CHROMIUM is not None
    profile = tmp_path_factory.mktemp("profile")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        until(lambda: port_file.is_file() and port_file.read_text().count("\n") > 0, "Chromium to start", 30)
        address = f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}/json/new?about:blank"
        with urllib.request.urlopen(urllib.request.Request(address, method="PUT")) as answer:
            target = json.load(answer)["webSocketDebuggerUrl"]
        with connect(target, max_size=None) as connection:
            yield Tab(connection)
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_at_every_width(site: str, tab: Tab, page: str) -> None:
    for width in (1400, 390):
        tab.open(f"{site}/{page}", PAGES[page], width)
        assert tab.evaluate("document.querySelectorAll('[data-testid=stException]').length") == 0
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_a_filter_changes_the_page_and_its_link(site: str, tab: Tab) -> None:
    tab.open(site, PAGES[""])
    tab.wait("document.querySelector('.js-plotly-plot') !== null")
    assert "simclr + finetune" in tab.text()
    tab.click("Filter")
    tab.click("mae")
    tab.wait("location.search.includes('method=mae')")
    until(lambda: "simclr + finetune" not in tab.text(), "the other methods to go")
    assert "mae[mask_ratio=0.75] + linear" in tab.text()


def test_a_link_brings_its_state(site: str, tab: Tab) -> None:
    tab.open(f"{site}/returns?target=0.75&label=2", "balanced accuracy 0.75")
    tab.wait("document.querySelector('input[type=number]')?.value === '2'")  # the field comes behind the title


def test_a_link_brings_a_target_and_the_budget_of_the_recalls(site: str, tab: Tab) -> None:
    tab.open(f"{site}/curves?target=0.7&budget=5", "Labels saved at balanced accuracy 0.70")
    until(lambda: "target 0.70" in tab.text(), "the target's line")
    tab.wait("document.body.innerText.includes('Recall by class')")
    tab.click("all")
    tab.wait("location.search.includes('budget=all') && location.search.includes('target=0.7')")


def test_a_selection_in_the_link_leads_to_the_runs(site: str, tab: Tab) -> None:
    tab.open(f"{site}/?compare=simclr+%2B+linear&metric=accuracy", "Pretrainings of simclr + linear")
    tab.wait("document.querySelector('.js-plotly-plot') !== null")
    until(lambda: "mae[mask_ratio=0.75]" not in tab.text().partition("Select lines")[2], "the others to go")
    address = tab.evaluate("document.querySelector('a[href*=\"runs?\"]').href")
    assert address == f"{site}/runs?method=simclr"
    tab.open(address, "Loss by epoch")
    assert tab.evaluate("location.search.includes('method=simclr')")


def test_a_download_has_the_bytes_of_the_selection(site: str, tab: Tab, tmp_path: Path) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.open(f"{site}/export?entrants=simclr+%2B+linear", PAGES["export"])
    assert "1 of 10 entrants" in tab.text()
    tab.click("CSV")
    path = tmp_path / "mae-mask-ratio-leaderboard.csv"
    until(lambda: path.is_file() and path.stat().st_size > 0, "the CSV file")
    table = pl.read_csv(path)
    assert table["entrant"].to_list() == ["simclr + linear"]
    assert table["score@1"][0] < table["score@all"][0] <= 1
    tab.click("Parquet", 1)
    path = tmp_path / "mae-mask-ratio-rows.parquet"
    until(lambda: path.is_file() and path.read_bytes()[-4:] == b"PAR1", "the Parquet file")
    rows = pl.read_parquet(path)
    assert set(rows["method"] + "+" + rows["protocol"]) == {"simclr+linear"}
    assert rows["correct"].null_count() == 0
