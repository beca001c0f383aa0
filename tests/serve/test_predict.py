"""POST /predict answers as `Classifier.predict` does, however the images are sent."""

import base64
import io
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.served_model import make_png, wait_until, with_limits
from ilk.artifacts.prediction_io import to_row
from ilk.serve.security import CSRF_HEADER

FIELDS = ("name", "set", "unknown", "error")


def strip(row):
    return {name: row[name] for name in FIELDS}


@pytest.fixture
def client(make_client, kinds):
    return make_client(kinds)


def test_answers_are_those_of_the_classifier(client, kinds, ones, threes):
    images = [*ones[:3], *threes[:3], b"no image"]
    answer = client.post(
        "/predict", files=[("image", (f"{i}.png", b)) for i, b in enumerate(images)]
    )
    assert answer.status_code == 200
    rows = answer.json()["predictions"]
    expected = [to_row(p) for p in ilk.load(kinds).predict(images)]
    assert [strip(r) for r in rows[:-1]] == [strip(r) for r in expected[:-1]]
    np.testing.assert_allclose(
        [r["probability"] for r in rows[:-1]], [r["probability"] for r in expected[:-1]], atol=1e-5
    )
    assert rows[-1]["error"] == expected[-1]["error"]
    assert [r["path"] for r in rows] == [f"{i}.png" for i in range(7)]
    for row in rows[:-1]:
        assert row["top"][0] == {"name": row["name"], "probability": row["probability"]}
        assert sum(c["probability"] for c in row["top"]) == pytest.approx(1, abs=1e-4)


def test_all_ways_of_sending_an_image_give_the_same_answer(client, ones):
    image, text = ones[0], base64.b64encode(ones[0]).decode()
    answers = [
        client.post("/predict", files={"image": ("a.png", image)}),
        client.post("/predict", files={"file": ("a.png", image)}),
        client.post("/predict", json={"image": text}),
        client.post("/predict", json={"image": f"data:image/png;base64,{text}"}),
        client.post("/predict", json={"images": [{"name": "a.png", "data": text}]}),
        client.post("/predict", content=image, headers={"content-type": "image/png"}),
        client.post(
            "/predict", content=image, headers={"content-type": "application/octet-stream"}
        ),
    ]
    assert [a.status_code for a in answers] == [200] * len(answers)
    assert len({json.dumps(strip(a.json()["predictions"][0])) for a in answers}) == 1


def test_programs_need_no_csrf_token_to_ask_and_pages_of_others_may_not(client, ones):
    del client.headers[CSRF_HEADER]
    files = {"image": ("a.png", ones[0])}
    assert client.post("/predict", files=files).status_code == 200
    for header in ("origin", "sec-fetch-site", "cookie"):
        values = {"origin": "http://127.0.0.1:8000"}
        answer = client.post("/predict", files=files, headers={header: values.get(header, "x")})
        assert answer.status_code == 403, header


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        ({"json": {"image": "%%%"}}, 400, "image 0 is not valid base64"),
        ({"json": {"image": "QUJ"}}, 400, "image 0 is not valid base64"),
        ({"json": {"image": base64.b64encode(b"text").decode()}}, 422, "begins with the text"),
        ({"json": {"image": 3}}, 422, "image 0 must be base64 text"),
        ({"json": {"images": []}}, 422, "there is no image in the request"),
        ({"json": {}}, 422, "there is no image in the request"),
        ({"json": [1]}, 422, "must be an object"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        (
            {"content": b"[" * 10_000, "headers": {"content-type": "application/json"}},
            400,
            "nested too deeply",
        ),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "'text/plain' cannot"),
        ({"content": b"x"}, 415, "the type is missing"),
        ({"files": [("image", (f"{i}", b"x")) for i in range(9)]}, 413, "8 are allowed"),
        ({"json": {"images": ["QUJD"] * 9}}, 413, "9 images in one request; 8 are allowed"),
        ({"files": {"image": ("big.png", b"x" * 1_100_000)}}, 413, "'big.png' has 1 MB"),
        ({"content": b"x" * 2_200_000, "headers": {"content-type": "image/png"}}, 413, "2 MB"),
        (
            {
                "content": b"--b\r\nContent-Disposition: form-data; name=image\r\n\r\nabc",
                "headers": {"content-type": "multipart/form-data; boundary=b"},
            },
            400,
            "ends in the middle",
        ),
        (
            {"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            400,
            "the form is damaged",
        ),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "no boundary"),
    ],
)
def test_bad_requests_get_one_sentence(make_client, kinds, sent, status, detail):
    limits = with_limits(images=8, image_bytes=2**20, request_bytes=2 * 2**20)
    client = make_client(kinds, limits=limits)
    answer = client.post("/predict", **sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert client.state.bodies.held == 0
    good = client.post("/predict", files={"image": ("a.png", make_png())})
    assert good.status_code == 200  # nothing is lost


def test_a_name_of_an_image_is_only_a_name(client, tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8), 200).save(secret)
    for name in (str(secret), f"../../{secret}", "\x00.png", "a" * 3_000):
        answer = client.post("/predict", files={"image": (name, b"no image")})
        assert answer.status_code in (400, 422)
        assert "begins with the text" in answer.text or answer.status_code == 400
    assert len(answer.json()["predictions"][0]["path"]) <= 200


