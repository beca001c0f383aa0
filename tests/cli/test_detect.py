"""`ilk detect`: a detector trained on normal images, and scores of others."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click import UsageError

from helpers.digit_folders import write_digits
from ilk.artifacts import detector as anomaly
from ilk.artifacts.anomaly_masks import read_mask
from ilk.cli.detect import command
from ilk.core.errors import ArtifactError, IlkError
from ilk.store import Store


def detect(*args: object) -> int:
    """Run `ilk detect` and return the exit code."""
    return int(command.main([str(a) for a in args], standalone_mode=False, obj=()) or 0)


def fit(*args: object) -> int:
    return detect("fit", *args)


def score(*args: object) -> int:
    return detect("score", *args)


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
    assert fit(digits / "normal", "--out", out, *args) == 0
    return out


def read_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_other_digits_are_anomalies_and_new_zeros_are_not(
    digits: Path, detector: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    assert score(detector, digits / "new", "--out", out) == 0
    rows = read_rows(out.read_text())
    flags = {
        name: [r["anomaly"] for r in rows if f"/{name}/" in r["path"]] for name in ("fine", "odd")
    }
    assert len(flags["fine"]) > 20
    assert flags["odd"].count("true") >= 0.95 * len(flags["odd"])
    assert flags["fine"].count("true") <= 0.2 * len(flags["fine"])
    for row in rows:
        assert (float(row["score"]) > float(row["threshold"])) == (row["anomaly"] == "true")


def test_the_same_command_gives_the_same_detector(
    digits: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(detector, digits / "new") == 0
    first = capsys.readouterr().out
    args = ("--encoder", "pixels/8x8x1", "--false-alarm", "0.05", "--out", tmp_path / "again")
    assert fit(digits / "normal", *args) == 0
    assert score(tmp_path / "again", digits / "new") == 0
    assert capsys.readouterr().out == first
    description = json.loads((detector / "model.json").read_text())
    assert description["format"] == "ilk detector"
    assert description["parts"]["detector"]["kind"] == "gaussian_detector"


def test_json_is_the_only_text_on_standard_output(
    digits: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("--encoder", "pixels/8x8x1", "--out", tmp_path / "again", "--json")
    assert fit(digits / "normal", *args) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 120
    assert report["encoder"] == "pixels/8x8x1"
    assert score(detector, digits / "new" / "odd", tmp_path / "gone.png", "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 41
    assert rows[0]["anomaly"] is True
    assert rows[-1]["anomaly"] is rows[-1]["score"] is None
    assert "missing" in rows[-1]["error"]


def test_another_rate_moves_the_threshold(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next((digits / "new" / "odd" / "4").iterdir())
    limits = []
    for rate in ("0.5", "0.1", "0.02"):
        assert score(detector, one, "--false-alarm", rate) == 0
        limits.append(float(read_rows(capsys.readouterr().out)[0]["threshold"]))
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]
    assert score(detector, one, "--false-alarm", "0.001") == 0
    captured = capsys.readouterr()
    assert "needs 999 normal images and there were 120" in captured.err
    assert read_rows(captured.out)[0]["threshold"] == ""


def test_what_cannot_be_read_says_so_in_its_row(
    digits: Path, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted((digits / "new" / "odd" / "4").iterdir())[:2]
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    assert score(detector, good[1], broken, good[0]) == 1
    rows = read_rows(capsys.readouterr().out)
    assert [row["path"] for row in rows] == [str(good[1]), str(broken), str(good[0])]
    assert rows[1]["anomaly"] == rows[1]["score"] == ""
    assert "truncated" in rows[1]["error"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoder", "pixls"], "the nearest"),
        (["--encoder", "pixels", "--false-alarm", "2"], "false-alarm rate"),
        (["--encoder", "pixels", "--false-alarm", "0"], "false-alarm rate"),
    ],
)
def test_bad_options_are_an_error_of_one_sentence(
    options: list[str], message: str, digits: Path, tmp_path: Path
) -> None:
    with pytest.raises(IlkError, match=message):
        fit(digits / "normal", "--out", tmp_path / "k", *options)
    assert not (tmp_path / "k").exists()


def test_a_rate_is_checked_before_the_detector_is_opened(tmp_path: Path) -> None:
    with pytest.raises(IlkError, match="false-alarm rate"):
        score(tmp_path / "gone", "x.png", "--false-alarm", "2")


@pytest.mark.parametrize("args", [("fit", "images"), ("score", "detector")])
def test_missing_arguments_are_usage_errors(args: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="Missing"):
        detect(*args)


def test_a_detector_is_not_taken_for_a_folder_of_images(detector: Path, tmp_path: Path) -> None:
    with pytest.raises(IlkError, match=r"is a model folder already; .* ilk detect score"):
        fit(detector, "--out", tmp_path / "k")


def test_a_folder_that_is_not_a_detector_or_was_altered_is_refused(
    digits: Path, detector: Path, tmp_path: Path
) -> None:
    shutil.copytree(detector, tmp_path / "w")
    with (tmp_path / "w" / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(ArtifactError, match="is not the file that"):
        score(tmp_path / "w", digits / "new")
    (tmp_path / "w" / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="contains no ilk detector"):
        score(tmp_path / "w", digits / "new")
    shutil.copytree(detector, tmp_path / "k")
    about = json.loads((tmp_path / "k" / "model.json").read_text())
    about["false_alarm"] = 0.5
    (tmp_path / "k" / "model.json").write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match="altered"):
        score(tmp_path / "k", digits / "new")
    about["format"] = "ilk classifier"
    (tmp_path / "k" / "model.json").write_text(json.dumps(about))
    with pytest.raises(ArtifactError, match="'ilk classifier'"):
        score(tmp_path / "k", digits / "new")
    (tmp_path / "k" / "model.json").write_text("{")
    with pytest.raises(ArtifactError, match="is not a description"):
        score(tmp_path / "k", digits / "new")


def test_a_classifier_is_not_overwritten_by_a_detector(digits: Path, tmp_path: Path) -> None:
    kept = b'{"format": "ilk classifier"}'
    (tmp_path / "model.json").write_bytes(kept)
    with pytest.raises(IlkError, match="contains an ilk classifier, not an ilk detector"):
        fit(digits / "normal", "--out", tmp_path, "--encoder", "pixels/8x8x1")
    assert (tmp_path / "model.json").read_bytes() == kept


def test_a_classifier_command_refuses_a_detector(detector: Path) -> None:
    from ilk.artifacts.load_classifier import load

    with pytest.raises(ArtifactError, match="'ilk detector'"):
        load(detector)


def test_scores_are_mahalanobis_distances(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image
    from sklearn.covariance import LedoitWolf

    from ilk.encoders import resolve_encoder

    encoder = resolve_encoder("pixels/8x8x1")

    def features(folder: Path) -> np.ndarray:
        files = sorted(folder.rglob("*.png"))
        return encoder.embed(
            np.stack([encoder.prepare(Image.open(f).convert("RGB")) for f in files])
        )

    theirs = (
        LedoitWolf().fit(features(digits / "normal")).mahalanobis(features(digits / "new" / "odd"))
    )
    assert score(detector, digits / "new" / "odd") == 0
    ours = [float(row["score"]) for row in read_rows(capsys.readouterr().out)]
    np.testing.assert_allclose(np.square(ours), theirs, rtol=1e-4)


def test_two_images_do_not_tell_what_is_normal(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for file in sorted((digits / "normal" / "zero 0").iterdir())[:2]:
        shutil.copy(file, tmp_path / "two")
    with pytest.raises(IlkError, match="2 normal images are too few"):
        fit(tmp_path / "two", "--out", tmp_path / "k", "--encoder", "pixels")
    assert not (tmp_path / "k").exists()


def test_without_a_threshold_no_image_is_flagged_and_a_warning_says_so(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few").mkdir()
    for file in sorted((digits / "normal" / "zero 0").iterdir())[:40]:
        shutil.copy(file, tmp_path / "few")
    assert fit(tmp_path / "few", "--out", tmp_path / "k", "--encoder", "pixels") == 0
    assert "pass --false-alarm 0.025 or more" in capsys.readouterr().err
    assert score(tmp_path / "k", digits / "new" / "odd") == 0
    assert {row["anomaly"] for row in read_rows(capsys.readouterr().out)} == {""}
    args = (digits / "new" / "odd", "--false-alarm", "0.025")
    assert score(tmp_path / "k", *args) == 0
    assert "true" in {row["anomaly"] for row in read_rows(capsys.readouterr().out)}


def test_the_detector_from_python(digits: Path, detector: Path, tmp_path: Path) -> None:
    held, store = anomaly.load(str(detector)), Store(tmp_path / "own.sqlite")
    held.save(str(tmp_path / "again"))
    assert anomaly.load(tmp_path / "again").false_alarm == held.false_alarm == 0.05
    file = next((digits / "new" / "odd").rglob("*.png"))
    (one,) = held.detect(str(file), store)
    assert one == held.detect([file], store)[0]
    assert one.is_anomaly == (one.score > held.model.compute_threshold(0.05))
    (gone,) = held.detect(file.with_name("gone.png"), store)
    assert np.isnan(gone.score)
    assert not gone.is_anomaly
    assert gone.row.status == "refused"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Striped parts in the layout of MVTec AD, some with a red spot, and a detector of patches."""
    from PIL import Image

    home, rng = tmp_path_factory.mktemp("parts"), np.random.default_rng(0)
    stripes = 120 + 60 * np.sin(np.arange(64) / 2)[None, :, None]

    def draw() -> Image.Image:
        noise = rng.normal(0, 12, (48, 64, 3))
        return Image.fromarray(np.clip(stripes + noise, 0, 255).astype(np.uint8))

    for folder, n in (("train/good", 14), ("test/good", 6), ("test/spot", 6)):
        (home / folder).mkdir(parents=True)
        for i in range(n):
            image = draw()
            if folder == "test/spot":
                image.paste((250, 30, 30), (36, 8, 50, 22))
                mask = Image.new("L", image.size)
                mask.paste(255, (36, 8, 50, 22))
                (home / "ground_truth" / "spot").mkdir(parents=True, exist_ok=True)
                mask.save(home / "ground_truth" / "spot" / f"{i}_mask.png")
            image.save(home / folder / f"{i}.png")
    args = ("--out", home / "detector", "--method", "PatchMemory", "--false-alarm", "0.1")
    assert fit(home / "train", *args, "--runtime", "torch") == 0
    return home


