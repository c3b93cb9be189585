"""The studio page in a real browser: Debian's Chromium, headless, with its fake camera.

The page's policy forbids evaluating strings, to Playwright too. So what is looked at is what a
person sees: elements, their text, pictures of them; only where sizes are asked for is the policy
put aside.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.serve.running import API, Paced, Running, running

import mien
from mien import provenance
from mien.bundles import BUILT_IN, built_in
from mien.images import load
from mien.studio import Studio

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect: Any = playwright.expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--no-sandbox",  # Chromium will not run as root with it
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
WAIT_MS = 90_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS), timeout=WAIT_MS
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def paced() -> Iterator[Paced]:
    """The studio of the service: its searches can be held while the page is looked at."""
    if not (BUILT_IN / "demo").exists():
        pytest.skip("the demo bundle is not built")
    with Paced() as opened:
        yield opened


@pytest.fixture(scope="module")
def served(paced: Paced, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service for the journeys: its faces are theirs."""
    with running(paced, tmp_path_factory.mktemp("jobs")) as one:
        yield one


@pytest.fixture
def visit(browser: Any, served: Running) -> Iterator[Callable[..., Any]]:
    """Opens the page as somebody new; what the browser complains of fails the test."""
    for job in served.client.get(f"{API}/jobs").json():  # the page brings their faces back
        served.client.delete(f"{API}/jobs/{job['id']}")
    contexts, complaints = [], []

    def opened(*, port: int | None = None, path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if "Policy" in m.text else None)
        page.goto(f"http://127.0.0.1:{port or served.port}{path}")
        page.locator("body[data-ready]").wait_for()
        return page

    expect.set_options(timeout=WAIT_MS)
    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def invented(page: Any, count: int) -> None:
    """Add faces that do not exist, which are ready at once."""
    before = page.locator(".face").count()
    for i in range(count):
        page.locator("#invent").dispatch_event("click")  # on a fresh page it is not shown yet
        expect(page.locator(".face")).to_have_count(before + i + 1)


class Gate:
    """Holds what a page asks to have drawn, until it is opened."""

    def __init__(self, page: Any) -> None:
        self._page, self._shut = page, True
        self._held: list[Any] = []
        page.route("**/draw", lambda route: self._came(route))

    def open(self) -> None:
        """Let the one request that is held go on, and those after it pass."""
        while not self._held:
            self._page.wait_for_timeout(20)
        self._shut = False
        (route,) = self._held
        route.continue_()

    def _came(self, route: Any) -> None:
        if self._shut:
            self._held.append(route)
        else:
            route.continue_()


