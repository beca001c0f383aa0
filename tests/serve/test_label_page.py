"""The labelling page in Chromium, by keyboard, against `ilk label` in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from helpers.browser import find_chromium, open_browser
from helpers.labelling_server import LabellingServer, serve_folder, write_shapes

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


class Person:
    """Somebody at a browser of their own."""

    def __init__(self, browser: Any, address: str, name: str = "", **settings: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1100, "height": 800}} | settings
        )
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.set_default_timeout(30_000)
        self.page.goto(f"{address}?annotator={name}" if name else address)
        self.page.wait_for_selector("#stage-name .name")

    @property
    def shown(self) -> str:
        return str(self.page.inner_text("#stage-name"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def list_classes(self) -> list[str]:
        names = self.page.eval_on_selector_all(
            "#classes .name", "all => all.map(n => n.textContent)"
        )
        return list(names)

    def count_labelled(self) -> int:
        return int(self.page.inner_text("#summary-line").split()[0])

    def label(self, truth: dict[str, str]) -> str:
        """Label the shown image by keyboard; return its name."""
        self.page.wait_for_selector("#stage-name .name")
        name = self.shown
        classes = self.list_classes()
        if truth[name] in classes:
            self.press(str(classes.index(truth[name]) + 1))
        else:
            self.press("n")
            self.page.keyboard.type(truth[name])
            self.press("Enter")
        self.wait("name => document.querySelector('#stage-name').textContent !== name", name)
        return name

    def wait(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument, polling=10)

    def wait_for_count(self, n: int) -> None:
        self.wait(
            "n => document.querySelector('#summary-line').textContent.startsWith(`${n} of`)", n
        )

    def wait_for(self, selector: str, text: str) -> None:
        self.page.wait_for_selector(f"{selector} >> text={text}", state="attached")

    def leave(self) -> None:
        assert self.faults == []
        self.context.close()


def test_a_folder_becomes_a_model_by_keyboard(browser: Any, tmp_path: Path) -> None:
    truth = write_shapes(tmp_path / "discs", 120)
    with serve_folder(tmp_path / "discs") as server:
        ann = Person(browser, server.address, "Ann Lee")
        assert ann.page.inner_text("#annotator-button .avatar") == "AL"
        labelled = [ann.label(truth) for _ in range(20)]
        assert len(set(labelled)) == 20
        ann.wait_for_count(20)

        # Undo, reload, undo again: the images come back in turn.
        ann.press("u")
        ann.wait("name => document.querySelector('#stage-name').textContent === name", labelled[-1])
        ann.wait_for_count(19)
        ann.page.reload()
        ann.page.wait_for_selector("#stage-name .name")
        assert ann.shown == labelled[-1]
        ann.press("Control+z")
        ann.wait("name => document.querySelector('#stage-name').textContent === name", labelled[-2])
        ann.wait_for_count(18)

        # A killed server loses nothing, and the page goes on by itself.
        port = server.port
        server.kill()
        ann.press("s")
        ann.page.wait_for_selector("#connection:not([hidden])")
        assert "retrying" in ann.page.inner_text("#connection")
        with serve_folder(tmp_path / "discs", port=port) as again:
            ann.page.wait_for_selector("#connection", state="hidden", timeout=15000)
            ann.wait_for_count(18)
            assert "1 skipped" in ann.page.inner_text("#summary-line")
            go_on(browser, ann, again, truth, tmp_path)


def go_on(
    browser: Any, ann: Person, server: LabellingServer, truth: dict[str, str], tmp_path: Path
) -> None:
    """Groups, a second annotator, disagreements and the model."""
    before = ann.count_labelled()
    ann.press("g")
    ann.page.wait_for_selector(".thumbnail", timeout=40000)  # an encoder that knows words is loaded
    names = ann.page.eval_on_selector_all(".thumbnail img", "all => all.map(i => i.alt)")
    classes = [truth[name] for name in names]
    most = max(set(classes), key=classes.count)
    for position, name in enumerate(classes):
        if name != most:
            ann.page.locator(".thumbnail").nth(position).focus()
            ann.press(" ")
    n_ticked = classes.count(most)
    assert ann.page.locator(".thumbnail[aria-pressed=true]").count() == n_ticked
    ann.press(str(ann.list_classes().index(most) + 1))
    ann.wait_for_count(before + n_ticked)
    ann.press("u")  # the group as a whole
    ann.wait_for_count(before)
    ann.page.wait_for_selector(".thumbnail")
    ann.page.fill("#group-name", most)
    ann.press("Enter")
    ann.wait_for("#announcement", f"assigned to {most}.")
    ann.wait("n => parseInt(document.querySelector('#summary-line').textContent) > n", before)
    ann.press("Escape")
    ann.page.wait_for_selector("#view-one:not([hidden])")

    # Another person sees none of that, gets some of the same images, and differs.
    ben = Person(browser, server.address, "ben")
    wrong = {name: "green" if c == "blue" else c for name, c in truth.items()}
    for _ in range(32):
        ben.page.wait_for_selector("#stage-name .name, #frame:has-text('No more images')")
        if ben.shown == "":
            break  # and not where the page only waits for the next images
        ben.label(wrong)
    ben.press("Escape")
    ben.page.goto(f"{server.address}?annotator=ben#disagreements")
    ben.page.wait_for_selector("#disagreements-content .votes")
    assert "Cohen’s kappa" in ben.page.inner_text("#disagreements-content .kappa")
    assert {"Ann Lee", "ben"} == set(
        ben.page.eval_on_selector_all(".votes .who .name", "all => all.map(n => n.textContent)")
    )
    while ben.page.locator("#disagreements-content .votes").count():
        blue = ben.page.locator("#disagreements-content button.suggested", has_text="blue")
        ben.press(blue.get_attribute("aria-keyshortcuts"))
        ben.page.wait_for_timeout(50)
    ben.wait_for("#disagreements-content", "There is no disagreement to resolve.")
    ben.leave()

    ann.page.goto(f"{server.address}#export")
    ann.page.get_by_role("button", name="Train a model").click()
    ann.page.get_by_role("link", name="Ask this model").wait_for(timeout=40000)
    assert (tmp_path / "discs-model" / "report.html").is_file()
    ann.page.get_by_role("link", name="Ask this model").click()
    ann.page.wait_for_selector("nav[aria-label=Pages] a:has-text('Ask')")
    ann.leave()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LabellingServer, dict[str, str]]]:
    find_chromium()
    folder = tmp_path_factory.mktemp("label") / "discs"
    truth = write_shapes(folder, 48, seed=1)
    with serve_folder(folder, "--classes", "red,green") as server:
        yield server, truth


def test_the_next_images_are_there_before_they_are_asked_for(browser: Any, shared: Any) -> None:
    """So that none is waited for: the server, held up, is not needed to show them."""
    server, _ = shared
    person = Person(browser, server.address, "quick")
    person.page.wait_for_load_state("networkidle")
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    person.page.route("**/label/**", hold)
    seen = [person.shown]
    for _ in range(4):
        person.press("1")
        person.wait("n => document.querySelector('#stage-name').textContent !== n", seen[-1])
        person.wait("() => document.querySelector('#frame img').naturalWidth > 0")
        seen.append(person.shown)
    assert len(set(seen)) == 5
    assert held  # the answers wait
    for route in held.copy():
        route.continue_()
    person.page.unroute("**/label/**")
    for _ in range(4):
        person.press("u")
    person.wait("() => document.querySelector('#undo').disabled")
    person.leave()


NAMES = [
    "<img src=x onerror=alert(1)>",
    "قطة سوداء",
    "黑猫",
    "🐈‍⬛ cat",
    "a very long name of a class " * 7,
    "quotes \" and ' & ampersands",
]


def test_names_in_any_script_are_shown_as_text(browser: Any, shared: Any) -> None:
    server, _ = shared
    person = Person(browser, server.address, "<b>x</b> & co")
    dialogs: list[str] = []
    person.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for name in NAMES:
        person.press("n")
        person.page.keyboard.insert_text(name)
        person.press("Enter")
        person.page.wait_for_timeout(60)
    person.wait("n => document.querySelectorAll('#classes .name').length >= n", 8)
    assert {name.strip() for name in NAMES} <= set(person.list_classes())
    assert person.page.locator("#classes img, #annotator-button b").count() == 0
    for view in ("groups", "labels", "progress", "export"):
        person.page.evaluate("view => { location.hash = view; }", view)
        person.page.wait_for_timeout(200)
        assert person.page.locator(".label-page :is(b, img[src=x])").count() == 0
    assert dialogs == []
    person.press("Escape")
    for _ in NAMES:
        person.press("u")
    person.wait("() => document.querySelector('#undo').disabled")
    person.leave()


def test_an_answer_is_corrected_after_looking_back(browser: Any, shared: Any) -> None:
    server, _ = shared
    person = Person(browser, server.address, "careful")
    first = person.shown
    person.press("1")
    person.wait("name => document.querySelector('#stage-name').textContent !== name", first)
    second = person.shown
    person.press("ArrowLeft")
    assert person.shown == first
    assert person.page.inner_text("#stage-tag") == "red"
    person.page.keyboard.type("gre")  # letters that are no command find a class; g opens groups
    person.page.wait_for_selector("#view-groups:not([hidden])")
    person.press("Escape")
    person.press("/")
    person.page.keyboard.type("gre")
    assert person.page.inner_text("#search-hint") == "Enter assigns green"
    person.press("Enter")
    assert person.shown == second
    person.page.evaluate("location.hash = 'labels'")
    person.wait("() => document.querySelector('.labelled select')?.value === 'green'")
    person.page.locator(".labelled select").first.select_option("red")
    person.wait_for("#announcement", f"{first} corrected to red.")
    person.press("Escape")
    for _ in range(3):
        person.press("u")
    person.wait("() => document.querySelector('#undo').disabled")
    person.leave()


def test_answers_wait_for_the_connection_and_are_sent_once(browser: Any, shared: Any) -> None:
    server, _ = shared
    person = Person(browser, server.address, "cut off")
    before = person.count_labelled()
    lost = {"n": 0, "done": 0}

    def lose_answer(route: Any) -> None:
        """The server does it, but the browser never hears of it."""
        lost["n"] += 1
        try:
            if lost["n"] <= 2:
                sent = route.request
                again = Request(sent.url, sent.post_data_buffer, sent.headers)
                with urlopen(again, timeout=30) as answer:
                    lost["done"] += answer.status == 200
        finally:
            route.abort()

    person.page.route("**/label/api/events", lose_answer)
    with person.page.expect_request("**/label/api/events"):
        person.press("1")
    person.page.wait_for_selector("#connection:not([hidden])")
    person.press("2", "1")
    person.wait_for("#connection", "3 answers will be sent")
    person.page.unroute("**/label/api/events")
    person.page.wait_for_selector("#connection", state="hidden")
    person.wait_for_count(before + 3)
    assert lost["done"] == 2
    for n in (2, 1, 0):  # one answer each: nothing was assigned twice
        person.press("u")
        person.wait_for_count(before + n)
    person.wait("() => document.querySelector('#undo').disabled")
    person.leave()


def test_the_page_is_named_for_screen_readers_and_keeps_the_focus(
    browser: Any, shared: Any
) -> None:
    server, _ = shared
    person = Person(browser, server.address, "dot")
    tree = person.page.locator("#label-page").aria_snapshot()
    for part in (
        'navigation "Labelling"',
        'progressbar "Images labelled',
        'textbox "Find or add a class"',
        'list "Classes"',
        'button "Undo"',
        'button "Not sure"',
        'figure "image-',
    ):
        assert part in tree, part
    person.press("1")
    person.wait("() => /red assigned. Next: image-/.test(window.announcement.textContent)")
    assert person.page.evaluate("document.activeElement.id") == "stage"
    person.page.get_by_role("button", name="Skip").focus()
    person.press("Enter")
    person.page.wait_for_timeout(150)
    assert person.page.evaluate("document.activeElement.id") == "skip"
    for view in ("groups", "labels", "progress", "export"):
        person.page.evaluate("view => { location.hash = view; }", view)
        person.page.wait_for_timeout(250)
        assert person.page.evaluate("document.activeElement !== document.body"), view
    unnamed = person.page.evaluate(
        "[...document.querySelectorAll('button, a, input, select')]"
        ".filter(e => e.checkVisibility())"
        ".filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"
    )
    assert unnamed == 0
    person.leave()


def test_a_narrow_screen_has_large_targets_and_no_sideways_scrolling(
    browser: Any, shared: Any
) -> None:
    server, _ = shared
    small = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "color_scheme": "dark"}
    person = Person(browser, server.address, "phone", **small)
    for view in ("one", "groups", "labels", "progress", "export"):
        person.page.evaluate("view => { location.hash = view; }", view)
        person.page.wait_for_timeout(300)
        assert person.page.evaluate("document.documentElement.scrollWidth") <= 360, view
        sizes = person.page.evaluate(
            "[...document.querySelectorAll('#label-page :is(button,select,a,[type=text])')]"
            ".filter(e => e.checkVisibility())"
            ".map(e => [e.textContent, e.getBoundingClientRect().height])"
        )
        assert [size for size in sizes if size[1] < 43.5] == [], view
    person.leave()


def test_a_folder_that_vanishes_is_named_and_comes_back(browser: Any, tmp_path: Path) -> None:
    truth = write_shapes(tmp_path / "discs", 40, seed=2)
    with serve_folder(tmp_path / "discs", "--classes", "red,green,blue") as server:
        person = Person(browser, server.address, "ann")
        for _ in range(3):
            person.label(truth)
        person.wait_for_count(3)
        (tmp_path / "discs").rename(tmp_path / "away")
        person.page.reload()
        person.page.wait_for_selector("#frame .card")
        assert "cannot be found" in person.page.inner_text("#frame")
        assert "discs" in person.page.inner_text("#frame")
        (tmp_path / "away").rename(tmp_path / "discs")
        person.page.wait_for_selector("#frame img")
        person.wait("() => document.querySelector('#frame img').naturalWidth > 0")
        person.wait_for_count(3)
        person.leave()
        time.sleep(0.1)
        assert "3 labelled images are saved in" in server.stop()
