"""A gallery in a real browser: Debian's Chromium, where there is one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.coloured import picture
from vqa_ray.report.card import Card
from vqa_ray.report.gallery import Header, write_gallery

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("VQA_RAY_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium")
def test_many_cards_are_shown_a_page_at_a_time_on_a_narrow_screen(tmp_path: Path) -> None:
    cards = [
        Card(f"photos/{number:03}.jpg", picture(number), tags=("last",) if number > 60 else ("first",))
        for number in range(100)
    ]
    write_gallery(str(tmp_path / "page.html"), Header("vqa-ray tag", "fake: over photos", 100), cards)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 380, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "page.html").as_uri())
        shown = page.locator(".card:visible")
        assert (shown.count(), page.locator(".pages span").text_content()) == (24, "page 1 of 5")
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        page.get_by_role("button", name="Next").click()
        assert shown.first.locator(".name").text_content() == "photos/024.jpg"
        top, bar = shown.first.bounding_box()["y"], page.locator(".filters").bounding_box()["height"]
        assert bar <= top < bar + 100, "the page begins with its first card, below the filters"
        page.select_option("select[name=tag]", "last")
        assert (shown.count(), page.locator(".pages span").text_content()) == (24, "page 1 of 2")
        assert page.locator("output").text_content() == "39 of 100 images"
        page.get_by_role("button", name="Next").click()
        assert shown.count() == 15
        assert page.get_by_role("button", name="Next").is_disabled()
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        page.fill("input[name=text]", "photos/070")
        assert (shown.count(), page.locator(".pages").is_visible()) == (1, False)
        assert errors == []
        browser.close()
