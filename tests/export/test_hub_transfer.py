"""Models go to a hub and come back the same; what is missing is said in one sentence."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("huggingface_hub")

import ilk
from ilk.cli import run
from ilk.core.digested_json import compute_digest
from ilk.core.errors import ArtifactError, InputError, OutputError, Unavailable
from ilk.export.hub_transfer import explain_hub_errors, pull, push
from ilk.updates.correct import correct_classifier

COMMITS = ("a" * 40, "b" * 40)


class FakeHub:
    """A hub in a folder: as much of the client as is used, with one commit per upload."""

    def __init__(self, home: Path) -> None:
        self.home, self.private, self.calls = home, {}, []

    def _snapshots(self, repo):
        return sorted((self.home / repo).glob("*"))

    def create_repo(self, repo, *, private, exist_ok):
        assert exist_ok
        self.private.setdefault(repo, private)

    def list_repo_files(self, repo, revision=None):
        snapshots = self._snapshots(repo)
        if not snapshots:
            return [".gitattributes"]
        folder = self.home / repo / (revision or snapshots[-1].name)
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]

    def upload_folder(
        self, *, repo_id, folder_path, commit_message, ignore_patterns, delete_patterns
    ):
        commit = COMMITS[len(self._snapshots(repo_id))]
        ignore = shutil.ignore_patterns(*ignore_patterns)
        shutil.copytree(folder_path, self.home / repo_id / commit, ignore=ignore)
        return SimpleNamespace(oid=commit)

    def model_info(self, repo, revision=None):
        self.calls.append(revision)
        found = self._snapshots(repo)
        return SimpleNamespace(sha=revision if revision in COMMITS else found[-1].name)

    def hf_hub_download(self, repo, file, *, revision):
        return str(self.home / repo / revision / file)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    return hub


def test_there_and_back(home, hub, tmp_path):
    sent = push(home / "kinds", "me/kinds")
    assert sent.revision == COMMITS[0]
    assert hub.private == {"me/kinds": True}
    folder = hub.home / "me/kinds" / COMMITS[0]
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "model.safetensors",
        "README.md",
    }
    everything = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert str(home).encode() not in everything  # no path of this machine
    back = pull("me/kinds", tmp_path / "back")
    assert back == sent
    ours, theirs = ilk.load(home / "kinds"), ilk.load(tmp_path / "back")
    x = np.random.default_rng(0).random((5, ours.encoder.space.dim)).astype(np.float32)
    np.testing.assert_array_equal(
        ours.score_batch(x).probabilities, theirs.score_batch(x).probabilities
    )
    recorded = json.loads((tmp_path / "back" / "model.json").read_text())["hub"]
    assert (recorded["repo"], recorded["revision"]) == ("me/kinds", COMMITS[0])
    assert (tmp_path / "back" / "README.md").read_text().startswith("---\nlibrary_name: ilk\n")


def test_a_revision_is_pinned(home, hub, tmp_path):
    push(home / "kinds", "me/kinds")
    push(home / "kinds", "me/kinds", license_name="mit")
    assert pull(f"me/kinds@{COMMITS[0]}", tmp_path / "old").revision == COMMITS[0]
    assert pull("me/kinds", tmp_path / "new").revision == COMMITS[1]
    assert hub.calls == [COMMITS[0], None]
    assert 'license: "mit"' in (tmp_path / "new" / "README.md").read_text()
    assert "license:" not in (tmp_path / "old" / "README.md").read_text()


def test_the_report_and_further_files_go_only_if_asked_for(home, hub, tmp_path):
    further = tmp_path / "model.onnx"
    further.write_bytes(b"onnx")
    push(home / "kinds", "me/kinds", with_report=True, is_public=True, further_files=[further])
    names = {path.name for path in (hub.home / "me/kinds" / COMMITS[0]).iterdir()}
    assert {"report.html", "intake.json", "model.onnx"} <= names
    assert hub.private == {"me/kinds": False}
    with pytest.raises(InputError, match="cannot read"):
        push(home / "kinds", "me/kinds", further_files=[tmp_path / "missing.onnx"])


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_an_altered_model_is_refused_and_nothing_is_written(home, hub, tmp_path, file):
    push(home / "kinds", "me/kinds")
    path = hub.home / "me/kinds" / COMMITS[0] / file
    content = path.read_bytes()
    path.write_bytes(content.replace(b"kind 1", b"kind 9") if "json" in file else content[:-1])
    with pytest.raises(ArtifactError):
        pull("me/kinds", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_weights_in_pickle_or_elsewhere_are_never_asked_for(home, hub, tmp_path):
    push(home / "kinds", "me/kinds")
    path = hub.home / "me/kinds" / COMMITS[0] / "model.json"
    description = json.loads(path.read_text())
    for name in ("../../etc/passwd", "model.bin", 3):
        description["weights"]["file"] = name
        description["digest"] = compute_digest(description)
        path.write_text(json.dumps(description))
        with pytest.raises(ArtifactError, match=r"names no model\.safetensors"):
            pull("me/kinds", tmp_path / "back")


def test_a_repository_of_something_else_is_left_alone(home, hub, tmp_path):
    other = hub.home / "me/thesis" / COMMITS[0]
    other.mkdir(parents=True)
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"contains other files, such as thesis\.tex"):
        push(home / "kinds", "me/thesis")
    with pytest.raises(ArtifactError, match="so it is not a model of ilk"):
        pull("me/thesis", tmp_path / "back")


def test_commands(home, hub, tmp_path, capsys):
    assert run(["push-to-hub", str(home / "kinds"), "me/kinds"]) == 0
    assert "states no licence" in capsys.readouterr().out
    out = str(tmp_path / "back")
    assert run(["from-hub", "me/kinds", "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["revision"] == COMMITS[0]
    assert run(["from-hub", "me/kinds", "--out", out]) == 0  # the same repository again
    shutil.copytree(home / "kinds", tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").glob("*.*")}
    capsys.readouterr()
    assert run(["from-hub", "me/kinds", "--out", str(tmp_path / "mine")]) == 5
    assert "holds another model, which would be lost" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").glob("*.*")} == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    assert run(["from-hub", "me/kinds", "--out", str(tmp_path / "thesis")]) == 5
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]
    assert run(["push-to-hub", str(tmp_path / "thesis"), "me/kinds"]) == 4


def test_no_token_and_no_network(home, hub, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(Unavailable, match=r"there is no token .* hf auth login"):
        push(home / "kinds", "me/kinds")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for act in (lambda: push(home / "kinds", "me/kinds"), lambda: pull("me/kinds", tmp_path)):
        with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
            act()


def test_errors_of_the_real_client_become_one_sentence(monkeypatch):
    """The client talks to a server here that answers as the hub does."""
    from huggingface_hub import HfApi, constants

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code, error = ANSWERS[self.path.split("?")[0].split("/")[4]]
            self.send_response(code)
            self.send_header("Content-Length", "2")
            if error:
                self.send_header("X-Error-Code", error)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        for name, (_, _, sentence) in EXPECTED.items():
            with (
                pytest.raises(Unavailable, match=sentence) as caught,
                explain_hub_errors(f"me/{name}"),
            ):
                HfApi(endpoint=endpoint, token=False).model_info(f"me/{name}")
            assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()
    invalid = pytest.raises(InputError, match="is not a valid name of a hub repository")
    with invalid, explain_hub_errors("a/b/c"):
        HfApi(endpoint=endpoint).model_info("a/b/c")
    unreachable = pytest.raises(Unavailable, match="the hub cannot be reached for me/x")
    with unreachable, explain_hub_errors("me/x"):
        raise ConnectionError("no route to host")


EXPECTED = {
    "gone": (404, "RepoNotFound", "has no repository me/gone, or it is private"),
    "gated": (403, "GatedRepo", "asks for its conditions to be accepted"),
    "old": (404, "RevisionNotFound", "names a revision that the hub does not have"),
    "closed": (403, "", "the token of this machine may not do this"),
}
ANSWERS = {name: (code, error) for name, (code, error, _) in EXPECTED.items()}


def test_nothing_of_the_user_is_replaced_by_a_download(home, hub, tmp_path):
    push(home / "kinds", "me/kinds")
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "README.md").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        pull("me/kinds", thesis)
    assert (thesis / "README.md").read_text() == "years of work"
    out = tmp_path / "out"
    assert run(["from-hub", "me/kinds", "--out", str(out)]) == 0
    assert run(["from-hub", "me/kinds", "--out", str(out)]) == 0  # again is no loss
    model = ilk.load(out)
    assert model.metadata["hub"]["repo"] == "me/kinds"
    x = np.random.default_rng(0).random((4, model.encoder.space.dim)).astype(np.float32)
    extended, _ = correct_classifier(model, x, ["a new kind"] * 4)
    extended.save(out)
    with pytest.raises(OutputError, match="was corrected or extended since"):
        pull("me/kinds", out)
    assert "a new kind" in ilk.load(out).classes


@pytest.mark.parametrize("name", ["model.json", "README.md", "id_rsa", ".netrc", ".x.onnx"])
def test_only_exported_files_go_along(home, hub, tmp_path, name):
    (tmp_path / name).write_bytes(b"secret")
    with pytest.raises(InputError, match="is not named as an exported file"):
        push(home / "kinds", "me/kinds", further_files=[tmp_path / name])
    assert not (hub.home / "me").exists()


def test_two_files_of_one_name_are_refused(home, hub, tmp_path):
    paths = [tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"onnx")
    with pytest.raises(InputError, match=r"two files are named m\.onnx"):
        push(home / "kinds", "me/kinds", further_files=paths)
