"""A model folder from elsewhere makes no request, unless told; then without the user's token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from helpers.tiny_checkpoints import save_timm

pytestmark = pytest.mark.skipif(
    find_spec("timm") is None or find_spec("huggingface_hub") is None, reason="no timm or hub"
)

REPO, FILES = "someone/network", ("config.json", "model.safetensors")
ENCODER = f"hf-hub:{REPO}"
COMMIT = "0" * 39 + "1"
# The commands of all doors, one process each way: every line is (name, arguments).
RUN = """
import json, sys
from ilk.cli import run
for args in json.loads(sys.stdin.read()):
    print("$", " ".join(args), flush=True)
    print("exit code", run(args), flush=True)
"""
LOAD = """
import sys, ilk
from ilk.core.errors import IlkError
try:
    print(ilk.load(sys.argv[1], **({"fetch": True} if len(sys.argv) > 2 else {})).encoder.name)
except IlkError as error:
    print(type(error).__name__, error)
"""


class Hub(ThreadingHTTPServer):
    """A hub of one repository that records what it is asked."""

    def __init__(self, folder):
        self.folder, self.requests, self.tokens = folder, [], []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        self.server.requests.append(self.path)
        self.server.tokens.append(self.headers.get("Authorization"))
        name = self.path.rpartition("/")[2]
        body = b""
        if self.path.startswith("/api/"):
            body = json.dumps({"id": REPO, "sha": COMMIT, "siblings": []}).encode()
        elif name in FILES and f"/{REPO}/resolve/" in self.path:
            body = (self.server.folder / name).read_bytes()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()[:40]}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if not body:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_args):
        """Print nothing."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A hub, images, and models that were fitted on a machine that had the network."""
    home = tmp_path_factory.mktemp("fetch")
    for name in ("red", "blue"):
        (home / "photos" / name).mkdir(parents=True)
        for i in range(6):
            rng = np.random.default_rng([i, len(name)])
            pixels = rng.integers(0, 90, (20, 20, 3), np.uint8)
            pixels[..., 0 if name == "red" else 2] += 120
            Image.fromarray(pixels).save(home / "photos" / name / f"{i}.png")
    hub = Hub(save_timm(home / "network"))
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    fit = ["fit", f"{home}/photos", "--encoder", ENCODER, "--method", "GDA", "--folds", "2"]
    fit += ["--resize", "squash", "--views", "1", "--out", f"{home}/model"]
    detect = ["detect", "fit", f"{home}/photos", "--encoder", ENCODER, "--resize", "squash"]
    said = ask(home, hub, [fit, [*detect, "--out", f"{home}/detector"]], "first")
    assert said.count("exit code 0") == 2, said
    assert f"fetching config.json, model.safetensors of {REPO} from http://127.0.0.1" in said
    assert any(hub.tokens)  # it was the user who typed the name
    yield home, hub
    hub.shutdown()
    hub.server_close()


def ask(home, hub, commands, cache, code=RUN, args=()):
    """Run command lines in a process with an own, empty cache of the hub, and return its words."""
    hub.requests.clear()
    hub.tokens.clear()
    (home / cache).mkdir(exist_ok=True)
    (home / cache / "token").write_text("hf_secret_of_the_user")
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
        "HF_HOME": str(home / cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "ILK_STORE": str(home / cache / "store.sqlite"),
    }
    run = subprocess.run(
        [sys.executable, "-c", code, *args],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert "Traceback" not in run.stderr, run.stderr
    return run.stdout + run.stderr


def list_commands(home):
    photos, model = f"{home}/photos", f"{home}/model"
    return [
        ["predict", model, photos],
        ["evaluate", model, photos],
        ["add", model, "--class-images", "green", f"{photos}/red"],
        ["adapt", model, photos, "--out", f"{home}/adapted"],
        ["discover", model, photos, "--out", f"{home}/groups"],
        ["detect", "score", f"{home}/detector", photos],
    ]


def test_no_command_asks_the_hub_unless_told(world):
    home, hub = world
    said = ask(home, hub, list_commands(home), "second")
    assert not hub.requests
    assert said.count("exit code 3") == 6
    assert said.count("pass --fetch") == 6
    assert said.count(f"from http://127.0.0.1:{hub.server_address[1]}/{REPO}") == 6


def test_python_asks_the_hub_only_if_told(world):
    home, hub = world
    said = ask(home, hub, [], "third", LOAD, [f"{home}/model"])
    assert not hub.requests
    assert said.startswith("Unavailable")
    assert "fetch=True" in said
    assert ask(home, hub, [], "third", LOAD, [f"{home}/model", "fetch"]).startswith(ENCODER)
    assert hub.requests
    assert not any(hub.tokens)


def test_with_fetch_it_is_fetched_without_the_token(world):
    home, hub = world
    [predict, *_, score] = list_commands(home)
    said = ask(home, hub, [[*predict, "--fetch"], score], "fourth")
    assert said.count("exit code 0") == 2, said
    assert f"fetching config.json, model.safetensors of {REPO} from http://127.0.0.1" in said
    assert hub.requests
    assert not any(hub.tokens)


def test_what_is_fetched_must_be_what_was_fitted_with(world, tmp_path, monkeypatch):
    home, hub = world
    other = save_timm(tmp_path / "other", classes=7)
    monkeypatch.setattr(hub, "folder", other)
    said = ask(home, hub, [[*list_commands(home)[0], "--fetch"]], "fifth")
    assert "exit code 3" in said
    assert "is not the encoder that was fitted with" in said
