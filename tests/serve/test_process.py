"""`ilk serve` as a process: what it prints, how it ends, and clients that misbehave."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from helpers.served_model import make_png, serve_model, wait_until, with_limits
from ilk.cli import run
from ilk.cli.address_options import is_loopback, make_address
from ilk.cli.serve import find_model
from ilk.core.errors import InputError, OutputError
from ilk.serve.run import open_socket

ROOT = Path(__file__).parents[2]


def start(arguments, cwd=None):
    command = [sys.executable, "-m", "ilk", "serve", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "ILK_TOKEN": ""}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={name: value for name, value in environment.items() if name != "ILK_TOKEN"},
    )


def end(process, number=signal.SIGINT):
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_answers_and_stops_in_order(kinds, number):
    process = start([kinds, "--port", "0"])
    line = process.stdout.readline()
    assert line.startswith(f"ilk serves {kinds} at http://127.0.0.1:")
    address = line.split(" at ")[1].strip()
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        assert json.load(answer) == {"status": "ok", "note": ""}
    code, _, err = end(process, number)
    assert (code, err.strip().splitlines()) == (0, ["Ctrl-C stops it.", "ilk: stopped"])


def test_any_other_address_needs_a_token_which_it_prints(kinds):
    process = start([kinds, "--port", "0", "--host", "0.0.0.0", "--token", ""])
    address = urlsplit(process.stdout.readline().split(" at ")[1].strip())
    assert address.query.startswith("token=")
    token = address.query.removeprefix("token=")
    assert len(token) >= 24
    url = f"http://127.0.0.1:{address.port}/model"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=60)
    assert refused.value.code == 401
    refused.value.close()
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert json.load(answer)["classes"]
    end(process)


def test_without_a_name_the_only_model_here_is_served(kinds, tmp_path):
    process = start(["--port", "0", "--json"], cwd=tmp_path)
    printed = json.loads(process.stdout.readline())
    assert printed["address"].startswith("http://127.0.0.1:")
    assert (printed["model"], printed["token"]) == ("kinds", None)
    end(process)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "there is no model in this folder; train one with"),
        (["nowhere"], 4, "nowhere contains no ilk classifier"),
        (["--token", "short", "KINDS"], 2, "a token needs at least 8 characters"),
        (["--token", "ein tägliches", "KINDS"], 2, "a token has letters from a to z"),
        (["--host", "a" * 300, "KINDS"], 2, "is not an address of this machine"),
        (["--host", "192.0.2.1", "KINDS"], 2, "cannot listen on port"),
        (["--host", "no such host", "KINDS"], 2, "'no such host' is not an address"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    kinds, tmp_path, monkeypatch, capsys, arguments, code, sentence
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    arguments = [str(kinds) if a == "KINDS" else a for a in arguments]
    assert run(["serve", *arguments, "--port", "0"]) == code
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_models_that_could_be_meant_are_listed_with_what_to_type(
    tmp_path, monkeypatch, capsys, digits_home
):
    def refuse(*arguments):
        assert run(["serve", *arguments, "--port", "0"]) == 2
        return " ".join(capsys.readouterr().err.split())

    monkeypatch.chdir(tmp_path)
    for i in range(12):
        shutil.copytree(digits_home / "kinds", tmp_path / "deep" / f"my kinds {i:02}")
    (tmp_path / "photos").mkdir()
    assert find_model("photos") == Path("photos")  # what it is, loading says
    assert "further down: 12 models ('deep/my kinds 00', " in refuse()
    assert "deep holds 12 models ('deep/my kinds 00', " in refuse("deep")
    assert refuse("deep").endswith("and 2 more); name one: ilk serve 'deep/my kinds 00'")
    shutil.move(tmp_path / "deep" / "my kinds 00", tmp_path / "kinds")
    assert find_model(None) == Path("kinds")
    shutil.move(tmp_path / "deep" / "my kinds 01", tmp_path / "b c")
    assert refuse() == "ilk: this folder holds 2 models ('b c', kinds); name one: ilk serve 'b c'"
    monkeypatch.chdir(tmp_path / "kinds")
    assert find_model(None) == Path()


def test_without_its_packages_a_server_says_what_to_install(kinds, monkeypatch, capsys):
    monkeypatch.setattr("ilk.serve.requirements.find_spec", lambda _name: None)
    assert run(["serve", str(kinds), "--port", "0"]) == 3
    expected = "a server needs starlette, uvicorn, python-multipart; run: pip install 'ilk[serve]'"
    assert expected in capsys.readouterr().err


def test_several_models_here_are_listed(kinds, tmp_path, monkeypatch, capsys):
    shutil.copytree(kinds, tmp_path / "kinds2")
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--port", "0"]) == 2
    expected = "this folder holds 2 models (kinds, kinds2); name one: ilk serve kinds"
    assert expected in capsys.readouterr().err


def test_a_port_in_use_is_said_before_the_model_is_loaded(kinds, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OutputError, match=f"port {port} of 127.0.0.1 is in use"):
            open_socket("127.0.0.1", port)
        assert run(["serve", str(kinds), "--port", str(port)]) == 5
    assert "choose another one with --port" in capsys.readouterr().err


def test_addresses_that_only_this_machine_reaches():
    assert [is_loopback(h) for h in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "ilk.example")] == [False] * 4
    with pytest.raises(InputError):
        open_socket("192.0.2.1", 0)


def send_raw(port, content):
    """Send bytes, and return what came back before the server closed the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(content)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_clients_that_leave_lie_or_dawdle_do_no_harm(kinds, capfd):
    limits = with_limits(upload_seconds=0.5, request_bytes=2**20)
    with serve_model(kinds, limits) as served:
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nConnection: close\r\n"
        form = "Content-Type: multipart/form-data; boundary=b\r\n"
        part = '--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        cut = f"{head}{form}Content-Length: 100000\r\n\r\n{part}abc".encode()
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(cut)  # and leaves in the middle of its upload
        slow = send_raw(served.port, cut)
        assert b"408" in slow.split(b"\r\n")[0]
        huge = f"{head}{form}Content-Length: 209715200\r\n\r\n{part}".encode()
        assert b"413" in send_raw(served.port, huge).split(b"\r\n")[0]
        chunked = f"{head}{form}Transfer-Encoding: chunked\r\n\r\n".encode()
        chunks = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(20))
        assert b"413" in send_raw(served.port, chunked + chunks + b"0\r\n\r\n").split(b"\r\n")[0]
        assert b"400" in send_raw(served.port, b"no request at all\r\n\r\n").split(b"\r\n")[0]
        rebound = head.replace(f"127.0.0.1:{served.port}", "evil.example")
        assert b"421" in send_raw(served.port, f"{rebound}\r\n".encode()).split(b"\r\n")[0]
        png = make_png()
        good = f"{head}Content-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n".encode() + png
        assert b"200 OK" in send_raw(served.port, good)
        assert wait_until(lambda: served.state.bodies.held == 0)
        assert served.state.host.batcher.n_waiting == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_correction_that_was_answered_survives_kill_9(kinds, threes):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\nclass 3\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + threes[0]
        + b"\r\n--b--\r\n"
    )
    headers = {
        "Authorization": "Bearer a long secret",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    process = start([kinds, "--port", "0", "--token", "a long secret", "--json"])
    address = json.loads(process.stdout.readline())["address"]
    sent = urllib.request.Request(f"{address}/corrections", body, headers)
    with urllib.request.urlopen(sent, timeout=60) as answer:
        assert answer.status == 201
    end(process, signal.SIGKILL)
    again = start([kinds, "--port", "0", "--json"])
    address = json.loads(again.stdout.readline())["address"]
    with urllib.request.urlopen(f"{address}/corrections", timeout=60) as answer:
        assert [c["label"] for c in json.load(answer)["pending"]] == ["class 3"]
    _, _, err = end(again)
    assert "unsaved corrections of an earlier run: 1" in err


def test_an_empty_token_is_none_where_other_machines_can_reach_the_server():
    for token in (None, ""):
        assert make_address("127.0.0.1", 0, token, ()).token == ""
        assert len(make_address("0.0.0.0", 0, token, ()).token) >= 24
    with pytest.raises(InputError, match="at least 8 characters"):
        make_address("127.0.0.1", 0, "short", ())
