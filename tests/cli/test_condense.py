"""`ilk condense` as a user types it: what is written, what is said to be lost, and errors."""

from __future__ import annotations

import json
import shutil

import click
import numpy as np
import pytest
import torch
from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.cli.condense import command
from ilk.core.errors import IlkError, InputError, NoLabels, OutputError
from ilk.subset_selection.folder import read_selection

QUICK = ["--encoder", "pixels/8x8x1", "--updates", "20", "--per-class", "4"]
FEW = "DistributionMatching(updates=4)"


def condense(*args):
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    sizes = {"n0": 60, "n1": 60, "n2": 50}
    return write_digits(tmp_path_factory.mktemp("digits") / "d", sizes)


@pytest.fixture(scope="module")
def few(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "few"
    condense(digits, "--out", folder, *QUICK, "--method", FEW)
    return folder


def test_an_ordinary_folder_of_8_bit_images_is_written(digits, few):
    images = ilk.read(few)
    assert images.classes == ("n0", "n1", "n2")
    assert len(images.used) == 12
    assert not images.refused
    assert {(row.format, row.mode, row.width, row.height) for row in images.used} == {
        ("PNG", "L", 8, 8)
    }
    assert sorted(p.name for p in few.iterdir() if not p.name.startswith(".ilk.l")) == [
        *("n0", "n1", "n2", "selection.json")
    ]


def test_the_record_says_what_is_synthetic_and_what_is_lost(digits, few):
    record = read_selection(few)
    assert all(image["synthetic"] for image in record.images)
    known = {row.digest for row in ilk.read(digits).used}
    assert {image["digest"] for image in record.images} <= known
    assert record.facts["method"] == FEW
    for judged in record.facts["lost"].values():
        gap = judged["of_few"]["value"] - judged["of_all"]["value"]
        assert judged["gap"]["value"] == pytest.approx(gap)
        assert judged["gap"]["low"] <= gap <= judged["gap"]["high"]
    assert record.facts["judged_images"] == 17  # half of a fifth of 170


def test_the_folder_is_fitted_by_ilk_fit(few, tmp_path, capsys):
    out = tmp_path / "model"
    args = ["fit", str(few), "--out", str(out), "--encoder", "pixels/8x8x1", "--method", "GDA"]
    assert run(args) == 0, capsys.readouterr().err
    assert ilk.load(out).classes == ("n0", "n1", "n2")


def test_chosen_images_are_those_of_the_source(digits, tmp_path, capsys):
    condense(digits, "--out", tmp_path / "few", *QUICK, "--method", "Herding")
    chosen = {row.digest for row in ilk.read(tmp_path / "few").used}
    assert len(chosen) == 12
    assert chosen <= {row.digest for row in ilk.read(digits).used}
    output = capsys.readouterr().out
    assert "12 chosen" in output
    assert f"ilk fit {tmp_path / 'few'} --encoder pixels/8x8x1 --out MODEL" in output


def test_auto_compares_methods_and_takes_the_best(digits, tmp_path, capsys):
    condense(digits, "--out", tmp_path / "few", *QUICK, "--json")
    report = json.loads(capsys.readouterr().out)
    scores = {name: score["value"] for name, score in report["choice"].items()}
    assert set(scores) == {"DistributionMatching", "Herding", "RandomImages"}
    assert scores[report["method"]] == max(scores.values())


def test_an_interrupted_run_resumes_to_the_same_images(digits, tmp_path, monkeypatch):
    from ilk.subset_selection import condense as module

    args = ("--method", "DistributionMatching(updates=30)")
    condense(digits, "--out", tmp_path / "whole", *QUICK, *args)

    def stop(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "train_network", stop)
        with pytest.raises(click.Abort):
            condense(digits, "--out", tmp_path / "few", *QUICK, *args)
    states = list((tmp_path / "few").glob(".ilk.condense-*/*"))
    assert states
    trained = []
    original = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self: (trained.append(1), original(self))[1]
    )
    condense(digits, "--out", tmp_path / "few", *QUICK, *args)
    assert not trained  # the images were trained already
    assert not list((tmp_path / "few").glob(".ilk.condense-*"))
    pairs = [
        (tmp_path / name / file).read_bytes()
        for file in read_selection(tmp_path / "whole").files
        for name in ("whole", "few")
    ]
    assert pairs[::2] == pairs[1::2]