def pixels(shot: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def drawn(page: Any) -> None:
    """Wait for the picture of the latest wish."""
    expect(page.locator("#compare")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_contain_text("Drawn in")


def test_from_a_photograph_to_a_saved_picture(
    visit: Callable[..., Any], served: Running, paced: Paced, portrait: Path, tmp_path: Path
) -> None:
    page = visit()
    after = page.locator("#compare .after")
    with paced.held():
        page.locator("#file").set_input_files(portrait)
        expect(page.locator("#photo figcaption")).to_have_text("1 face found")
        expect(page.locator("#photo polygon")).to_have_count(1)
        expect(page.locator(".face .name")).to_have_text("ada")
        expect(after).to_have_attribute("alt", re.compile("as found so far"))
        expect(page.locator("#progress-text")).to_contain_text("of 35")
    expect(page.locator(".face.waiting")).to_have_count(0)
    drawn(page)

    invented(page, 1)
    page.locator(".face").first.click()
    page.locator("#panel-blend .choice").nth(1).click()  # which takes its fine layers
    expect(page.get_by_label("Fine")).to_have_value("1")
    page.get_by_label("Happy").fill("0.5")
    expect(after).to_have_attribute("alt", "ada: Mix & express")
    drawn(page)

    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "mien-ada-draw.png"
    path = tmp_path / "saved.png"
    download.value.save_as(path)
    ada, nobody = list(served.service.store.faces)[:2]
    assert ada.code is not None
    assert nobody.code is not None
    mixed = mien.mix(ada.code, nobody.code, layers="fine")
    expected = paced.render(mien.express(mixed, "happy", 0.5)).array
    assert np.abs(load(path).astype(int) - expected).max() <= 1
    said = provenance.read(path)
    assert said is not None
    assert said.edits[0] == "project"
    assert "express happy 0.50" in said.edits

    page.reload()  # what the service keeps is there again
    expect(page.locator(".face .name").first).to_have_text("ada")
    drawn(page)


def test_sliders_send_the_latest_wish_and_no_queue_of_old_ones(
    visit: Callable[..., Any],
) -> None:
    page = visit()
    invented(page, 1)
    drawn(page)
    sent: list[float] = []
    open_ones, most = 0, 0

    def asked(request: Any) -> None:
        nonlocal open_ones, most
        if request.url.endswith("/draw"):
            open_ones += 1
            most = max(most, open_ones)
            sent.append(json.loads(request.post_data)["expressions"].get("happy", 0.0))

    def answered(request: Any) -> None:
        nonlocal open_ones
        open_ones -= request.url.endswith("/draw")

    page.on("request", asked)
    page.on("requestfinished", answered)
    first = Gate(page)  # which is on its way until the slider is where it shall be
    slider = page.get_by_label("Happy")
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-blend .value").nth(4)).to_have_text("+1.00")
    first.open()
    drawn(page)
    assert most == 1
    assert sent == pytest.approx([0.05, 1.0])


def test_every_tool_draws_or_says_why_not(visit: Callable[..., Any]) -> None:
    page = visit()
    invented(page, 2)
    after = page.locator("#compare .after")
    for tab, title in (("parts", "Parts"), ("style", "Style"), ("lookalike", "Look-alikes"),
                       ("merge", "Merge")):  # fmt: skip
        page.locator(f"#tab-{tab}").click()
        panel = page.locator(f"#panel-{tab}")
        expect(panel).to_be_visible()
        if tab == "parts":
            panel.get_by_label("Eyes").select_option(index=1)
        expect(after).to_have_attribute("alt", re.compile(f": {title}$"))
        drawn(page)
    page.locator("#tab-translate").click()
    expect(page.locator("#panel-translate")).to_be_visible()
    if "starganv2" in built_in():
        expect(after).to_have_attribute("alt", re.compile(": Translate$"))
        drawn(page)
    else:
        expect(page.locator("#panel-translate")).to_contain_text("mien export starganv2")
    page.locator("#tab-swap").click()
    expect(page.locator("#panel-swap button")).to_be_enabled()


def test_a_swap_is_stopped_and_what_it_found_is_kept(
    visit: Callable[..., Any], paced: Paced
) -> None:
    page = visit()
    invented(page, 2)
    page.locator("#tab-swap").click()
    with paced.held():
        page.locator("#panel-swap button").click()
        expect(page.locator("#progress-text")).to_contain_text("of 60")
        page.locator("#stop").click()
        expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator(".face")).to_have_count(3)
    expect(page.locator(".face .name").last).to_contain_text(" as invented")
    expect(page.locator(".face").last).to_have_attribute("aria-pressed", "true")


def test_what_goes_wrong_is_said_plainly(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit()
    problem = page.locator("#problem")
    (tmp_path / "notes.jpg").write_text("these are notes, and no picture")
    page.locator("#file").set_input_files(tmp_path / "notes.jpg")
    expect(problem).to_contain_text("is not a picture of a known format")
    expect(problem).to_contain_text("JPEG, PNG, WebP")
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "wall.png")
    page.locator("#file").set_input_files(tmp_path / "wall.png")
    expect(problem).to_contain_text("No face was found")
    problem.get_by_role("button").click()
    expect(problem).to_be_hidden()

    invented(page, 1)
    drawn(page)
    page.route("**/draw", lambda route: route.abort())
    page.get_by_label("Sad").fill("1")
    expect(problem).to_contain_text("does not answer")
    page.unroute("**/draw")
    slow = Gate(page)
    page.get_by_label("Sad").fill("0.5")
    expect(page.locator("#status")).to_contain_text("Still drawing")
    slow.open()
    drawn(page)
    expect(problem).to_be_hidden()


def test_the_camera_takes_a_photograph(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("#welcome-take").click()
    take = page.locator("#camera-take")
    expect(take).to_be_enabled()
    expect(take).to_be_focused()
    take.click()
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#problem")).to_contain_text("No face was found")  # it shows a pattern


@pytest.mark.skipif("adain" not in built_in(), reason="mien comes without adain")
def test_the_live_tab_redraws_the_camera_and_shows_how_fast(visit: Callable[..., Any]) -> None:
    page = visit(path="/#live")
    page.get_by_role("button", name="Start the camera").click()
    canvas = page.locator("#live-view canvas")
    fps = page.locator("[data-figure=fps] dd")
    expect(fps).to_have_text(re.compile(r"\d"))
    for figure in ("p50", "p99", "age"):
        expect(page.locator(f"[data-figure={figure}] dd")).to_have_text(re.compile(r"\d+ ms"))
    first = pixels(canvas.screenshot())
    assert first.std() > 10
    page.locator("#live-view .choice").last.click()
    # The camera's pattern moves, which hardly changes the mean colour; another style does.
    colour, until = first.mean((0, 1)), time.monotonic() + WAIT_MS / 1000
    while np.abs(pixels(canvas.screenshot()).mean((0, 1)) - colour).max() < 20:
        assert time.monotonic() < until, "it was not drawn in the other style"
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()


def test_it_is_worked_with_the_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit()
    focused = page.locator(":focus")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("To the studio")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(focused).to_have_text("Choose a photograph")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(focused).to_have_attribute("aria-label", "Try the portrait ada")
    before = pixels(page.locator("#portraits").screenshot())
    page.keyboard.press("Tab")
    assert np.abs(pixels(page.locator("#portraits").screenshot()) - before).max() > 40  # it is seen
    invented(page, 1)
    drawn(page)
    page.locator("#tab-blend").focus()
    for tab in ("parts", "style", "lookalike"):
        page.keyboard.press("ArrowRight")
        expect(focused).to_have_id(f"tab-{tab}")
        expect(page.locator(f"#panel-{tab}")).to_be_visible()
    page.keyboard.press("Home")
    expect(focused).to_have_id("tab-blend")
    edge = page.get_by_label("Compare before and after")
    edge.focus()
    edge.press("ArrowRight")
    expect(edge).to_have_attribute("aria-valuetext", "51 percent before")
    for role in ("status", "alert"):
        assert page.locator(f"[role={role}]").count()


def test_every_control_has_a_name(visit: Callable[..., Any]) -> None:
    page = visit()
    invented(page, 2)
    tree = page.locator("body").aria_snapshot()
    for kind in ("button", "slider", "combobox", "radio", "checkbox", "tab", "link"):
        assert not re.search(rf"- {kind}(?![\w ]*\")", tree), tree


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_either_scheme(visit: Callable[..., Any], scheme: str) -> None:
    page = visit(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, bypass_csp=True, has_touch=True
    )
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 360
    invented(page, 2)
    drawn(page)
    for tab in ("blend", "parts", "style", "lookalike", "swap", "merge", "translate"):
        page.locator(f"#tab-{tab}").click()
        assert page.evaluate(width) <= 360, tab
    corner = pixels(page.screenshot())[-3, 3].mean()
    assert corner < 60 if scheme == "dark" else corner > 230
    page.locator("#to-live").click()
    assert page.evaluate(width) <= 360


def test_a_token_in_the_address_opens_the_page_and_leaves_the_address(
    visit: Callable[..., Any], studio: Studio, tmp_path: Path
) -> None:
    token = "a-token-of-thirty-two-letters-xx"
    with running(studio, tmp_path, token=token) as locked:
        page = visit(port=locked.port, path=f"/#token={token}")
        assert token not in page.url
        invented(page, 1)
        drawn(page)
        if "adain" in built_in():
            page.locator("#to-live").click()
            page.get_by_role("button", name="Start the camera").click()
            expect(page.locator("[data-figure=fps] dd")).to_have_text(re.compile(r"\d"))
            page.get_by_role("button", name="Stop").click()


def test_portraits_are_there_to_try(visit: Callable[..., Any]) -> None:
    page = visit()
    count = len(list((BUILT_IN / "portraits").glob("*.jpg")))
    expect(page.locator("#portraits button")).to_have_count(count)
