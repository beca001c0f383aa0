"""What the labelling page asks the server for: answers, images, exports, and bad requests."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.labelling_server import ENCODER, write_shapes
from ilk.labelling.session import LabellingSession
from ilk.store import Store

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

ADDRESS = "http://127.0.0.1:8000"


class Page:
    """What the page does, without a browser."""

    def __init__(self, session: LabellingSession, decoder: Any) -> None:
        from starlette.testclient import TestClient

        from ilk.serve.label_app import create_label_app

        self.app = create_label_app(session, decoder=decoder)
        self.client = TestClient(self.app, base_url=ADDRESS)
        self.headers = {"X-Ilk-CSRF": self.app.state.server.csrf_token}
        self._n = 0

    def get(self, path: str, **query: str) -> Any:
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(path, content=json.dumps(body), headers=self.headers)

    def send(self, kind: str, annotator: str = "ann", **event: Any) -> Any:
        self._n += 1
        body = {"kind": kind, "annotator": annotator, "key": f"key {self._n}"} | event
        answer = self.post("/label/api/events", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def list_upcoming(self, annotator: str = "ann") -> list[str]:
        state = self.get("/label/api/state", annotator=annotator)
        return [item["digest"] for item in state["upcoming"]]


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, str]:
    return write_shapes(tmp_path / "discs", 40)


@pytest.fixture
def page(tmp_path: Path, truth: dict[str, str], shared_decoder: Any) -> Iterator[Page]:
    store = Store(tmp_path / "store.sqlite")
    log = tmp_path / "discs.labels.sqlite"
    with LabellingSession.open(tmp_path / "discs", log, encoder=ENCODER, store=store) as session:
        page = Page(session, shared_decoder)
        yield page
        page.app.state.server.close()


def label_all(page: Page, truth: dict[str, str], n: int, annotator: str = "ann") -> None:
    for _ in range(n):
        item = page.get("/label/api/state", annotator=annotator)["upcoming"][0]
        page.send("assign", annotator, digests=[item["digest"]], label=truth[item["name"]])


def test_an_event_that_is_sent_twice_is_done_once(page: Page) -> None:
    first, second = page.list_upcoming()[:2]
    page.send("assign", digests=[first], label="red")
    event = {
        "kind": "assign",
        "annotator": "ann",
        "digests": [second],
        "label": "green",
        "key": "k",
    }
    answers = [page.post("/label/api/events", event).json() for _ in range(3)]
    assert [answer["state"]["own"] for answer in answers] == [2, 2, 2]
    undo = {"kind": "undo", "annotator": "ann", "key": "u"}
    undone = [page.post("/label/api/events", undo).json() for _ in range(3)]
    assert [answer["state"]["own"] for answer in undone] == [1, 1, 1]
    assert {answer["undone"]["items"][0]["digest"] for answer in undone} == {second}


def test_a_group_is_assigned_and_undone_as_a_whole(page: Page) -> None:
    digests = page.list_upcoming()[:5]
    state = page.send("assign", digests=digests, label="red")["state"]
    assert state["own"] == 5
    undone = page.send("undo")
    assert undone["undone"]["sentence"] == "red for 5 images."
    assert undone["state"]["own"] == 0
    assert page.send("undo")["undone"] is None


def test_nothing_tells_one_annotator_what_another_answered(page: Page) -> None:
    digest = page.list_upcoming()[0]
    page.send("assign", digests=[digest], label="secret class of ann")
    state = page.get("/label/api/state", annotator="ben")
    assert state["recent"] == []
    assert state["own"] == 0
    assert page.get("/label/api/labels", annotator="ben") == {"items": [], "total": 0}


def test_disagreements_are_listed_with_kappa_and_resolved(page: Page) -> None:
    digests = page.list_upcoming()[:4]
    page.send("assign", "ann", digests=digests, label="red")
    page.send("assign", "ben", digests=digests[:3], label="red")
    page.send("assign", "ben", digests=digests[3:], label="blue")
    found = page.get("/label/api/disagreements")
    assert [item["digest"] for item in found["items"]] == [digests[3]]
    assert found["agreements"][0]["n"] == 4
    assert found["agreements"][0]["observed"] == 0.75
    assert {entry["annotator"]: entry["label"] for entry in found["items"][0]["labels"]} == {
        "ann": "red",
        "ben": "blue",
    }
    state = page.send("resolve", "ben", digests=[digests[3]], label="blue")["state"]
    assert state["disagreements"] == 0
    assert page.get("/label/api/disagreements")["items"] == []


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"kind": "assign", "digests": ["no such image"], "label": "red", "key": "1"}, 422),
        ({"kind": "assign", "digests": "text", "label": "red", "key": "1"}, 422),
        ({"kind": "assign", "digests": [], "label": "red", "key": "1"}, 422),
        ({"kind": "assign", "digests": [], "label": 3, "key": "1"}, 422),
        ({"kind": "skip", "digests": ["a", "b"], "key": "1"}, 422),
        ({"kind": "undo"}, 422),
        ({"kind": "undo", "key": "k" * 101}, 422),
        ({"kind": "undo", "key": "\ud800"}, 400),
        ({"kind": "undo", "key": "1", "annotator": "\ud800"}, 400),
        ({"kind": "assign", "digests": ["\ud800"], "label": "red", "key": "1"}, 400),
        ({"kind": "fly", "key": "1"}, 422),
        ({"kind": "undo", "key": "1", "annotator": ""}, 422),
        ({"kind": "undo", "key": "1", "annotator": "a\x00b"}, 422),
        ([1, 2], 422),
    ],
)
def test_malformed_events_are_refused_in_one_sentence(page: Page, event: Any, status: int) -> None:
    body = {"annotator": "ann"} | event if isinstance(event, dict) else event
    answer = page.post("/label/api/events", body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "x" * 201, "\u202egnp.exe"])
def test_names_that_cannot_be_classes_are_refused(page: Page, name: str) -> None:
    event = {"kind": "assign", "annotator": "ann", "digests": page.list_upcoming()[:1], "key": "1"}
    answer = page.post("/label/api/events", event | {"label": name})
    assert answer.status_code == 422
    assert page.get("/label/api/state", annotator="ann")["own"] == 0


def test_a_class_that_is_spelled_alike_is_the_same_class(page: Page) -> None:
    first, second = page.list_upcoming()[:2]
    page.send("assign", digests=[first], label="Red kite")
    answer = page.send("assign", digests=[second], label=" red KITE ")
    assert answer["label"] == "Red kite"
    assert answer["state"]["classes"] == [{"name": "Red kite", "count": 2}]


def test_requests_without_the_csrf_token_change_nothing(page: Page) -> None:
    event = {"kind": "undo", "annotator": "ann", "key": "1"}
    assert page.client.post("/label/api/events", json=event).status_code == 403
    assert page.client.post("/label/api/exports", json={"kind": "folder"}).status_code == 403


def test_images_come_by_digest_only(page: Page, tmp_path: Path) -> None:
    digest = page.list_upcoming()[0]
    answer = page.client.get(f"/label/images/{digest}?size=256")
    assert answer.status_code == 200
    assert answer.content[:2] == b"\xff\xd8"
    assert page.client.get(f"/label/images/{digest}?size=9999").status_code == 422
    for path in ("..%2F..%2Fetc%2Fpasswd", "discs/image-000.png", "0" * 64):
        assert page.client.get(f"/label/images/{path}?size=256").status_code == 404


def test_a_file_that_is_gone_or_changed_is_said_and_may_come_back(
    page: Page, tmp_path: Path
) -> None:
    state = page.get("/label/api/state", annotator="ann")
    gone, changed, damaged = state["upcoming"][:3]
    (tmp_path / "discs" / gone["name"]).rename(tmp_path / "away.png")
    path = tmp_path / "discs" / changed["name"]
    path.write_bytes(path.read_bytes() + b"more")
    for item, words in ((gone, "is gone"), (changed, "has changed")):
        answer = page.client.get(f"/label/images/{item['digest']}?size=256")
        assert answer.status_code == 410
        assert answer.json()["kind"] == "gone"
        assert words in answer.json()["detail"]
    (tmp_path / "away.png").rename(tmp_path / "discs" / gone["name"])
    assert page.client.get(f"/label/images/{gone['digest']}?size=256").status_code == 200
    assert damaged["digest"] in page.list_upcoming()


def test_an_image_that_cannot_be_decoded_is_not_asked_any_more(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilk.images import ImageError

    digest = page.list_upcoming()[0]

    def refuse(*_args: Any) -> bytes:
        raise ImageError("unreadable", "cut off")

    monkeypatch.setattr(page.app.state.server.decoder, "make_thumbnail", refuse)
    answer = page.client.get(f"/label/images/{digest}?size=1280")
    assert (answer.status_code, answer.json()["kind"]) == (422, "unreadable")
    assert digest not in page.list_upcoming()
    assert page.get("/label/api/state", annotator="ann")["unreadable"] == 1


def test_exports_have_names_that_no_request_chooses(
    page: Page, truth: dict[str, str], tmp_path: Path
) -> None:
    label_all(page, truth, 12)
    exports = page.app.state.exports
    for kind in ("csv", "folder", "csv"):
        thread = exports.start(kind)
        thread.join(20)
    jobs = {job["kind"]: job for job in page.get("/label/api/exports")["jobs"]}
    assert jobs["folder"]["path"] == str(tmp_path / "discs-labelled")
    assert jobs["csv"]["path"] == str(tmp_path / "discs-labels-2.csv")
    with (tmp_path / "discs-labels.csv").open(encoding="utf-8") as lines:
        rows = {Path(row["path"]).name: row["label"] for row in csv.DictReader(lines)}
    assert len(rows) == 12
    assert rows == {name: truth[name] for name in rows}
    answer = page.client.get("/label/labels.csv")
    assert answer.text == (tmp_path / "discs-labels.csv").read_text("utf-8")
    assert not list(tmp_path.glob(".ilk-*"))
    assert page.post("/label/api/exports", {"kind": "/etc"}).status_code == 422


def test_an_export_that_fails_says_why(page: Page) -> None:
    thread = page.app.state.exports.start("model")
    thread.join(20)
    job = page.get("/label/api/exports")["jobs"][0]
    assert job["state"] == "failed"
    assert len(job["sentence"].splitlines()) == 1


def test_a_model_is_trained_and_asked_in_the_same_process(
    page: Page, truth: dict[str, str], tmp_path: Path
) -> None:
    label_all(page, truth, 24)
    assert page.client.get("/", follow_redirects=False).headers["location"] == "/label"
    thread = page.app.state.exports.start("model")
    thread.join(60)
    job = page.get("/label/api/exports")["jobs"][0]
    assert job["state"] == "done", job
    assert job["ask"] == "/"
    name, label = next((n, c) for n, c in truth.items() if c == "red")
    content = (tmp_path / "discs" / name).read_bytes()
    answer = page.client.post("/predict", files={"image": (name, content)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["top"][0]["name"] == label
    assert ">Ask</a>" in page.client.get("/").text