def test_images_of_many_requests_share_batches_and_get_their_own_answers(
    make_client, kinds, ones, threes
):
    client = make_client(kinds)
    host, sent = client.state.host, [b for pair in zip(ones, threes, strict=False) for b in pair]
    sent += ones[8:16]  # of two kinds in turn, so that answers of neighbours differ
    alone = [client.post("/predict", files={"image": ("a", b)}).json() for b in sent]
    embed = host.served.base.encoder.embed
    sizes = []

    class Slow:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def embed(self, batch):
            sizes.append(len(batch))
            if len(sizes) == 1:  # the model is at the first ones until all others wait for it
                assert wait_until(lambda: host.batcher._queue.qsize() == 24 - len(batch))
            return embed(batch)

    encoder = host.served.base.encoder
    slow = Slow()
    host.served = replace(host.served, base=replace(host.served.base, encoder=slow))
    host.replace_classifier(host.served.base)
    answers = {}

    def ask(i):
        answers[i] = client.post("/predict", files={"image": ("a", sent[i])})

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers.values()} == {200}
    assert sum(sizes) == 24
    assert max(sizes) == min(16, 24 - sizes[0])
    for i, expected in enumerate(alone):
        [found], [own] = answers[i].json()["predictions"], expected["predictions"]
        assert (found["name"], found["set"]) == (own["name"], own["set"])
        assert found["probability"] == pytest.approx(own["probability"], abs=1e-5)


def test_a_full_queue_and_a_slow_model_are_said(make_client, kinds, ones):
    client = make_client(kinds, limits=with_limits(queue=2, seconds=0.3))
    host = client.state.host

    class Stuck:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def embed(self, batch):
            time.sleep(1.0)
            return encoder.embed(batch)

    encoder = host.served.base.encoder
    host.served = replace(host.served, base=replace(host.served.base, encoder=Stuck()))
    host.replace_classifier(host.served.base)
    files = {"image": ("a", ones[0])}
    host.decoder.decode(ones[0])  # starts its process
    late = client.post("/predict", files=files)
    assert late.status_code == 504
    assert "no answer within 0.3 s" in late.json()["detail"]
    assert wait_until(lambda: host.batcher.n_waiting == 0)
    several = client.post(
        "/predict", files=[("image", (str(i), b)) for i, b in enumerate(ones[:6])]
    )
    assert several.status_code == 504
    assert wait_until(lambda: host.batcher.n_waiting == 0)  # also of those whose turn never came
    host.batcher.announce(2)
    busy = client.post("/predict", files=files)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")


def test_places_of_images_whose_turn_never_came_are_given_back(
    make_client, kinds, ones, monkeypatch
):
    client = make_client(kinds, limits=with_limits(seconds=0.2))
    host = client.state.host
    decode_with = host.decoder.decode_with

    def decode_slowly(*args):
        time.sleep(0.3)
        return decode_with(*args)

    monkeypatch.setattr(host.decoder, "decode_with", decode_slowly)
    files = [("image", (str(i), b)) for i, b in enumerate(ones[:8])]
    assert client.post("/predict", files=files).status_code == 504
    assert wait_until(lambda: host.batcher.n_waiting == 0)
    monkeypatch.undo()
    assert client.post("/predict", files=files[:2]).status_code == 200


def test_images_that_wait_when_the_model_is_closed_are_answered_and_later_ones_refused(
    make_client, kinds, ones, monkeypatch
):
    client = make_client(kinds)
    host = client.state.host
    encoder = host.served.base.encoder

    class Slow:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def embed(self, batch):
            is_at_it.set()
            assert wait_until(lambda: host.batcher._is_closed)
            return encoder.embed(batch)

    is_at_it = threading.Event()
    host.decoder.decode(ones[0])  # starts its process
    host.served = replace(host.served, base=replace(host.served.base, encoder=Slow()))
    host.replace_classifier(host.served.base)
    statuses = []

    def ask(image):
        statuses.append(client.post("/predict", files={"image": ("a", image)}).status_code)

    threads = [threading.Thread(target=ask, args=(b,)) for b in ones[:2]]
    threads[0].start()
    assert is_at_it.wait(60)
    threads[1].start()
    assert wait_until(lambda: host.batcher._queue.qsize() == 1)
    host.close()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]
    assert host.batcher.submit(host.served.classifier, None).cancelled()
    assert client.post("/predict", files={"image": ("a", ones[0])}).status_code == 503


def test_a_fault_of_the_model_is_a_problem_and_the_server_goes_on(make_client, kinds, ones, capsys):
    client = make_client(kinds)
    host = client.state.host

    class Broken:
        def __getattr__(self, name):
            return getattr(encoder, name)

        def embed(self, batch):
            raise RuntimeError("out of memory")

    encoder, served = host.served.base.encoder, host.served
    host.served = replace(served, base=replace(served.base, encoder=Broken()))
    host.replace_classifier(host.served.base)
    files = {"image": ("a", ones[0])}
    assert client.post("/predict", files=files).status_code == 500
    assert "out of memory" in capsys.readouterr().err
    host.served = served
    assert client.post("/predict", files=files).status_code == 200
    assert host.batcher.n_waiting == 0


def test_what_the_model_is_and_how_much_was_asked(client, ones):
    client.post("/predict", files={"image": ("a", ones[0])})
    model = client.get("/model").json()
    assert model["classes"] == ["class 0", "class 1", "class 2"]
    assert (model["kind"], model["correctable"], model["encoder"]) == (
        "single-label",
        True,
        "pixels/8x8x1",
    )
    metrics = client.get("/metrics").text
    assert "ilk_images_total 1\n" in metrics
    assert "ilk_queue_images 0\n" in metrics
    assert client.get("/health").json() == {"status": "ok", "note": ""}


def test_a_note_names_no_option_of_the_command_line(client):
    frames = [Image.new("L", (20, 20), shade) for shade in (0, 90, 180)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    sent = {"files": [("image", ("moving.gif", content.getvalue(), "image/gif"))]}
    note = client.post("/predict", **sent).json()["predictions"][0]["note"]
    assert "the first of 3 pages or frames" in note
    assert "--" not in note
