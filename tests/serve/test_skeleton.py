"""Every answer is guarded: host, origin, token, CSRF, headers, and one shape of errors."""

from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ilk.core.errors import InputError
from ilk.serve.app import NavigationItem, ServerState, create_app
from ilk.serve.security import COOKIE, CSRF_HEADER, is_equal
from ilk.serve.shell import respond_page


async def change(_request: Request) -> Response:
    return JSONResponse({"changed": True})


async def fail(_request: Request) -> Response:
    raise InputError("the label 'x' is unknown; choose another")


async def break_down(_request: Request) -> Response:
    raise ZeroDivisionError


async def show(request: Request) -> Response:
    return respond_page(request, "Label <it>", "<h1>Label</h1>", "/static/base.js")


ROUTES = [
    Route("/label", show),
    Route("/change", change, methods=["POST", "PUT", "PATCH", "DELETE"]),
    Route("/fail", fail),
    Route("/break", break_down),
]


@pytest.fixture
def state():
    return ServerState()


@pytest.fixture
def client(state):
    app = create_app(state, routes=ROUTES, pages=[NavigationItem("/label", "Label")])
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def test_a_page_has_its_navigation_and_the_csrf_token_and_escapes_its_title(client, state):
    page = client.get("/label")
    assert page.status_code == 200
    assert f'<meta name="csrf-token" content="{state.csrf_token}">' in page.text
    assert '<a href="/label" aria-current="page">Label</a>' in page.text
    assert "<title>Label &lt;it&gt; · ilk</title>" in page.text
    assert client.get("/", follow_redirects=False).headers["location"] == "/label"


def test_scripts_and_styles_are_served_and_nothing_else_of_the_disk(client):
    script = client.get("/static/base.js")
    assert script.headers["content-type"].startswith("text/javascript")
    tag = script.headers["etag"]
    assert client.get("/static/base.js", headers={"if-none-match": tag}).status_code == 304
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/app.py", "/static/"):
        assert client.get(path).status_code == 404


def test_no_answer_allows_scripts_in_pages_or_other_origins(client):
    for path in ("/label", "/health", "/nothing", "/static/style.css", "/break"):
        answer = client.get(path)
        assert "script-src 'self'" in answer.headers["content-security-policy"], path
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7:8000", 200),  # an address cannot be rebound
        ("evil.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("localhost.:8000", 200),
        ("[::1].evil.example", 421),
        ("[evil.example]", 421),
        ("127.0.0.1:evil.example", 421),
        ("localhost/evil", 421),
        ("127.0.0.1?evil.example", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(client, host, status):
    assert client.get("/health", headers={"host": host}).status_code == status


def test_further_host_names_can_be_allowed():
    with TestClient(create_app(ServerState(hosts=("ilk.example",)))) as client:
        assert client.get("/health", headers={"host": "ILK.example:80"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({CSRF_HEADER: "guess"}, 403),
        ({CSRF_HEADER: "TOKEN"}, 200),
        ({CSRF_HEADER: "TOKEN", "origin": "http://127.0.0.1:8000"}, 200),
        ({CSRF_HEADER: "TOKEN", "origin": "http://evil.example"}, 403),
        ({CSRF_HEADER: "TOKEN", "origin": "null"}, 403),
        ({CSRF_HEADER: "TOKEN", "origin": "http://127.0.0.1:9000"}, 403),
        ({"authorization": "Bearer "}, 403),
    ],
)
def test_what_changes_something_needs_the_csrf_token_of_the_page(client, state, headers, status):
    sent = {name: state.csrf_token if v == "TOKEN" else v for name, v in headers.items()}
    assert client.post("/change", headers=sent).status_code == status


def test_two_host_headers_are_refused(client):
    for second in ("evil.example", "127.0.0.1:8000"):
        sent = [("host", "127.0.0.1:8000"), ("host", second)]
        assert client.get("/health", headers=sent).status_code == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_that_changes_something_needs_the_csrf_token(client, state, method):
    assert client.request(method, "/change").status_code == 403
    csrf = {CSRF_HEADER: state.csrf_token}
    assert client.request(method, "/change", headers=csrf).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"host": "evil.example"}, {"origin": "http://evil.example"}]
)
def test_a_websocket_is_refused_as_any_request_is(headers):
    """There is none; should one be added, the guard is there before it."""

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(1000)

    token = "secret"
    app = create_app(ServerState(token=token), routes=[WebSocketRoute("/socket", echo)])
    good = {"host": "127.0.0.1:8000", "authorization": f"Bearer {token}"}
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        with client.websocket_connect("/socket", headers=good) as socket:
            assert socket.receive()["code"] == 1000
        sent = {**good, **headers} if headers else {"host": good["host"]}  # without the token
        with pytest.raises(WebSocketDisconnect) as refused:
            client.websocket_connect("/socket", headers=sent).__enter__()
        assert refused.value.code == 1008


