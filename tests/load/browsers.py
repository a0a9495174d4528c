"""Browsers of a load test: contexts of one headless Chromium, each with cookies, cache and session of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from websockets.sync.client import connect

from tests.dashboards.test_browser import CHROMIUM, FLAGS, Tab, until

# A tab that nobody looks at is slowed down otherwise.
_AWAKE = (
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-dev-shm-usage",
)
_READY = """(() => {
  const app = document.querySelector('[data-testid=stApp]');
  const title = document.querySelector('h1');
  return app && title && app.dataset.testScriptState === 'notRunning' ? title.innerText : '';
})()"""
_STATE = """(() => {
  const app = document.querySelector('[data-testid=stApp]');
  const states = app ? [app.dataset.testScriptState, app.dataset.testConnectionState] : ['no app'];
  return [document.readyState, location.href, ...states].join(' ');
})()"""
_BROKEN = "document.querySelectorAll('[data-testid=stException]').length"
BAD_TITLES = ("These results cannot be shown", "No results yet", "Page not found")
_POLL = 0.2


@contextmanager
def browsers(count: int) -> Iterator[list[Tab]]:
    """So many tabs, no two of which share a session."""
    assert CHROMIUM is not None
    with (
        tempfile.TemporaryDirectory(prefix="bench-profile-", ignore_cleanup_errors=True) as profile,
        ExitStack() as stack,
    ):
        command = [CHROMIUM, *FLAGS, *_AWAKE, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        file = Path(profile) / "DevToolsActivePort"
        until(lambda: file.is_file() and file.read_text().count("\n") > 0, "Chromium to start", 120)
        host = f"127.0.0.1:{file.read_text().splitlines()[0]}"
        with urllib.request.urlopen(f"http://{host}/json/version", timeout=60) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        whole = Tab(stack.enter_context(connect(address, max_size=None, ping_interval=None)))
        tabs = []
        for _ in range(count):
            context = whole.call("Target.createBrowserContext")["browserContextId"]
            target = whole.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
            page = connect(f"ws://{host}/devtools/page/{target}", max_size=None, open_timeout=120, ping_interval=None)
            tabs.append(tab := Tab(stack.enter_context(page)))
            # Without a graphics card, the moving placeholders of twenty waiting pages take both cores.
            reduced = [{"name": "prefers-reduced-motion", "value": "reduce"}]
            tab.call("Emulation.setEmulatedMedia", features=reduced)
            tab.call("Animation.enable")
            tab.call("Animation.setPlaybackRate", playbackRate=0)
        yield tabs


def visit(tab: Tab, url: str, seconds: float) -> float:
    """Opens a page and waits until it shows its title and is at rest; returns how many seconds that took.

    Raises:
        RuntimeError: it shows an error, or is not there in time.
    """
    began = time.perf_counter()
    tab.call("Page.navigate", url=url)
    while time.perf_counter() - began < seconds:
        title = tab.evaluate(_READY)
        if title in BAD_TITLES or tab.evaluate(_BROKEN):
            raise RuntimeError(f"{url}: {tab.text()[:2000]}")
        if title:
            return time.perf_counter() - began
        time.sleep(_POLL)
    shown = tab.evaluate(_STATE)
    raise RuntimeError(f"{url}: not there within {seconds:.0f} s; {shown}, {tab.text()[:300]!r}")
