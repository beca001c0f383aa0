"""What a hostile client sends meets no fault, keeps no connection, and leads to no other host."""

import asyncio
import json
import socket
import time
from base64 import b64encode

import pytest
from starlette.testclient import TestClient

from helpers.served_model import make_png, serve_app
from ilk.serve.app import ServerState, create_app
from ilk.serve.bodies import BodyBudget, read_body
from ilk.serve.connections import BoundedConnection
from ilk.serve.json_body import MAX_VALUES, parse_object
from ilk.serve.limits import Limits
from ilk.serve.problems import Problem

IMAGE = b64encode(make_png()).decode()
HALF = "\\ud800"  # of a surrogate pair: JSON can name it, UTF-8 cannot hold it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", f'{{"image": {{"name": "{HALF}", "data": "{IMAGE}"}}}}'),
        ("/predict", f'{{"image": "{IMAGE}", "{HALF}": 1}}'),
        ("/explain", f'{{"image": "{IMAGE}", "target": "{HALF}"}}'),
        ("/corrections", f'{{"image": "{IMAGE}", "label": "{HALF}"}}'),
    ],
)
def test_text_that_is_no_unicode_is_refused_wherever_it_stands(kinds, make_client, path, body):
    headers = {"Content-Type": "application/json"}
    answer = make_client(kinds).post(path, content=body, headers=headers)
    assert answer.status_code == 400
    assert "Unicode" in answer.json()["detail"]


@pytest.mark.parametrize("field", ["seed", "budget"])
def test_numbers_of_thousands_of_digits_are_refused(kinds, make_client, field):
    answer = make_client(kinds).post(
        "/explain", files={"image": make_png()}, data={field: "9" * 5000}
    )
    assert answer.status_code == 422
    assert field in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/corrections/"), ("POST", "/versions/")])
def test_numbers_in_a_path_may_be_of_any_length(kinds, make_client, method, path):
    client = make_client(kinds)
    for number in ("9" * 18, "9" * 30, "9" * 5000):
        answer = client.request(method, path + number)
        assert answer.status_code == 404
        assert len(answer.json()["detail"]) < 400


def test_json_that_would_fill_the_memory_is_refused_before_it_is_built():
    started_at = time.perf_counter()
    with pytest.raises(Problem, match="values") as info:
        parse_object(b'{"image":[' + b"[]," * 5_000_000 + b"[]]}", "{}")
    assert info.value.status == 413
    assert time.perf_counter() - started_at < 1
    assert len(parse_object(json.dumps({"a": [0] * (MAX_VALUES - 5)}).encode(), "{}")["a"]) > 19_000


def test_base64_may_be_broken_by_spaces_and_lines(kinds, make_client):
    broken = "\r\n ".join(IMAGE)
    answer = make_client(kinds).post("/predict", json={"image": broken})
    assert answer.status_code == 200


def test_the_address_with_the_token_leads_to_no_other_host():
    client = TestClient(
        create_app(ServerState(token="a secret token")), base_url="http://127.0.0.1"
    )
    for path in ("///evil.example", "//evil.example", "/\\evil.example", "/%5C/evil.example"):
        client.cookies.clear()
        target = f"http://127.0.0.1{path}?token=a secret token"
        answer = client.get(target, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/evil.example"


@pytest.fixture
def address(monkeypatch):
    """Where a server listens that waits 0.3 s for a request and takes five connections."""
    monkeypatch.setattr(BoundedConnection, "request_seconds", 0.3)
    monkeypatch.setattr(BoundedConnection, "max_connections", 5)
    with serve_app(create_app(ServerState())) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        yield host, int(port)


def connect(address):
    connection = socket.create_connection(address, timeout=20)
    connection.settimeout(20)
    return connection


def receive_answer(connection):
    """Return the head of an answer; its body is read as well, which may come in pieces."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    lengths = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")]
    for _ in range(int(lengths[0].split(b":")[1])):
        connection.recv(1)
    return answer


def is_closed(connection):
    """Whether the server ends the connection; what is left of an answer may come before."""
    try:
        while connection.recv(1000):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("begun", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_request_that_never_begins_or_never_ends_its_headers_loses_its_connection(address, begun):
    with connect(address) as connection:
        connection.sendall(begun)
        for _ in range(4):  # trickle more headers, as Slowloris does
            time.sleep(0.05)
            if begun:
                connection.sendall(b"X: y\r\n")
        assert is_closed(connection)


def test_the_second_request_of_a_connection_has_to_end_too(address):
    with connect(address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in receive_answer(connection)
        time.sleep(0.4)  # an idle connection is kept, as HTTP wants it
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in receive_answer(connection)
        connection.sendall(b"GET /hea")
        assert is_closed(connection)


def test_where_there_are_too_many_connections_the_one_that_waits_longest_is_closed(address):
    kept = []
    for _ in range(5):
        kept.append(connect(address))
        time.sleep(0.01)
    with connect(address) as one_more:
        one_more.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in receive_answer(one_more)
        assert is_closed(kept[0])
        kept[4].sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in receive_answer(kept[4])
    for connection in kept:
        connection.close()


def test_a_body_that_turns_to_nonsense_after_the_answer_ends_the_connection_quietly(
    address, caplog
):
    with connect(address) as connection:
        head = b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"5\r\nhello\r\n")
        assert b"403 Forbidden" in receive_answer(connection)
        connection.sendall(b"ZZZ\r\n")
        assert is_closed(connection)
    assert "Fatal error" not in caplog.text


def test_a_body_that_trickles_is_cut():
    class Slow:
        def __init__(self):
            self.headers = {}

        async def stream(self):
            while True:
                await asyncio.sleep(0.01)
                yield b"x"

    async def read():
        async with read_body(Slow(), Limits(upload_seconds=0.2), BodyBudget(10**6), 10**6):
            pass

    with pytest.raises(Problem) as info:
        asyncio.run(read())
    assert info.value.status == 408
