"""The page in a real browser: Debian's Chromium, where there is one."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from PIL import Image

from tests.helpers.chromium import NARROW, WIDE, has_no_horizontal_scroll, launched
from tests.helpers.coloured import picture
from tests.unit.browse.site import (
    HOSTILE,
    MARKUP,
    Site,
    coloured_index,
    fake_asking,
    finder_of,
    on_disk,
    served,
    server_of,
    table_of,
    write_run,
)
from vqa_ray import schema
from vqa_ray.browse.dataset import Collection, open_collection
from vqa_ray.browse.search import Finder, SearchHits
from vqa_ray.browse.server import Server, Settings
from vqa_ray.images.decoder import ImageLimits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
# Far more than it takes, for machines that have much else to do.
sync_api.expect.set_options(timeout=30_000)

COUNT = 30


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


class Tab:
    """A page of the browser that has told no error when it is closed."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.told: list[str] = []
        page.on("pageerror", lambda error: self.told.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.told.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # What the server refuses is told in the console too; that is no fault of the page's.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            self.told.append(f"{message.type}: {message.text}")

    def names(self) -> list[str]:
        """What the cards on the page are called."""
        return [text.strip() for text in self.page.locator(".card .name bdi:last-child").all_inner_texts()]

    def told_status(self, text: str) -> None:
        """Wait until the status line holds a text."""
        sync_api.expect(self.page.locator("#summary")).to_contain_text(text)


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(30_000)
    tab = Tab(page)
    yield tab
    page.close()
    assert tab.told == []


def index_of(place: Path) -> Collection:
    """30 one-colour images that can be verified; row 4 is in error, and tags come from a run."""
    coloured_index(place / "index", COUNT, **on_disk(place / "images", [picture(row) for row in range(COUNT)]))
    rows = [{"tags": ["size:big"], "size": "big", "size_score": 0.75} for _ in range(10)]
    tags = write_run(place / "tags", "tag", table_of(schema.tag_schema([("size", False)]), rows))
    return open_collection(str(place / "index"), tags=tags)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(limits=ImageLimits(max_image_bytes=50_000))
    with served(server_of(index_of(tmp_path_factory.mktemp("site")), asking=fake_asking(), settings=settings)) as site:
        yield site


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Names, tags, questions and reasons that hold markup and worse."""
    rows = [
        {
            "image_id": text,
            "question": text,
            "answer": text,
            "answer_score": 0.5,
            "answers": [{"answer": text, "score": 0.5}],
            "warning": text,
            "kind": text,
        }
        for text in HOSTILE
    ]
    rows[1] |= {"status": "error", "error_code": "row_malformed", "error_message": MARKUP, "answers": None}
    form = schema.with_kept(schema.ANSWER, [pa.field("kind", pa.string())])
    run = write_run(tmp_path_factory.mktemp("hostile"), "answer", table_of(form, rows))
    with served(server_of(open_collection(run))) as site:
        yield site


def test_searching_in_place_and_going_back(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    page.evaluate("window.same = true")
    tab.told_status("30 rows")
    page.keyboard.press("/")
    page.keyboard.type("a red mug")
    page.keyboard.press("Enter")
    tab.told_status("29 images, most similar first")
    assert tab.names()[:3] == ["0.jpg", "8.jpg", "12.jpg"]
    assert page.url == f"{site.url}/?text=a+red+mug"
    assert page.title() == "a red mug · index"
    page.go_back()
    tab.told_status("30 rows")
    assert page.locator("#text").input_value() == ""
    assert page.evaluate("window.same"), "the page was not loaded anew"


def test_narrowing_by_facets_and_tags(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    page.get_by_role("checkbox", name="green").check()
    tab.told_status("8 of 30 rows")
    assert tab.names() == [f"{row}.jpg" for row in range(1, COUNT, 4)]
    assert page.evaluate("document.activeElement.value") == "green", "focus stays for the next one"
    page.get_by_role("checkbox", name="blue").check()
    tab.told_status("15 of 30 rows")
    page.locator(".chips a", has_text="big").first.click()
    tab.told_status("5 of 30 rows")
    page.get_by_role("link", name="colour: green: remove").click()
    tab.told_status("2 of 30 rows")
    assert page.url == f"{site.url}/?f.colour=blue&f.size=big"


def test_an_error_row_says_why(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    page.get_by_role("checkbox", name="error", exact=False).first.check()
    tab.told_status("1 of 30 rows")
    card = page.locator(".card.error")
    assert "image_undecodable" in card.inner_text()
    assert "images/4.jpg: not an image" in card.inner_text()


def test_hits_are_verified(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    page.fill("#text", "red blue")
    page.fill("#verify", '"what colour is it?" = "red"')
    page.keyboard.press("Enter")
    tab.told_status("7 of the 29 most similar match")
    assert page.locator(".verdict.match").count() == 7
    assert page.locator(".card").nth(0).locator(".verdict.match").count() == 1
    page.get_by_label("matches only").check()
    tab.told_status("7 match")
    assert len(tab.names()) == 7
    page.fill("#verify", '"what colour is it?" and or')
    page.keyboard.press("Enter")
    problem = page.get_by_role("alert")
    problem.wait_for()
    assert "wanted a question in quotes, found `or`" in problem.inner_text()
    lines = problem.locator("pre").inner_text().splitlines()
    assert lines[0][lines[1].index("^") :] == "or"


def test_the_keyboard_alone(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)

    def focused() -> str:
        return str(
            page.evaluate(
                """() => {
                  const it = document.activeElement;
                  return it.matches(".open") ? it.querySelector(".name bdi:last-child").textContent : it.id;
                }"""
            )
        )

    page.keyboard.press("/")
    assert focused() == "text"
    page.keyboard.press("Escape")
    assert focused() == ""
    page.keyboard.press("ArrowDown")
    assert focused() == "0.jpg"
    page.keyboard.press("ArrowRight")
    assert focused() == "1.jpg"
    columns = page.evaluate("getComputedStyle(document.querySelector('.cards')).gridTemplateColumns.split(' ').length")
    page.keyboard.press("ArrowDown")
    assert focused() == f"{1 + columns}.jpg"
    page.keyboard.press("End")
    assert focused() == "23.jpg"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator("dialog[open]").wait_for()
    assert "row_id" in page.locator("dialog").inner_text()
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("dialog h1")).to_have_text("images/1.jpg")
    page.keyboard.press("Escape")
    # Focus is where the row was.
    sync_api.expect(page.locator("[data-open]").nth(1)).to_be_focused()
    page.keyboard.press("]")
    sync_api.expect(page.locator(".pages")).to_contain_text("page 2 of 2")
    assert focused() == "24.jpg"
    page.keyboard.press("[")
    sync_api.expect(page.locator(".pages")).to_contain_text("page 1 of 2")
    page.keyboard.press("ArrowUp")
    assert focused() == "text"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "what has focus shows it"


def test_a_slash_is_typed_where_one_types(tab: Tab, site: Site) -> None:
    tab.page.goto(site.url)
    tab.page.locator("#verify").focus()
    tab.page.keyboard.type("a/b]")
    assert tab.page.locator("#verify").input_value() == "a/b]"


def test_an_image_is_chosen_dropped_and_taken_away(tab: Tab, site: Site, tmp_path: Path) -> None:
    page = tab.page
    page.goto(site.url)
    (tmp_path / "blue.jpg").write_bytes(picture(2))
    page.set_input_files("#file", tmp_path / "blue.jpg")
    tab.told_status("29 images")
    assert tab.names()[:7] == [f"{row}.jpg" for row in range(2, COUNT, 4)]
    assert page.locator("#query-picture img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 40
    page.get_by_label("Search without this image").click()
    tab.told_status("30 rows")
    dropped = page.evaluate_handle(
        """bytes => {
          const given = new DataTransfer();
          given.items.add(new File([new Uint8Array(bytes)], '<img src=x onerror=alert(1)>.jpg', {type: 'image/jpeg'}));
          return given;
        }""",
        list(picture(1)),
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("main", event, {"dataTransfer": dropped})
    tab.told_status("29 images")
    assert tab.names()[0] == "1.jpg"
    assert page.locator("#dropping").is_hidden()


def test_an_image_that_cannot_be_searched_by_is_told(tab: Tab, site: Site, tmp_path: Path) -> None:
    page = tab.page
    page.goto(site.url)
    (tmp_path / "broken.jpg").write_bytes(picture(2)[:300])
    page.set_input_files("#file", tmp_path / "broken.jpg")
    tab.told_status("this image cannot be searched by")
    tab.told_status("image_undecodable")
    noise = io.BytesIO()
    Image.effect_noise((400, 400), 90).save(noise, "PNG")
    (tmp_path / "large.png").write_bytes(noise.getvalue())
    page.set_input_files("#file", tmp_path / "large.png")
    tab.told_status("the image is larger than 0.0477 MiB")
    assert page.locator("#said").inner_text() == page.locator("#summary").inner_text(), "it is read out too"
    # Whatever the page checks, the server does too.
    page.evaluate("document.getElementById('file').dataset.maxBytes = 1e9")
    with page.expect_response("**/image") as answered:
        page.set_input_files("#file", tmp_path / "large.png")
    assert answered.value.status == 413
    tab.told_status("the image is larger than 0.0477 MiB")


def test_rows_like_a_row(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    page.get_by_label("Images like images/2.jpg").click()
    tab.told_status("29 images")
    assert tab.names()[:7] == [f"{row}.jpg" for row in range(2, COUNT, 4)]
    assert page.locator("#query-picture img").get_attribute("src") == "/thumbnail/2"


def test_markup_in_data_and_questions_stays_text(tab: Tab, hostile: Site) -> None:
    page = tab.page
    page.goto(hostile.url)
    title = page.title()
    shown = page.locator("main").inner_text()
    assert shown.count("<script>document.title=") >= 4
    for each in range(len(HOSTILE)):
        page.locator("[data-open]").nth(each).click()
        page.locator("dialog[open] h1").wait_for()
        page.keyboard.press("Escape")
        page.locator("dialog[open]").wait_for(state="detached")
    page.fill("#text", MARKUP)
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#summary")).to_contain_text("of 9 rows")
    assert page.locator("#text").input_value() == MARKUP
    assert page.title() == f"{MARKUP} · {title}"
    page.goto(f"{hostile.url}/?f.kind={MARKUP.replace('&', '%26')}")
    assert page.locator(".selected bdi").inner_text() == f"kind: {MARKUP}"
    page.locator(".selected a").click()
    tab.told_status("9 rows")
    assert page.locator("img[src='x']").count() == 0
    assert page.evaluate("document.scripts.length") == 1


def test_a_name_from_right_to_left_turns_nothing_else(tab: Tab, hostile: Site) -> None:
    tab.page.goto(hostile.url)
    told = tab.page.locator(".name bdi", has_text="gpj").first
    assert told.evaluate("each => getComputedStyle(each).unicodeBidi") == "isolate"


@pytest.mark.parametrize(
    "path", ["/", "/?text=red&verify=is+it+red", "/?f.status=error", "/?page=x", "/row/4", "/nothing"]
)
def test_fits_a_narrow_screen(tab: Tab, site: Site, path: str) -> None:
    tab.page.set_viewport_size(NARROW)
    tab.page.goto(site.url + path)
    assert has_no_horizontal_scroll(tab.page)


@pytest.mark.parametrize("path", ["/", "/row/8", "/?text=nothing-at-all", "/?f.kind=" + "x" * 400])
def test_long_and_hostile_names_fit_a_narrow_screen(tab: Tab, hostile: Site, path: str) -> None:
    tab.page.set_viewport_size(NARROW)
    tab.page.goto(hostile.url + path)
    assert has_no_horizontal_scroll(tab.page)
    if tab.page.locator("#facets summary").count():
        tab.page.locator("#facets summary").click()
        assert tab.page.locator("#facets fieldset").first.is_visible()
        assert has_no_horizontal_scroll(tab.page)


def test_facets_are_folded_on_a_narrow_screen_and_open_on_a_wide_one(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)
    assert page.locator("#facets").get_attribute("open") is not None
    page.set_viewport_size(NARROW)
    sync_api.expect(page.locator("#facets")).not_to_have_attribute("open", "")


def test_light_and_dark(tab: Tab, site: Site) -> None:
    page = tab.page
    page.goto(site.url)

    def lightness() -> int:
        told = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in told.removeprefix("rgb(").removesuffix(")").split(","))

    light = lightness()
    page.emulate_media(color_scheme="dark")
    assert light > 600
    assert lightness() < 150


class HeldFinder(Finder):
    """A finder that waits to be let through."""

    gate: threading.Event

    def find(self, query: Any, among: Any, expression: str = "") -> SearchHits:
        assert self.gate.wait(30)
        return super().find(query, among, expression)


def test_escape_stops_a_search(tab: Tab, tmp_path: Path) -> None:
    collection = coloured_index(tmp_path)
    finder = finder_of(collection)
    finder.__class__ = HeldFinder
    finder.gate = threading.Event()  # type: ignore[attr-defined]
    page = tab.page
    with served(Server(collection, finder)) as site:
        page.goto(site.url)
        page.fill("#text", "red")
        page.keyboard.press("Enter")
        page.locator("#waiting").wait_for(state="visible")
        page.keyboard.press("Escape")
        tab.told_status("Stopped.")
        assert page.locator("#waiting").is_hidden()
        finder.gate.set()  # type: ignore[attr-defined]
        page.keyboard.press("Enter")
        tab.told_status("29 images")
        # Before the server goes: pictures may still be on their way.
        page.goto("about:blank")


def test_a_server_that_is_gone_is_told(tab: Tab, tmp_path: Path) -> None:
    page = tab.page
    with served(server_of(coloured_index(tmp_path))) as site:
        page.goto(site.url, wait_until="networkidle")
    page.fill("#text", "red")
    page.keyboard.press("Enter")
    tab.told_status("No answer: is vqa-ray browse still running?")
    # Refused, or a connection that was open when the server went.
    assert all("net::ERR_" in told for told in tab.told)
    tab.told.clear()


def test_works_without_scripts(browser: Browser, site: Site) -> None:
    page = browser.new_context(java_script_enabled=False, viewport=WIDE).new_page()
    page.goto(site.url)
    page.fill("#text", "blue")
    page.locator("#facets summary").click()
    page.get_by_role("checkbox", name="blue").check()
    page.get_by_role("button", name="Search", exact=True).click()
    assert "7 images" in page.locator("#summary").inner_text()
    page.locator("[data-open]").first.click()
    assert page.locator("h1").inner_text() == "images/2.jpg"
    page.context.close()