def test_a_run_that_diverges_keeps_its_last_good_images(digits, tmp_path, monkeypatch, capsys):
    from ilk.subset_selection.condensation.distribution_matching import MeanMatching

    original = MeanMatching.forward

    def forward(self, network, batch, step):
        loss = original(self, network, batch, step)
        return loss * (float("nan") if step.index == 28 else 1.0)

    monkeypatch.setattr(MeanMatching, "forward", forward)
    args = (*QUICK, "--method", "DistributionMatching(updates=40)")
    condense(digits, "--out", tmp_path / "few", *args)
    assert "its last good images are taken" in capsys.readouterr().out
    assert len(ilk.read(tmp_path / "few").used) == 12


def fail(tmp_path, error, *args):
    with pytest.raises(error) as caught:
        condense(*args, "--out", tmp_path / "few")
    text = str(caught.value)
    assert "\n" not in text
    assert not list((tmp_path / "few").rglob("*.png"))
    return text


def test_more_images_than_a_class_has(digits, tmp_path, capsys):
    many = ["--encoder", "pixels/8x8x1", "--updates", "5", "--per-class", "45"]
    text = fail(tmp_path, InputError, digits, *many, "--method", "Herding")
    assert "a class has 40 training images, and 45 of each are to be chosen" in text
    condense(digits, "--out", tmp_path / "made", *many, "--method", FEW)  # made ones are fine
    assert len(ilk.read(tmp_path / "made").used) + len(ilk.read(tmp_path / "made").refused) == 135
    capsys.readouterr()
    condense(digits, "--out", tmp_path / "auto", *many)
    assert "Herding was not tried: a class has 40 training images" in capsys.readouterr().out


def test_one_class(tmp_path):
    folder = write_digits(tmp_path / "one", {"n3": 60})
    assert "all images are of one class (n3)" in fail(tmp_path, InputError, folder, *QUICK)


def test_no_labels(tmp_path):
    folder = write_digits(tmp_path / "d" / "unlabelled", {"0": 30})
    for path in (folder / "0").iterdir():
        shutil.move(path, tmp_path / "d")
    assert "30 images and no labels" in fail(tmp_path, NoLabels, tmp_path / "d", *QUICK)


def test_too_few_images_to_hold_some_out(tmp_path):
    folder = write_digits(tmp_path / "d", {"n0": 9, "n1": 9})
    assert "18 labelled images are too few" in fail(tmp_path, InputError, folder, *QUICK)


def test_a_number_below_one_and_a_method_that_is_not_there(digits, tmp_path, capsys):
    assert run(["condense", str(digits), "--out", str(tmp_path / "few"), "--per-class", "0"]) == 2
    assert "0 is not in the range x>=1" in capsys.readouterr().err
    text = fail(tmp_path, IlkError, digits, *QUICK, "--method", "Hording")
    assert "no condensation method is called 'Hording'; the nearest is Herding" in text


def test_a_folder_inside_the_source(digits):
    with pytest.raises(OutputError, match=r"whose files are read as images"):
        condense(digits, "--out", digits / "few", *QUICK)
    assert not (digits / "few").exists()


def test_files_of_others_in_the_way(digits, tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "thesis.txt").write_text("mine")
    text = fail(tmp_path, OutputError, digits, *QUICK)
    assert "contains files that were not written by ilk condense" in text


def test_images_of_very_different_sizes_are_resized_with_a_note(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "d" / label).mkdir(parents=True)
        for i in range(60):
            size = (8, 8) if i % 2 else (40, 24)
            pixels = rng.integers(0, 128, (*size, 3), np.uint8) + 120 * (label == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "d" / label / f"{i}.png")
    args = ["--encoder", "pixels/8x8x3", "--updates", "5", "--per-class", "2", "--method", FEW]
    condense(tmp_path / "d", "--out", tmp_path / "few", *args)
    assert "images have sides from 8 to 24 pixels; all are resized" in capsys.readouterr().out
    assert len({(row.width, row.height) for row in ilk.read(tmp_path / "few").used}) == 1


