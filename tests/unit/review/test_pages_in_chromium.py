"""A review by its keys, and a report at every width, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.helpers.chromium import NARROW, WIDE, has_no_horizontal_scroll, launched, weakest_contrast
from tests.helpers.coloured import picture
from tests.helpers.evaluations import evaluated, write_evaluation
from tests.unit.browse.site import HOSTILE, MARKUP, served, table_of, write_run
from tests.unit.review.reviews import answer_run, answered, server_of
from vqa_ray import schema
from vqa_ray.browse.server import Server
from vqa_ray.report.evaluation_report import evaluation_report
from vqa_ray.report.report_page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def watched(page: Page) -> list[str]:
    """What the page says in its console, of errors."""
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    return told


def test_a_review_by_its_keys(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    server, _ = server_of(answer_run(tmp_path, 5), file)
    with served(cast("Server", server)) as site:
        page = browser.new_page(viewport=WIDE)
        told = watched(page)
        page.goto(site.url)
        for key, number in (("1", 1), ("2", 2)):
            page.keyboard.press(key)
            page.wait_for_url(f"**/item/{number}")
        page.keyboard.press("3")
        # A key in the field is text, not a verdict.
        page.keyboard.type("12 su")
        page.keyboard.press("Enter")
        page.wait_for_url("**/item/3")
        page.keyboard.press("s")
        page.wait_for_url("**/item/4")
        page.keyboard.press("1")
        page.wait_for_url("**/item/3")
        page.keyboard.press("u")
        page.wait_for_url("**/item/4")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url("**/item/3")
        assert page.locator(".large img").evaluate("image => image.complete && image.naturalWidth > 0")
        verdicts = [json.loads(line) for line in file.read_text().splitlines()]
        assert [each["verdict"] for each in verdicts] == ["right", "wrong", "other"]
        assert verdicts[2]["answer"] == "12 su"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert weakest_contrast(page, "main *, header *") >= 4.5
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        assert has_no_horizontal_scroll(page)
        # Everything is in reach without scrolling.
        assert page.locator("#undo").bounding_box()["y"] < NARROW["height"]  # type: ignore[index]
        page.close()
        assert told == []


def test_any_text_fits_the_page_of_a_review(browser: Browser, tmp_path: Path) -> None:
    rows = [answered(text, question=text, image_id=text) for text in HOSTILE]
    run = write_run(tmp_path / "run", "answer", table_of(schema.ANSWER, rows))
    server, review = server_of(run, tmp_path / "labels.jsonl")
    with served(cast("Server", server)) as site:
        page = browser.new_page(viewport=NARROW)
        told = watched(page)
        for number in range(len(review.items)):
            review.judge(number, "other", "y" * 400)
            page.goto(f"{site.url}/item/{number}")
            assert has_no_horizontal_scroll(page)
            assert page.title() == f"{number + 1} of {len(HOSTILE)} · run"
        page.close()
        assert [text for text in told if "404" not in text] == []


def test_a_report_reads_at_every_width_and_in_the_dark(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(picture(0))
    rows: list[dict[str, Any]] = [
        evaluated(
            text, text, MARKUP, question=text, kind=text, confidence=number / 10, image_uri=str(tmp_path / "0.jpg")
        )
        for number, text in enumerate(HOSTILE)
    ]
    rows += [evaluated(str(number), "a", "a", confidence=number / 20, kind="x" * 90) for number in range(20)]
    rows += [evaluated("f", None, "a", outcome="failed", error_code="image_missing", question="q" * 300, kind="x")]
    record = write_evaluation(tmp_path / "evaluation", rows, by=["kind"], title="y" * 120, notes=["z" * 200])
    write_report(str(tmp_path / "report.html"), evaluation_report(str(tmp_path / "evaluation"), record))
    page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
    told = watched(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("summary").click()
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert has_no_horizontal_scroll(page)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert weakest_contrast(page, "h1, h2, p, th, td, dt, dd, small, svg text, figcaption") >= 4.5
    plots = page.locator(".plot svg")
    assert plots.count() == 3
    assert all(plots.nth(number).bounding_box()["width"] > 300 for number in range(3))  # type: ignore[index]
    assert page.title().startswith("y")
    page.close()
    assert told == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
