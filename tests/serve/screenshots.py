"""Take the pictures of the page for the docs: `python -m tests.serve.screenshots`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from m3rag import M3Index, M3Model
from m3rag.index.sync import sync
from tests.serve.conftest import serving
from tests.serve.test_page import CHROMIUM

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "img"
QUESTION = "¿Qué es un certificado X.509?"


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, M3Model.load("small") as model:
        index = M3Index.open(Path(folder) / "kb", model=model)
        sync(index, ROOT / "examples" / "lessons", model.tokenizer)
        with serving({"lessons": index}) as served, sync_playwright() as playwright:
            arguments = ["--no-sandbox"] if os.getuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            _take(browser, served.url, "page.png", (900, 760))
            _take(browser, served.url, "page-phone.png", (390, 760), dark=True, document=True)
            browser.close()


def _take(
    browser: Browser,
    url: str,
    name: str,
    size: tuple[int, int],
    *,
    dark: bool = False,
    document: bool = False,
) -> None:
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page.goto(url)
    page.get_by_label("Question, in any language").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer-note")).not_to_be_empty(timeout=60_000)
    if document:
        page.get_by_role("button", name="Passage 1", exact=True).click()
        expect(page.locator("dialog .found")).to_be_in_viewport()
    page.screenshot(path=IMAGES / name)
    page.close()


if __name__ == "__main__":
    main()