def test_maps_show_where_images_are_anomalous(parts: Path, tmp_path: Path) -> None:
    from PIL import Image

    maps, out = tmp_path / "maps", tmp_path / "rows.csv"
    args = ("--runtime", "torch", "--maps", maps, "--out", out)
    assert score(parts / "detector", parts / "test", *args) == 0
    rows = read_rows(out.read_text())
    assert len({row["map"] for row in rows}) == 12
    for row in rows:
        with Image.open(maps / row["map"]) as drawn:
            assert drawn.size == (64, 48)
            red = np.asarray(drawn.convert("RGB")).astype(int)
        if "/spot/" in row["path"]:
            left, top, right, bottom = (int(row[n]) for n in ("left", "top", "right", "bottom"))
            assert left < 43 < right
            assert top < 15 < bottom
            excess = red[..., 0] - red[..., 2]
            assert excess[10:20, 38:48].mean() > 60 + excess[38:, :20].mean()
            assert row["anomaly"] == "true"
    page = (maps / "index.html").read_text()
    assert page.count("<img") == 24
    assert page.index("spot") < page.index("good")  # the worst first
    assert score(parts / "detector", parts / "test" / "spot", *args) == 0  # its own folder again
    kept = tmp_path / "mine"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    with pytest.raises(IlkError, match="holds no maps of ilk"):
        score(parts / "detector", parts / "test", "--maps", kept)
    with pytest.raises(IlkError, match="read as images"):
        score(parts / "detector", parts / "test", "--maps", parts / "test" / "maps")


