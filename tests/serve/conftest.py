"""One model of digits for all tests of a process; each test that changes it gets a copy."""

import shutil

import pytest
from starlette.testclient import TestClient

from helpers.served_model import LIMITS, SharedDecoder, fit_digits, list_images, make_state
from ilk.serve.app import create_app
from ilk.serve.security import CSRF_HEADER


@pytest.fixture(scope="session")
def digits_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("digits")
    fit_digits(home)
    return home


@pytest.fixture
def kinds(digits_home, tmp_path):
    return shutil.copytree(digits_home / "kinds", tmp_path / "kinds")


@pytest.fixture
def threes(tmp_path):
    """Images of a digit that the model does not know."""
    return [path.read_bytes() for path in list_images(tmp_path, "class 3", 8)]


@pytest.fixture
def ones(tmp_path, digits_home):
    """Images of a digit that the model knows, none of which it was fitted to."""
    fitted = {path.name for path in (digits_home / "photos" / "class 1").iterdir()}
    paths = list_images(tmp_path, "class 1", 60, seed=2)
    return [path.read_bytes() for path in paths if path.name not in fitted][:30]


@pytest.fixture(scope="session")
def shared_decoder():
    decoder = SharedDecoder(LIMITS)
    yield decoder
    decoder.end()


@pytest.fixture
def make_client(shared_decoder):
    """Returns a function from a model folder to a client that sends the CSRF token."""
    open_clients = []

    def make(folder, **settings):
        state = make_state(folder, decoder=shared_decoder, **settings)
        client = TestClient(create_app(state), base_url="http://127.0.0.1:8000")
        client.headers[CSRF_HEADER] = state.csrf_token
        client.__enter__()
        client.state = state
        open_clients.append(client)
        return client

    yield make
    for client in open_clients:
        client.__exit__(None, None, None)
