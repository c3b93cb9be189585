"""Take the pictures of docs/serve.md: the studio page in Chromium, with mien's own portraits.

    python docs/images/serve.py [--backend ort]

Needs Debian's chromium and playwright. The camera of the live tab is a portrait that moves.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1])]

from tests.serve.running import running  # noqa: E402

from mien.bundles import BUILT_IN  # noqa: E402
from mien.studio import Studio  # noqa: E402

PORTRAITS = BUILT_IN / "portraits"
QUALITY = 82
CAMERA = (640, 480)  # px
FRAMES = 40
WAIT_MS = 120_000


def write_camera(path: Path) -> None:
    """Write a film in YUV4MPEG2, as Chromium takes it for a camera: a portrait that sways."""
    photo = cv2.imread(str(PORTRAITS / "ada.jpg"))
    width, height = CAMERA
    scale = width / photo.shape[1]
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420jpeg\n".encode())
        for i in range(FRAMES):
            sway = 12 * np.sin(2 * np.pi * i / FRAMES)
            move = np.array([[scale, 0, sway], [0, scale, -150 + sway / 2]])
            frame = cv2.warpAffine(photo, move, CAMERA, borderMode=cv2.BORDER_REFLECT)
            film.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())


def keep(name: str, *shots: bytes) -> None:
    """Write screenshots, side by side, as one JPEG."""
    pictures = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    gap = 24 if len(pictures) > 1 else 0
    width = sum(one.width for one in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(one.height for one in pictures)), "#b9b2a8")
    left = 0
    for one in pictures:
        sheet.paste(one, (left, 0))
        left += one.width + gap
    sheet.save(HERE / name, quality=QUALITY, optimize=True)


def shown(page: Any) -> None:
    """Wait until the picture of the latest wish is there."""
    expect(page.locator("#compare")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#status")).to_contain_text("Drawn in")
    page.wait_for_timeout(300)


def work(page: Any) -> None:
    """Project both portraits, with a picture on the way."""
    page.locator("#file").set_input_files(PORTRAITS / "ada.jpg")
    expect(page.locator("#photo polygon")).to_have_count(1)
    page.wait_for_timeout(300)
    keep("serve-found.jpg", page.screenshot())
    expect(page.locator("#progress-text")).to_have_text(re.compile(r"Step (1[26]|20|24) "))
    keep("serve-projecting.jpg", page.screenshot())
    page.locator("#file").set_input_files(PORTRAITS / "ben.jpg")
    expect(page.locator(".face")).to_have_count(2)
    expect(page.locator(".face.waiting")).to_have_count(0)
    page.wait_for_timeout(2000)
    page.locator(".face").first.click()
    mix(page)
    shown(page)
    keep("serve-mix.jpg", page.screenshot(full_page=True))


def mix(page: Any) -> None:
    page.locator("#panel-blend .choice").nth(1).click()
    page.get_by_label("Coarse").fill("0.35")
    page.get_by_label("Middle").fill("0.6")
    page.get_by_label("Happy").fill("0.8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend")
    options = parser.parse_args()
    expect.set_options(timeout=WAIT_MS)
    with (
        tempfile.TemporaryDirectory() as folder,
        Studio("demo", backend=options.backend) as studio,
        running(studio, Path(folder) / "jobs") as one,
        sync_playwright() as started,
    ):
        camera = Path(folder) / "camera.y4m"
        write_camera(camera)
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ],
        )

        def visit(path: str = "/", **how: Any) -> Any:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}} | how)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{one.port}{path}")
            page.locator("body[data-ready]").wait_for()
            page.wait_for_timeout(400)
            return page

        page = visit()
        keep("serve-welcome.jpg", page.screenshot())
        work(page)
        page = visit(color_scheme="dark")
        page.locator("#tab-style").click()
        page.locator("#panel-style .choice").nth(2).click()
        shown(page)
        keep("serve-style.jpg", page.screenshot())
        phones = []
        for scheme in ("light", "dark"):
            page = visit(viewport={"width": 360, "height": 780}, color_scheme=scheme)
            mix(page)
            shown(page)
            page.locator("#panel-blend legend").scroll_into_view_if_needed()
            page.mouse.wheel(0, 120)
            page.wait_for_timeout(400)
            phones.append(page.screenshot())
        keep("serve-phone.jpg", *phones)
        page = visit("/#live", color_scheme="dark")
        page.locator("#live-view .choice").nth(3).click()
        page.get_by_label("Strength").last.fill("0.7")
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("[data-figure=fps] dd")).to_have_text(re.compile(r"\d"))
        page.wait_for_timeout(6000)
        keep("serve-live.jpg", page.screenshot())
        browser.close()


if __name__ == "__main__":
    main()