def test_a_full_disk(digits, tmp_path, monkeypatch):
    from ilk.subset_selection import folder as module

    def write(_change, name, _content):
        raise OutputError(f"cannot write {name}: No space left on device; free some space")

    monkeypatch.setattr(module.FolderTransaction, "write", write)
    text = fail(tmp_path, OutputError, digits, *QUICK, "--method", "Herding")
    assert "No space left on device" in text


def test_the_test_split_is_not_read(tmp_path, monkeypatch):
    from ilk.subset_selection import condense as module

    source = tmp_path / "d"
    write_digits(source / "train", {"a0": 60, "b1": 60})
    write_digits(source / "test", {"a0": 10, "b1": 10}, seed=1)
    seen = []

    def stop(images, *_args, **_options):
        seen.extend(images.used)
        raise InputError("stop")

    monkeypatch.setattr(module, "condense_images", stop)
    assert run(["condense", str(source), "--out", str(tmp_path / "few"), *QUICK]) == 2
    assert len(seen) > 100
    assert {row.split for row in seen} == {"train"}


def test_the_images_that_were_measured_are_those_that_are_written(digits, tmp_path, monkeypatch):
    from ilk.subset_selection import condense as module

    chosen, choose = [], module._choose

    def watch(*args):
        found = choose(*args)
        chosen.append(found[0])
        return found

    monkeypatch.setattr(module, "_choose", watch)
    out = tmp_path / "few"
    condense(digits, "--out", out, *QUICK, "--method", "Herding")
    [few] = chosen
    written = [np.asarray(Image.open(out / image["file"])) for image in read_selection(out).images]
    assert len(written) == len(few.x) == 12
    for pixels, expected in zip(written, few.x[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(pixels, expected)


def test_a_state_belongs_to_one_run(digits, tmp_path, monkeypatch):
    from ilk.subset_selection import condense as module

    folders = []

    def stop(folder, *_args):
        folders.append(folder.name)
        raise InputError("stop")

    monkeypatch.setattr(module, "Run", stop)
    other = shutil.copytree(digits, tmp_path / "d")
    next((other / "n0").iterdir()).unlink()
    options = ([], ["--per-class", "3"], ["--seed", "1"], ["--flip"], [])
    for source, more in (*((digits, o) for o in options), (other, [])):
        with pytest.raises(InputError, match="stop"):
            condense(source, "--out", tmp_path / "few", *QUICK, *more)
    assert folders[0] == folders[4]
    assert len(set(folders)) == 5


def test_a_group_is_held_out_as_a_whole():
    from ilk.subset_selection.condense import hold_out

    y, groups = np.tile([0, 1], 100), np.arange(200) // 8
    held = hold_out(y, groups, 0)
    assert {len(set(held[groups == g])) for g in np.unique(groups)} == {1}
    assert 20 <= held.sum() <= 60


def test_on_a_gpu_all_is_trained_with_its_fastest_settings(digits, tmp_path, monkeypatch):
    """On the CPU, with all of a GPU's settings but the compiler, which the tests do without."""
    from ilk.subset_selection import small_classifiers
    from ilk.subset_selection.foundations import problem
    from ilk.training.recipe import DeviceConfig

    fast, used = DeviceConfig("cpu", "bfloat16", channels_last=True), []
    monkeypatch.setattr(DeviceConfig, "for_device", lambda _device="auto": fast)
    for module in (small_classifiers, problem):

        def watch(*args, train=module.train):
            used.append(args[4])
            return train(*args)

        monkeypatch.setattr(module, "train", watch)
    condense(digits, "--out", tmp_path / "few", *QUICK, "--method", FEW)
    assert len(used) >= 3
    assert set(used) == {fast}
