"""`ilk learn-metric` as a user types it: output, what is written, and errors."""

from __future__ import annotations

import json
import shutil

import pytest

from helpers.digit_folders import write_digits
from ilk.cli import fit as fit_command
from ilk.cli.learn_metric import command
from ilk.core.errors import IlkError, InputError, OutputError
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_folder import read_tuned

QUICK = ["--encoder", "pixels/8x8x1", "--loss", "LDA", "--width", "8"]


def learn(*args):
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    sizes = {f"{letter}{i}": 44 for i, letter in enumerate("abcdefg")}
    return write_digits(tmp_path_factory.mktemp("digits") / "d", sizes)


@pytest.fixture(scope="module")
def tuned(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "tuned"
    learn(digits, "--out", folder, *QUICK, "--force")
    return folder


def test_an_embedding_is_written_with_what_it_was_trained_on(digits, tuned):
    embedding = read_tuned(tuned)
    assert embedding.classes == tuple(sorted(p.name for p in digits.iterdir()))
    assert embedding.base["name"] == "pixels/8x8x1"
    assert embedding.loss == "LDA"
    assert 0.75 * 308 < len(embedding.trained_on) < 0.85 * 308  # a fifth was held out
    assert {"scores", "gains", "judged_classes"} <= set(embedding.results)
    assert sorted(p.name for p in tuned.iterdir() if not p.name.startswith(".ilk")) == [
        "tuned.json",
        "weights.safetensors",
    ]


def test_the_verdict_is_printed_with_its_interval(digits, tmp_path, capsys):
    learn(digits, "--out", tmp_path / "t", *QUICK, "--force")
    output = capsys.readouterr().out
    assert "features as they are" in output
    assert "held-out classes" in output
    assert "in mAP@R, 95 % interval" in output
    assert f"ilk fit {digits} --encoder default --encoder tuned:{tmp_path / 't'}" in output
    table = output.split("gain over it: LDA minus")[0]
    assert table.count("LDA") == 1  # it is not compared with itself


def test_json_says_what_was_kept(digits, tmp_path, capsys):
    learn(digits, "--out", tmp_path / "t", *QUICK, "--json", "--hold-out", "0")
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 308
    assert report["held_out"] == 0
    gain = report["gains"]["mAP@R"]["features as they are"]
    assert report["kept"] is (gain["low"] > 0)
    assert (report["embedding"] is None) is not report["kept"]
    assert (tmp_path / "t" / "tuned.json").exists() is report["kept"]


def test_an_embedding_that_is_of_no_use_is_not_written(digits, tmp_path, capsys):
    learn(
        digits,
        "--out",
        tmp_path / "t",
        "--encoder",
        "pixels/8x8x1",
        "--loss",
        "Whitening",
        "--width",
        "2",
    )
    worse = "no gain: the features as they are retrieve unseen classes better"
    assert worse in capsys.readouterr().out
    assert not (tmp_path / "t" / "tuned.json").exists()


def test_a_trained_loss_resumes_and_leaves_no_trace(digits, tmp_path, capsys):
    out = tmp_path / "t"
    options = ["--encoder", "pixels/4x4x1", "--loss", "ProxyAnchor", "--updates", "2", "--force"]
    learn(digits, "--out", out, *options)
    assert read_tuned(out).loss.startswith("ProxyAnchor(margin=")
    assert not (out / ".learning.part").exists()


def test_the_leaderboard_judges_it_on_images_that_it_never_saw(digits, tuned, tmp_path, capsys):
    arguments = [
        digits,
        "--encoder",
        f"tuned:{tuned}",
        "--encoder",
        "pixels/8x8x1",
        "--method",
        "NearestClassMean",
        "--out",
        tmp_path / "model",
    ]
    fit_command.command.main([str(a) for a in arguments], standalone_mode=False, obj=())
    board = json.loads((tmp_path / "model" / "leaderboard.json").read_text())
    text = json.dumps(board) + capsys.readouterr().out
    n_seen = len(read_tuned(tuned).trained_on)
    assert f"an encoder was trained on {n_seen} of 308 training images" in text
    assert f"tuned:{tuned}" in text


def test_pictures_without_a_label_are_left_out(digits, tmp_path, capsys):
    source = tmp_path / "s"
    shutil.copytree(digits, source)
    for path in list((source / "a0").iterdir())[:3]:
        path.rename(source / path.name)
    table = tmp_path / "table.csv"
    rows = [f"{p},{'' if p.parent == source else p.parent.name}" for p in source.rglob("*.png")]
    table.write_text("path,label\n" + "\n".join(rows) + "\n")
    learn(table, "--out", tmp_path / "t", *QUICK, "--force")
    assert "3 images have no label and were not used" in capsys.readouterr().out


def test_too_few_classes_end_in_one_sentence_before_anything_is_written(digits, tmp_path):
    source = tmp_path / "s"
    for name in ("a0", "b1", "c2"):
        shutil.copytree(digits / name, source / name)
    with pytest.raises(InputError, match="3 classes have two images or more, and at least 4"):
        learn(source, "--out", tmp_path / "t", *QUICK)
    assert not (tmp_path / "t").exists()


def test_wrong_options_are_refused(digits, tuned, tmp_path):
    with pytest.raises(IlkError, match="no loss is called 'Foo'"):
        learn(digits, "--out", tmp_path / "t", "--loss", "Foo")
    with pytest.raises(InputError, match="was trained with labels itself"):
        learn(digits, "--out", tmp_path / "t", "--encoder", f"tuned:{tuned}")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match="not a learned embedding"):
        learn(digits, "--out", tmp_path / "full", *QUICK)
    assert (tmp_path / "full" / "diary.txt").read_text() == "mine"


def test_the_encoder_opens_without_its_source(tuned):
    assert resolve_encoder(f"tuned:{tuned}").space.dim == 8


def test_an_evaluation_says_that_the_embedding_saw_the_images(digits, tuned, tmp_path, capsys):
    """The model is fitted on mirrored images, which the embedding did not see."""
    from PIL import Image, ImageOps

    from ilk.cli import evaluate

    for name in ("a0", "b1"):
        (tmp_path / "new" / name).mkdir(parents=True)
        shutil.copytree(digits / name, tmp_path / "old" / name)
        for path in (digits / name).iterdir():
            ImageOps.mirror(Image.open(path)).save(tmp_path / "new" / name / path.name)
    fit = [
        tmp_path / "new",
        "--encoder",
        f"tuned:{tuned}",
        "--method",
        "NearestClassMean",
        "--out",
        tmp_path / "model",
    ]
    fit_command.command.main([str(a) for a in fit], standalone_mode=False, obj=())
    capsys.readouterr()
    arguments = [str(tmp_path / "model"), str(tmp_path / "old")]
    evaluate.command.main(arguments, standalone_mode=False, obj=())
    assert f"tuned:{tuned} was trained on " in capsys.readouterr().out.replace("\n", " ")