def test_evaluate_compares_maps_with_masks(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("evaluate", parts / "detector", parts / "test", "--runtime", "torch", "--json")
    assert detect(*args) == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    assert (found["n_normal"], found["n_anomalous"], found["n_masks"]) == (6, 6, 6)
    assert found["image_auroc"]["value"] == 1
    assert 0.4 < found["image_auroc"]["low"] < 0.95
    assert found["kinds"] == {"spot": 1}
    assert found["pixel_auroc"] > 0.9
    assert found["region_overlap"] > 0.6
    whole = tmp_path / "whole"
    shutil.copytree(parts / "test", whole / "test")
    shutil.copytree(parts / "ground_truth", whole / "ground_truth")
    assert detect(*args[:2], whole, *args[3:]) == 0
    captured = capsys.readouterr()
    assert "exclude" not in captured.err + captured.out  # nobody asked to leave the masks out
    assert json.loads(captured.out)["scores"]["n_masks"] == 6
    elsewhere = tmp_path / "elsewhere" / "spot"
    elsewhere.mkdir(parents=True)
    from PIL import Image

    for i in range(6):
        mask = Image.new("L", (64, 48))
        mask.paste(255, (2, 30, 16, 44))  # where nothing is
        mask.save(elsewhere / f"{i}.png")
    assert detect(*args, "--masks", tmp_path / "elsewhere") == 0
    assert json.loads(capsys.readouterr().out)["scores"]["pixel_auroc"] < 0.7
    for file in sorted(elsewhere.iterdir())[1:]:
        file.unlink()
    assert detect(*args[:-1], "--masks", tmp_path / "elsewhere") == 0
    assert "5 of 6 anomalous images have no mask" in " ".join(capsys.readouterr().out.split())
    Image.new("L", (64, 48)).save(elsewhere / "0.png")
    for i in range(1, 6):
        shutil.copy(elsewhere / "0.png", elsewhere / f"{i}.png")
    assert detect(*args[:-1], "--masks", tmp_path / "elsewhere") == 0
    assert "are all black" in " ".join(capsys.readouterr().out.split())
    Image.new("L", (9, 9)).save(elsewhere / "0.png")
    with pytest.raises(IlkError, match="has 9 x 9 pixels and its image 64 x 48"):
        detect(*args, "--masks", tmp_path / "elsewhere")
    with pytest.raises(
        IlkError, match=r"no normal image among the 12 images \(folders: [a-z, ]*spot"
    ):
        detect(*args, "--normal", "fine")
    with pytest.raises(IlkError, match="no folder of masks"):
        detect(*args, "--masks", tmp_path / "gone")


def test_a_detector_of_another_grid_is_refused(parts: Path, tmp_path: Path) -> None:
    held = anomaly.load(parts / "detector", runtime="torch")
    model = replace(cast("Any", held.model), height=28, width=7)  # as many patches
    replace(held, model=model).save(tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"\(28, 7\) patches, the encoder has \(14, 14\)"):
        anomaly.load(tmp_path / "other", runtime="torch")


def test_black_of_a_lossy_mask_is_not_anomalous(tmp_path: Path) -> None:
    from PIL import Image

    mask = np.zeros((48, 64), np.uint8)
    mask[10:25, 33:50] = 255
    Image.fromarray(mask).save(tmp_path / "mask.jpg", quality=90)
    assert ((np.asarray(Image.open(tmp_path / "mask.jpg")) > 0) != (mask > 0)).any()
    found = read_mask(tmp_path / "mask.jpg", (64, 48))
    np.testing.assert_array_equal(found, mask > 0)


def test_without_held_out_scores_no_rate_is_suggested(
    detector: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = anomaly.load(detector)
    none = replace(
        cast("Any", held.model), calibration_scores=np.zeros(0), calibration_votes=np.zeros(0)
    )
    replace(held, model=none).save(tmp_path / "one")
    assert score(tmp_path / "one", next((digits / "new" / "odd" / "4").iterdir())) == 0
    assert "at least two groups" in capsys.readouterr().err


def test_evaluate_without_patches_scores_images_alone(
    digits: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect("evaluate", detector, digits / "new", "--normal", "fine", "--json") == 0
    first = json.loads(capsys.readouterr().out)["scores"]
    assert first["image_auroc"]["value"] > 0.95
    assert first["pixel_auroc"] is None
    with pytest.raises(IlkError, match="leave --maps out"):
        score(detector, digits / "new", "--maps", digits / "maps")


def test_an_older_detector_opens(detector: Path, digits: Path, tmp_path: Path) -> None:
    """Entries that were added later may be missing."""
    from ilk.artifacts import model_folder

    shutil.copytree(detector, tmp_path / "old")
    weights, about = model_folder.read(detector, model_folder.DETECTOR)
    entries = {k: about[k] for k in ("encoder", "false_alarm", "value_ranges", "parts")}
    model_folder.write(tmp_path / "old", weights, entries, model_folder.DETECTOR)
    held = anomaly.load(tmp_path / "old")
    assert held.method == "GaussianAnomaly()"
    assert held.patches is None
