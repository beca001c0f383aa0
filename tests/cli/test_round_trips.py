"""What `ilk predict` writes is a table of labels that other commands read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from helpers.archives import make_png
from ilk.artifacts.load_classifier import load
from ilk.cli import run
from ilk.images import read_images

CLASSES = ("=1+1", "-a|b", "'=2", "'tis", "@x; y", " padded".strip() + ",\n2")
OPTIONS = ["--encoder", "pixels/8x8x1", "--method", "GDA"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("names")
    lines = []
    for c, name in enumerate(CLASSES):
        for i in range(6):
            file = f"={c}-{i}.png"
            (home / file).write_bytes(make_png(10 * c + i, 20 + 40 * c))
            lines.append({"path": file, "label": name})
    (home / "labels.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["fit", str(home / "labels.jsonl"), "--no-multi-label", "--out"]
    assert run([*arguments, str(home / "model"), *OPTIONS]) == 0
    return home / "model"


@pytest.mark.parametrize("safe", ["--csv-safe", "--no-csv-safe"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_names_and_paths_come_back_from_a_table(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    safe: str,
    suffix: str,
) -> None:
    files = [str(p) for p in shutil.copytree(model.parent, tmp_path / "d").glob("*.png")]
    monkeypatch.chdir(tmp_path / "d")
    names = sorted(Path(file).name for file in files)
    assert run(["predict", str(model), *names, "--out", f"p{suffix}", safe]) == 0
    answers = {p.path: p.name for p in load(model).predict(names)}
    images = read_images(f"p{suffix}", label_column="name", multi_label=False)
    assert {row.path: row.label for row in images.rows} == answers
    assert set(answers.values()) <= set(CLASSES)
    assert len(set(answers.values())) == len(CLASSES)
    capsys.readouterr()
    assert run(["evaluate", str(model), f"p{suffix}", "--label-column", "name", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["value"] == 1
