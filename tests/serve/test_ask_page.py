"""The page in real Chromium: by mouse and by keyboard, narrow and dark, without a fault."""

import hashlib
import re
import sys
import types
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.browser import open_browser, open_page
from helpers.served_model import list_images, serve_model
from ilk.serve.correction_log import CorrectionLog

LARGE_TEXT_CONTRAST, TEXT_CONTRAST = 3.0, 4.5  # WCAG 2.2, AA
LUMINANCE = """(pair) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  return pair.map((color) => {
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
      const c = v / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  });
}"""
PAIRS = """() => [...document.querySelectorAll("main *, header *, #alert, #status")]
  .filter((e) => e.checkVisibility()
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((e) => {
    let back = e;
    const isClear = (one) => getComputedStyle(one).backgroundColor === "rgba(0, 0, 0, 0)";
    while (back && isClear(back)) back = back.parentElement;
    return [e.textContent.trim().slice(0, 30), getComputedStyle(e).color,
      back ? getComputedStyle(back).backgroundColor : "rgb(255, 255, 255)", e.disabled === true];
  })"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def served(kinds):
    with serve_model(kinds) as served:
        yield served


@pytest.fixture
def threes(tmp_path):
    return [str(path) for path in list_images(tmp_path, "class 3", 8)]


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def test_images_are_answered_corrected_saved_and_put_back(browser, served, threes, tmp_path):
    with open_page(browser, served.address) as page:
        expect(page.locator("#model-facts")).to_contain_text("3 classes")
        page.set_input_files("#files", threes[:2])
        expect(page.locator(".answer .bars")).to_have_count(2)
        expect(page.locator("#status")).to_have_text("2 images are answered.")
        (tmp_path / "words.png").write_text("no picture")
        page.set_input_files("#files", [str(tmp_path / "words.png")])
        expect(page.locator("#status")).to_have_text("2 images are answered, 1 is not.")
        page.get_by_role("button", name="Clear").click()
        page.set_input_files("#files", threes[:2])
        expect(page.locator("#status")).to_have_text("2 images are answered.")
        expect(page.locator(".answer").first).to_contain_text("ms: decoding")
        expect(page.locator("#corrections")).to_be_hidden()
        for i in range(2):
            page.locator(".answer").nth(i).get_by_role("button", name="Correct").click()
            page.keyboard.type("class 3")
            page.keyboard.press("Enter")
            expect(page.locator("#pending li")).to_have_count(i + 1)
        expect(page.locator("#change")).to_contain_text("2 corrected images (2 of class 3)")
        expect(page.locator(".answer h3").first).to_have_text("class 3")
        expect(page.locator("#model-facts")).to_contain_text("4 classes")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.locator("#status")).to_have_text("Saved as version 2, which is in use now.")
        expect(page.get_by_role("button", name="Save as a new version")).to_be_hidden()
        page.locator("#versions-box summary").click()
        page.get_by_role("button", name="Restore version 1").click()
        expect(page.locator("#model-facts")).to_contain_text("3 classes")
        expect(page.locator(".answer h3").first).not_to_have_text("class 3")


def test_the_keyboard_is_enough(browser, served, threes):
    with open_page(browser, served.address) as page:
        expect(page.locator("#model-facts")).to_contain_text("3 classes")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        order = []
        for _ in range(6):
            page.keyboard.press("Tab")
            order.append(page.evaluate("() => document.activeElement.textContent.trim()"))
        assert order == ["Ask", "Images…", "Folder…", "Camera", "What the answers mean", "Keys"]
        page.set_input_files("#files", threes[:2])
        expect(page.locator(".answer .bars")).to_have_count(2)
        page.locator(".answer").first.focus()
        page.keyboard.press("j")
        expect(page.locator(".answer").nth(1)).to_be_focused()
        expect(page.locator("#status")).to_contain_text("class")
        page.keyboard.press("c")
        expect(page.get_by_label("This is …")).to_be_focused()
        page.keyboard.type("jekc")  # letters are text here
        expect(page.get_by_label("This is …")).to_have_value("jekc")
        page.keyboard.press("Escape")
        expect(page.locator(".answer").nth(1)).to_be_focused()
        page.keyboard.press("k")
        expect(page.locator(".answer").first).to_be_focused()


def test_every_button_and_field_has_a_name_and_answers_are_announced(browser, served, threes):
    with open_page(browser, served.address) as page:
        page.set_input_files("#files", threes[:1])
        expect(page.locator("#status")).to_contain_text(re.compile(r"\.png: class \d, "))
        unnamed = page.evaluate("""() => [
            ...document.querySelectorAll("button, input, img, progress")]
            .filter((e) => e.checkVisibility() && !(e.labels && e.labels.length)
              && !e.getAttribute("aria-label") && e.getAttribute("alt") === null
              && !e.textContent.trim()).map((e) => e.outerHTML)""")
        assert unnamed == []
        levels = page.evaluate(
            """() => [...document.querySelectorAll("h1, h2, h3, h4")]
            .filter((e) => e.checkVisibility()).map((e) => +e.tagName[1])"""
        )
        assert levels[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_and_nothing_is_wider_than_a_phone(
    browser, served, threes, scheme
):
    size = {"width": 360, "height": 740}
    with open_page(browser, served.address, viewport=size, color_scheme=scheme) as page:
        page.set_input_files("#files", threes[:1])
        expect(page.locator(".answer .bars")).to_have_count(1)
        page.get_by_role("button", name="Correct").click()
        page.get_by_label("This is …").fill("a new kind")
        page.keyboard.press("Enter")
        expect(page.locator("#pending li")).to_have_count(1)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        pairs = page.evaluate(PAIRS)
        assert len(pairs) > 15
        for text, colour, background, is_disabled in pairs:
            high, low = sorted(page.evaluate(LUMINANCE, [colour, background]), reverse=True)
            contrast = (high + 0.05) / (low + 0.05)
            assert contrast >= TEXT_CONTRAST or is_disabled, (text, colour, background, contrast)


def test_what_cannot_be_read_and_a_server_that_stops_are_said(browser, kinds, tmp_path, threes):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"text")
    with serve_model(kinds) as served, open_page(browser, served.address) as page:
        page.set_input_files("#files", [str(broken), threes[0]])
        expect(page.locator(".answer .bad")).to_contain_text("broken.png' cannot be read")
        expect(page.locator(".answer .bars")).to_have_count(1)
        content, space = Path(threes[0]).read_bytes(), ilk.load(kinds).encoder.space
        log, digest = CorrectionLog(kinds), hashlib.sha256(content).hexdigest()  # another server's
        rival = (digest, "a.png", "class 9", space.key, np.ones(space.dim), content)
        log.add_correction(*rival)
        log.close()
        page.get_by_role("button", name="Correct").click()
        page.get_by_label("This is …").fill("class 3")
        page.keyboard.press("Enter")
        expect(page.locator("#alert")).to_contain_text("another server of this model")
        expect(page.locator("#pending li")).to_contain_text("a.png is class 9")
        page.keyboard.press("Enter")  # who knows it may insist
        expect(page.locator("#pending li")).to_contain_text("is class 3")
        page.route("**/predict", lambda route: route.abort())
        page.set_input_files("#files", threes[1])
        expect(page.locator(".answer .bad").nth(1)).to_contain_text("The server does not answer")


def test_pasted_dropped_and_photographed_images_are_answered(browser, served, threes):
    content = list(Path(threes[0]).read_bytes())
    with open_page(browser, served.address, permissions=["camera"]) as page:
        for kind in ("paste", "drop"):
            page.evaluate(
                """([kind, content]) => {
                  const transfer = new DataTransfer();
                  transfer.items.add(new File([new Uint8Array(content)], kind + ".png"));
                  const event = kind === "paste"
                    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
                    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
                  document.dispatchEvent(event);
                }""",
                [kind, content],
            )
        expect(page.locator(".answer .bars")).to_have_count(2)
        page.get_by_role("button", name="Camera").click()
        expect(page.locator("#video")).to_be_visible()
        page.get_by_role("button", name="Take picture").click()
        expect(page.locator(".answer .bars")).to_have_count(3)
        page.keyboard.press("Escape")
        expect(page.locator("#camera")).to_be_hidden()
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".answer")).to_have_count(0)


@dataclass(frozen=True)
class FakeExplanation:
    """What `ilk.explain` returns, for the page alone."""

    def draw_overlay(self):
        return Image.fromarray(np.full((16, 16, 3), 90, np.uint8))

    def to_dict(self):
        return {
            "method": "rise",
            "target": "class 1",
            "against": "",
            "probability": 0.9,
            "verdict": {"is_trustworthy": False, "sentence": "Not trustworthy here: a test."},
            "text": "<b>class 1</b> with 0.90. Not trustworthy here: a test.",
            "neighbours": [
                {"label": "class 1", "path": "a/1.png", "similarity": 0.5, "digest": "d"}
            ],
            "n_passes": 3,
            "seconds": 0.1,
            "values": [[0.0]],
        }


def test_an_explanation_shows_its_map_its_verdict_and_neighbours(
    browser, served, threes, monkeypatch
):
    module = types.ModuleType("ilk.explain.explain_image")
    module.explain_image = lambda *_args, **_options: FakeExplanation()
    monkeypatch.setitem(sys.modules, "ilk.explain.explain_image", module)
    with open_page(browser, served.address) as page:
        page.set_input_files("#files", threes[:1])
        page.get_by_role("button", name="Why").click()
        expect(page.locator(".explanation .badge")).to_have_text("not trustworthy here")
        expect(page.locator(".explanation")).to_contain_text("<b>class 1</b> with 0.90.")
        expect(page.locator(".neighbours li")).to_have_count(1)
        alt = page.locator(".explanation figure img").get_attribute("alt")
        assert alt.startswith("Heat map: <b>class 1</b>")
        expect(page.locator("#status")).to_contain_text("Not trustworthy here: a test.")


def test_the_printed_address_lets_a_browser_in_and_nothing_else_does(browser, kinds, threes):
    with serve_model(kinds, token="a long secret") as served:
        with open_page(browser, f"{served.address}/?token=a%20long%20secret") as page:
            expect(page.locator("#model-facts")).to_contain_text("3 classes")
            assert "token" not in page.url
            page.set_input_files("#files", threes[:1])
            expect(page.locator(".answer .bars")).to_have_count(1)
        with open_page(browser, served.address) as page:
            expect(page.locator("body")).to_contain_text("this server needs its token")
