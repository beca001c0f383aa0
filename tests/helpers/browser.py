"""Real Chromium through Playwright; tests that need it skip where it is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str:
    """Return the path of Chromium; skips the test without it."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine (apt-get install chromium)")
    return path


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start Chromium, and end it with the block."""
    path = find_chromium()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # of a busy machine

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Any, address: str, **settings: Any) -> Iterator[Any]:
    """Open an address in a context of its own; errors of its scripts fail the block."""
    context = browser.new_context(**settings)
    context.set_default_timeout(20_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda message: (
            errors.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    page.goto(address)
    try:
        yield page
        assert not errors, errors
    finally:
        context.close()
