"""Requests that the OpenAPI description allows, and damaged ones, never meet a fault."""

import base64
import re
import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from helpers.served_model import make_png, make_state
from ilk.serve.app import create_app
from ilk.serve.openapi import build_openapi

HEADERS = {"Authorization": "Bearer secret", "Host": "127.0.0.1"}
SETTINGS = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@pytest.fixture(scope="module")
def app(digits_home, shared_decoder):
    state = make_state(digits_home / "kinds", decoder=shared_decoder, token="secret")
    close = state.close
    state.close = lambda: None  # each call of a client ends its application
    yield create_app(state)
    close()


def list_operations():
    return [(method, path) for path, item in build_openapi()["paths"].items() for method in item]


def test_every_route_is_described(app):
    routes = {
        (method.lower(), re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        if isinstance(route, Route) and not (route.path == "/" or route.path.startswith("/static/"))
        for method in route.methods - {"HEAD"}
    }
    assert routes == set(list_operations())


@pytest.mark.parametrize(("method", "path"), list_operations())
def test_what_the_description_allows_is_answered_as_it_says(app, method, path):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    excluded = [positive_data_acceptance]  # no schema can say which bytes are an image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own parts
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)
        operation = schema[path][method.upper()]
        seen = Counter()

        @given(case=operation.as_strategy())
        @SETTINGS
        def send(case):
            answer = case.call(headers=HEADERS)
            seen[answer.status_code] += 1
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            case.validate_response(answer, headers=HEADERS, excluded_checks=excluded)

        send()
    assert seen


@given(
    position=st.integers(0, 70),
    junk=st.binary(max_size=12),
    cut=st.integers(0, 75),
    name=st.text(max_size=20),
    label=st.text(max_size=30),
    kind=st.sampled_from(["multipart", "json", "raw"]),
    path=st.sampled_from(["/predict", "/corrections", "/explain"]),
)
@settings(SETTINGS, max_examples=60)
def test_damaged_images_and_odd_names_are_refused_in_order(
    app, position, junk, cut, name, label, kind, path
):
    from starlette.testclient import TestClient

    png = make_png()
    image = png[:position] + junk + png[position:cut]
    client = TestClient(app, base_url="http://127.0.0.1", headers=HEADERS)
    if kind == "json":
        text = base64.b64encode(image).decode()
        sent = {"json": {"image": {"name": name, "data": text}, "label": label, "target": label}}
    elif kind == "multipart":
        sent = {"files": {"image": (name or "x", image)}, "data": {"label": "", "target": label}}
    else:
        sent = {"content": image, "headers": {"content-type": "image/png"}}
    answer = client.post(path, **sent)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["detail"]
