"""The examples of the README work as they are printed, but for the address."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from helpers.served_model import serve_model

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8000"


def read_blocks(language):
    text = README.read_text(encoding="utf-8").split("## Over HTTP and on a page")[1]
    section = text.split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def photos(tmp_path, monkeypatch, ones):
    monkeypatch.chdir(tmp_path)
    for name, content in zip(("new", "a", "b"), ones, strict=False):
        (tmp_path / "x.png").write_bytes(content)
        Image.open(tmp_path / "x.png").convert("RGB").save(f"{name}.jpg", quality=100)


def test_commands_with_curl(kinds, photos):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    asking, correcting = read_blocks("sh")
    lines = asking.strip().splitlines()
    assert len(lines) == 3
    with serve_model(kinds) as served:
        answers = [run_curl(line, served.address) for line in lines]
    assert ['"name":' in a and '"probability":' in a for a in answers[:2]] == [True] * 2
    assert answers[1].count('"probability":') > answers[0].count('"probability":')
    assert '"class 0"' in answers[2]
    with serve_model(kinds, token="secret") as served:
        answer = run_curl(correcting.strip(), served.address)
    assert "corrected image (1 of owl)" in answer


def run_curl(line, address):
    assert ADDRESS in line
    command = line.replace(ADDRESS, address).replace("curl ", "curl -sS --fail-with-body ", 1)
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env={"ILK_TOKEN": "secret"}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_example_in_python(kinds, photos, capsys):
    [code] = read_blocks("python")
    with serve_model(kinds) as served:
        exec(compile(code.replace(ADDRESS, served.address), "README", "exec"), {})
    assert re.match(r"class \d 0\.\d+ \[.*\] (True|False)\n", capsys.readouterr().out)
