"""A real Chromium, and what went wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright

# Nothing but the pages themselves: no update, no safe-browsing list, no first-run page.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TIMEOUT_MS = 15_000


def executable() -> str:
    """Return the browser's path; a missing one is an error, since a skipped test of pages tests nothing."""
    path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(path).exists():
        pytest.fail(f"{path} is not there: `apt-get install chromium`, or name a Chromium in CHROMIUM")
    return path


class Complaints:
    """Messages of the console, failed scripts, answers that are errors, requests that leave the server."""

    def __init__(self, page: Page, *, home: str) -> None:
        self.home = home
        self.found: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on("request", self._request)
        page.on("response", lambda answer: self._status(answer.status, answer.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.home}/", "data:", "blob:")):
            self.found.append(f"another host: {request.url}")

    def _status(self, status: int, url: str) -> None:
        if status >= 400:
            self.found.append(f"{status}: {url}")


@contextmanager
def open_page(home: str) -> Iterator[tuple[Page, Complaints]]:
    """Open a browser with an empty profile; paths are relative to `home`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            page = browser.new_page(base_url=home, viewport={"width": 1440, "height": 900})
            page.set_default_timeout(TIMEOUT_MS)
            yield page, Complaints(page, home=home)
        finally:
            browser.close()
