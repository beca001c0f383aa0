"""`ilk label` without a browser: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import re
import socket
from pathlib import Path

import pytest

from helpers.labelling_server import ENCODER, serve_folder, write_shapes
from ilk.cli import run
from ilk.cli.address_options import make_address
from ilk.labelling.session import LabellingSession
from ilk.serve.run import format_token
from ilk.store import Store

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

OPTIONS = ["--encoder", ENCODER, "--no-browser", "--port", "0"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of which 24 images are labelled in its log."""
    truth = write_shapes(tmp_path / "discs", 40)
    log = tmp_path / "discs.labels.sqlite"
    store = Store(tmp_path / "store.sqlite")
    with LabellingSession.open(tmp_path / "discs", log, encoder=ENCODER, store=store) as session:
        for _ in range(24):
            item = session.next_item("ann")
            assert item is not None
            session.assign("ann", item.digest, truth[item.path])
    return tmp_path / "discs"


def read_error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    return lines[-1]


def test_status_and_exports_need_no_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder.parent
    options = ["label", str(folder), "--encoder", ENCODER]
    assert run([*options, "--status"]) == 0
    assert "24" in capsys.readouterr().out
    assert run([*options, "--export-csv", str(home / "t.csv")]) == 0
    assert run([*options, "--export-folder", str(home / "copies")]) == 0
    capsys.readouterr()
    assert run([*options, "--export-model", str(home / "kinds")]) == 0
    assert re.search(r"accuracy .* on \d+ images? drawn at random", capsys.readouterr().out)
    with (home / "t.csv").open(encoding="utf-8") as lines:
        assert len(list(csv.DictReader(lines))) == 24
    assert len(list((home / "copies").glob("*/*.png"))) == 24
    capsys.readouterr()
    assert run(["predict", str(home / "kinds"), str(folder / "image-000.png")]) == 0
    assert run([*options, "--export-csv", str(home / "t.csv")]) == 5
    assert "exists" in read_error(capsys)


def test_status_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", str(folder), "--encoder", ENCODER, "--status", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["progress"]["n_labelled"] == 24
    assert value["log"].endswith("discs.labels.sqlite")


def test_a_second_server_on_a_log_is_refused_but_may_look(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_folder(folder) as server:
        assert run(["label", str(folder), *OPTIONS]) == 5
        assert "another ilk process is labelling" in read_error(capsys)
        assert run(["label", str(folder), "--encoder", ENCODER, "--status"]) == 0
        rest = server.stop()
    assert "24 labelled images are saved in" in rest
    assert f"to continue, run `ilk label {folder}" in rest


def test_files_that_are_left_out_are_listed(folder: Path) -> None:
    (folder / "words.jpg").write_text("no picture", encoding="utf-8")
    (folder / "again.png").write_bytes((folder / "image-000.png").read_bytes())
    with serve_folder(folder) as server:
        server.stop()
    printed = "\n".join(server.errors)
    assert re.search(r"not an image +1 +words\.jpg", printed)
    assert re.search(r"duplicate +1 +", printed)


def test_a_port_in_use_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert run(["label", str(folder), "--encoder", ENCODER, "--port", port]) == 5
    assert port in read_error(capsys)


def test_folders_that_cannot_be_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["label", str(tmp_path / "empty"), *OPTIONS]) == 2
    assert "is empty" in read_error(capsys)
    assert run(["label", str(tmp_path / "missing"), *OPTIONS]) == 2
    assert "missing" in read_error(capsys)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "note.txt").write_text("no image")
    assert run(["label", str(tmp_path / "text"), *OPTIONS]) == 2
    assert "text" in read_error(capsys)
    write_shapes(tmp_path / "all" / "red", 3)
    write_shapes(tmp_path / "all" / "green", 3, seed=1)
    assert run(["label", str(tmp_path / "all"), *OPTIONS]) == 2
    assert "--no-folder-labels" in read_error(capsys)
    assert not list(tmp_path.glob("*/*.sqlite"))


def test_a_log_of_another_kind_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder.parent / "other.sqlite"
    other.write_text("no log")
    assert run(["label", str(folder), *OPTIONS, "--log", str(other)]) == 4
    assert "not a log" in read_error(capsys)


def test_a_single_image_can_be_labelled(tmp_path: Path) -> None:
    write_shapes(tmp_path / "one", 1)
    with serve_folder(tmp_path / "one") as server:
        assert "/label" in server.address
        assert "0 labelled images" in server.stop()


def test_a_token_is_made_where_other_machines_can_reach_the_page(tmp_path: Path) -> None:
    write_shapes(tmp_path / "few", 3)
    with serve_folder(tmp_path / "few", "--host", "0.0.0.0") as server:
        assert "?token=" in server.address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
@pytest.mark.parametrize("given", [None, ""])
def test_no_empty_token_opens_the_page_to_other_machines(host: str, given: str | None) -> None:
    assert len(make_address(host, 0, given, ()).token) > 20
    assert make_address("127.0.0.2", 0, given, ()).token == ""
    assert format_token("a+b&c=d#") == "?token=a%2Bb%26c%3Dd%23"
