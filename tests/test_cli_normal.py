"""`ilk normal`: a detector from images of what is normal, and verdicts on others."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import write_digits
from ilk import anomaly
from ilk.cli.normal import command
from ilk.errors import ArtefactError, IlkError
from ilk.store import Store


def normal(*args: object) -> int:
    """The exit code."""
    got = command.main([str(a) for a in args], standalone_mode=False, obj=())
    return int(got or 0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("digits")
    write_digits(home / "normal", {"zero 0": 120})
    write_digits(home / "new" / "fine", {"0": 170}, seed=0)
    for file in (home / "normal" / "zero 0").iterdir():
        (home / "new" / "fine" / "0" / file.name).unlink()
    write_digits(home / "new" / "odd", {"4": 40})
    return home


@pytest.fixture(scope="module")
def detector(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("detector") / "zeros"
    args = ("--encoder", "pixels/8x8x1", "--false-alarm", "0.05")
    assert normal(digits / "normal", "--out", out, *args) == 0
    return out


def verdicts(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_other_digits_are_odd_and_new_zeros_are_not(
    digits: Path, detector: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.csv"
    assert normal(detector, "--score", digits / "new", "--rows", rows) == 0
    found = verdicts(rows.read_text())
    odd = {
        kind: [r["verdict"] for r in found if f"/{kind}/" in r["path"]] for kind in ("fine", "odd")
    }
    assert len(odd["fine"]) > 20
    assert odd["odd"].count("odd") >= 0.95 * len(odd["odd"])
    assert odd["fine"].count("odd") <= 0.2 * len(odd["fine"])
    for row in found:
        assert (float(row["score"]) > float(row["threshold"])) == (row["verdict"] == "odd")


def test_what_was_saved_is_what_was_learnt(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert normal(detector, "--score", digits / "new") == 0
    later = capsys.readouterr().out
    args = ("--encoder", "pixels/8x8x1", "--false-alarm", "0.05", "--score", digits / "new")
    assert normal(digits / "normal", *args) == 0
    assert capsys.readouterr().out == later
    about = json.loads((detector / "model.json").read_text())
    assert about["format"] == "ilk detector"
    assert about["parts"]["detector"]["form"].startswith("ilk.methods.gaussian_anomaly:")


def test_another_rate_moves_the_threshold(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next((digits / "new" / "odd" / "4").iterdir())
    limits = []
    for rate in ("0.5", "0.1", "0.02"):
        assert normal(detector, "--score", one, "--false-alarm", rate) == 0
        limits.append(float(verdicts(capsys.readouterr().out)[0]["threshold"]))
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]
    assert normal(detector, "--score", one, "--false-alarm", "0.001") == 0
    told = capsys.readouterr()
    assert "needs 999 normal images and there were 120" in told.err
    assert verdicts(told.out)[0]["threshold"] == ""


def test_what_cannot_be_read_says_so_in_its_row(
    digits: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted((digits / "new" / "odd" / "4").iterdir())[:2]
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    inputs = [x for p in (good[1], broken, good[0]) for x in ("--score", p)]
    assert normal(detector, *inputs) == 1
    found = verdicts(capsys.readouterr().out)
    assert [row["path"] for row in found] == [str(good[1]), str(broken), str(good[0])]
    assert found[1]["verdict"] == found[1]["score"] == ""
    assert "truncated" in found[1]["error"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "nothing was asked for"),
        (["--out", "OUT", "--encoder", "pixls"], "the nearest"),
        (["--score", "x.png", "--encoder", "pixels", "--false-alarm", "2"], "false-alarm rate"),
        (["--out", "OUT", "--encoder", "pixels", "--false-alarm", "0"], "false-alarm rate"),
    ],
)
def test_bad_input_is_one_sentence(
    options: list[str], says: str, digits: Path, tmp_path: Path
) -> None:
    given = [str(tmp_path / "k") if option == "OUT" else option for option in options]
    with pytest.raises(IlkError, match=says):
        normal(digits / "normal", *given)


def test_a_detector_is_not_learnt_anew_and_takes_no_other_encoder(
    detector: Path, tmp_path: Path
) -> None:
    with pytest.raises(IlkError, match="is a detector already"):
        normal(detector, "--score", "x.png", "--encoder", "hog")


def test_a_folder_that_is_no_detector_or_was_altered_is_refused(
    digits: Path, detector: Path, tmp_path: Path
) -> None:
    shutil.copytree(detector, tmp_path / "w")
    with (tmp_path / "w" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(ArtefactError, match="is not the file that"):
        normal(tmp_path / "w", "--score", digits / "new")
    (tmp_path / "w" / "model.safetensors").unlink()
    with pytest.raises(ArtefactError, match="holds no ilk detector"):
        normal(tmp_path / "w", "--score", digits / "new")
    shutil.copytree(detector, tmp_path / "k")
    about = json.loads((tmp_path / "k" / "model.json").read_text())
    about["false_alarm"] = 0.5
    (tmp_path / "k" / "model.json").write_text(json.dumps(about))
    with pytest.raises(ArtefactError, match="altered"):
        normal(tmp_path / "k", "--score", digits / "new")
    about["format"] = "ilk classifier"
    (tmp_path / "k" / "model.json").write_text(json.dumps(about))
    with pytest.raises(ArtefactError, match="'ilk classifier'"):
        normal(tmp_path / "k", "--score", digits / "new")
    (tmp_path / "k" / "model.json").write_text("{")
    with pytest.raises(ArtefactError, match="is not a description"):
        normal(tmp_path / "k", "--score", digits / "new")


def test_a_classifier_is_not_overwritten_by_a_detector(digits: Path, tmp_path: Path) -> None:
    kept = b'{"format": "ilk classifier"}'
    (tmp_path / "model.json").write_bytes(kept)
    with pytest.raises(IlkError, match="holds an 'ilk classifier' and no ilk detector"):
        normal(digits / "normal", "--out", tmp_path, "--encoder", "pixels/8x8x1")
    assert (tmp_path / "model.json").read_bytes() == kept


def test_a_classifiers_command_refuses_a_detector_in_words(detector: Path) -> None:
    from ilk.classifier import load

    with pytest.raises(ArtefactError, match="'ilk detector'"):
        load(detector)


def test_scores_are_mahalanobis_distances(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image
    from sklearn.covariance import LedoitWolf

    from ilk.encoders import resolve

    encoder = resolve("pixels/8x8x1")

    def features(folder: Path) -> np.ndarray:
        files = sorted(folder.rglob("*.png"))
        return encoder.embed(
            np.stack([encoder.prepare(Image.open(f).convert("RGB")) for f in files])
        )

    theirs = (
        LedoitWolf().fit(features(digits / "normal")).mahalanobis(features(digits / "new" / "odd"))
    )
    assert normal(detector, "--score", digits / "new" / "odd") == 0
    ours = [float(row["score"]) for row in verdicts(capsys.readouterr().out)]
    np.testing.assert_allclose(np.square(ours), theirs, rtol=1e-4)


def test_two_images_do_not_tell_what_is_normal(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for file in sorted((digits / "normal" / "zero 0").iterdir())[:2]:
        shutil.copy(file, tmp_path / "two")
    with pytest.raises(IlkError, match="2 normal images do not tell"):
        normal(tmp_path / "two", "--out", tmp_path / "k", "--encoder", "pixels")
    assert not (tmp_path / "k").exists()


def test_where_no_threshold_holds_the_verdict_is_left_open_and_told_at_once(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few").mkdir()
    for file in sorted((digits / "normal" / "zero 0").iterdir())[:40]:
        shutil.copy(file, tmp_path / "few")
    assert normal(tmp_path / "few", "--out", tmp_path / "k", "--encoder", "pixels") == 0
    assert "pass --false-alarm 0.025 or more" in capsys.readouterr().err
    assert normal(tmp_path / "k", "--score", digits / "new" / "odd") == 0
    assert {row["verdict"] for row in verdicts(capsys.readouterr().out)} == {""}
    again = ("--score", digits / "new" / "odd", "--false-alarm", "0.025")
    assert normal(tmp_path / "k", *again) == 0
    assert "odd" in {row["verdict"] for row in verdicts(capsys.readouterr().out)}


def test_the_detector_from_python(digits: Path, detector: Path, tmp_path: Path) -> None:
    held, store = anomaly.load(str(detector)), Store(tmp_path / "own.sqlite")
    held.save(str(tmp_path / "again"))
    assert anomaly.load(tmp_path / "again").false_alarm == held.false_alarm == 0.05
    file = next((digits / "new" / "odd").rglob("*.png"))
    (one,) = held.judge(str(file), store)
    assert one == held.judge([file], store)[0]
    assert one.odd == (one.score > held.normal.threshold(0.05))
    (gone,) = held.judge(file.with_name("gone.png"), store)
    assert np.isnan(gone.score)
    assert not gone.odd
    assert gone.row.status == "refused"