def test_the_cookie_is_set_by_a_page_of_this_server_only():
    state = ServerState(token="secret")
    app = create_app(state, routes=ROUTES)
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        for path in ("//evil.example", "///evil.example", "/label"):
            address = f"http://127.0.0.1:8000{path}?token=secret"
            client.cookies.clear()
            location = client.get(address).headers["location"]
            assert urlsplit(location).netloc == "", location


@pytest.mark.parametrize("wrong", ["secret", "SECRET", "Secre", "Secrets", ""])
def test_a_token_is_compared_as_it_is(wrong):
    state = ServerState(token="Secret")
    assert not is_equal(wrong, state.token)
    with TestClient(create_app(state), base_url="http://127.0.0.1:8000") as client:
        client.cookies.set(COOKIE, wrong)
        assert client.get("/model").status_code == 401


def test_no_secret_is_equal_to_a_missing_one():
    assert not is_equal("", "")


def test_a_token_is_asked_for_everywhere_and_set_as_a_cookie_by_the_printed_address():
    state = ServerState(token="secret")
    app = create_app(state, routes=ROUTES, pages=[NavigationItem("/label", "Label")])
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        refused = client.get("/label")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200
        for path in ("/metrics", "/static/base.js", "/", "/nothing"):
            assert client.get(path).status_code == 401, path
        assert client.get("/label?token=wrong").status_code == 401
        bearer = {"authorization": "Bearer secret"}
        assert client.get("/label", headers=bearer).status_code == 200
        assert client.post("/change", headers=bearer).status_code == 200
        entered = client.get("/label?token=secret")
        assert (entered.status_code, entered.headers["location"]) == (303, "/label")
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "samesite=strict" in entered.headers["set-cookie"].lower()
        assert client.get("/label").status_code == 200  # by the cookie
        assert client.post("/change").status_code == 403  # which a browser sends unasked
        csrf = {CSRF_HEADER: state.csrf_token}
        assert client.post("/change", headers=csrf).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing"),
        ("GET", "/change", 405, "GET is not allowed"),
        ("GET", "/fail", 422, "the label 'x' is unknown; choose another"),
        ("GET", "/break", 500, "caused an internal error of this server (ZeroDivisionError)"),
    ],
)
def test_every_error_is_a_problem_in_json(client, capsys, method, path, status, detail):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    assert detail in problem["detail"]
    assert ("ZeroDivisionError" in capsys.readouterr().err) == (status == 500)


def test_requests_are_counted_by_route_and_not_by_path(client):
    client.get("/health")
    client.get("/secret/path/1")
    text = client.get("/metrics").text
    assert 'ilk_requests_total{method="GET",route="/health",status="200"} 1' in text
    assert 'route="other",status="404"' in text
    assert "/secret" not in text
    assert 'ilk_request_seconds_bucket{route="/health",le="+Inf"} 1' in text
