"""Files of similar classes, and a fit that predicts a class without an image."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk import cli
from ilk.core.errors import InputError
from ilk.fitting.class_structure import read_class_structure

LEVELS = (1, 2, 4, 5)


def write(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def read(tmp_path, name, text, labels=("a", "b", "c")):
    structure = read_class_structure(write(tmp_path, name, text))
    classes = structure.list_classes(labels)
    return classes, structure.select(classes).tolist()


@pytest.mark.parametrize(
    ("name", "text", "distances"),
    [
        ("t.nwk", "((a,b),c);", [[0, 2, 3], [2, 0, 3], [3, 3, 0]]),
        ("t.txt", "((b,a),c)", [[0, 2, 3], [2, 0, 3], [3, 3, 0]]),
        ("t.json", '{"x": ["a", "b"], "c": null}', [[0, 2, 3], [2, 0, 3], [3, 3, 0]]),
        ("t.csv", "class,parent\na,x\nb,x\nc,\n", [[0, 2, 3], [2, 0, 3], [3, 3, 0]]),
        ("t.csv", "class,angle\na,0\nb,300\nc,180\n", [[0, 1, 2], [1, 0, 3**0.5], [2, 3**0.5, 0]]),
        (
            "t.csv",
            "class;x;y\na;0;0\nb;3;4\nc;0;1\n",
            [[0, 5, 1], [5, 0, 18**0.5], [1, 18**0.5, 0]],
        ),
        ("t.tsv", "class\tsize\nc\t1\na\t3\nb\t7.5\n", [[0, 4.5, 2], [4.5, 0, 6.5], [2, 6.5, 0]]),
        ("t.csv", ",b,a,c\na,1,0,2\nb,0,1,4\nc,4,2,0\n", [[0, 1, 2], [1, 0, 4], [2, 4, 0]]),
    ],
)
def test_every_format_gives_distances_in_the_order_of_the_classes(tmp_path, name, text, distances):
    classes, read_distances = read(tmp_path, name, text)
    assert classes == ("a", "b", "c")
    np.testing.assert_allclose(read_distances, distances, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "class,x\na,1e200\nb,-1e200\n", "larger unit"),
        ("t.csv", "class,x\na,1e308\nb,-1e308\n", "larger unit"),
        ("t.nwk", "(a:1e308,b:1e308);", "larger unit"),
        ("t.csv", ",a,b\na,0,1e39\nb,1e39,0\n", "larger unit"),  # not in single precision
        ("t.csv", ",a,b\na,0,1e-60\nb,1e-60,0\n", "smaller unit"),
        ("t.csv", ",a,b\na,0,1\nb,1,0\nc,1,1\n", "'c' differs"),  # no coordinates
        ("t.csv", ",a,b,c\na,0,1,2\nb,1,0,3\nd,2,3,0\n", "'c' differs"),
        ("t.json", '{"x": ["a"], "x": ["b", "c"]}', "names 'x' twice"),
        ("t.json", '["a", NaN]', "NaN is not a JSON number"),
        ("t.json", "[" * 10**5 + '"a"' + "]" * 10**5, "nested too deeply"),
        ("t.nwk", f"({','.join(f'c{i}' for i in range(5001))});", "5,000 are the most"),
    ],
)
def test_what_would_give_wrong_distances_is_refused(tmp_path, name, text, sentence):
    with pytest.raises(InputError, match=sentence):
        read_class_structure(write(tmp_path, name, text))


def test_leaves_without_images_are_classes_and_inner_nodes_are_not(tmp_path):
    tree = "((Cat,dog)pet,(car,bus)road);"
    assert read(tmp_path, "t.nwk", tree, ("cat ", "bus"))[0] == ("bus", "car", "cat ", "dog")
    classes, distances = read(tmp_path, "t.nwk", tree, ("cat", "pet"))
    assert classes == ("bus", "car", "cat", "dog", "pet")
    assert distances[2][4] == 1


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.nwk", "((a,b),x);", "does not name the class 'c', which has images"),
        ("t.nwk", "((a,A),b,c);", "names the class 'a' twice"),
        ("t.nwk", "((a,a),b,c);", "it names 'a' twice"),
        ("t.nwk", "((a,),b,c);", "1 of its leaves has no name"),
        ("t.nwk", "(a:0,b:0,c:0);", "all distances are 0"),
        ("t.nwk", "(a);", "fewer than two classes"),
        ("t.json", '{"a": ', "gives no structure of classes: Expecting value"),
        ("t.csv", "class,parent\na,x\na,y\n", "'a' has two parents"),
        ("t.csv", "class,parent\na,x\nx,a\n", "lies below itself"),
        ("t.csv", "class,angle\na,10\nb,north\nc,1\n", "line 3 holds 'north' where a number"),
        ("t.csv", "class,x\na,1\nb,inf\n", "line 3 holds 'inf' where a number"),
        ("t.csv", "class,x\na,1\nb\n", "line 3 has 1 cells and the first 2"),
        ("t.csv", "class\na\n", "a table needs a column of class names"),
        ("t.csv", ",a,b\na,0,1\nb,2,0\n", "the distance from 'a' to 'b' is 1 and back 2"),
        ("t.csv", ",a,b\na,0,-1\nb,-1,0\n", "the distance -1 is below 0"),
        ("t.csv", ",a,b\na,1,1\nb,1,0\n", "the distance of 'a' from itself is not 0"),
        ("t.csv", "class,x\n,1\nb,2\n", "a class has no name"),
    ],
)
def test_what_is_no_structure_is_refused_in_a_sentence(tmp_path, name, text, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read(tmp_path, name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Grey images of four of five levels of brightness, and new ones of all five."""
    home, rng = tmp_path_factory.mktemp("levels"), np.random.default_rng(0)
    for folder, classes, n in (("train", LEVELS, 12), ("new", (3,), 6)):
        for c in classes:
            (home / folder / f"level {c}").mkdir(parents=True)
            for i in range(n):
                pixels = 30 + 35 * c + rng.normal(0, 9) + rng.normal(0, 6, (12, 12, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(home / folder / f"level {c}" / f"{i}.png")
    text = "class,brightness\n" + "".join(f"Level {c},{c}\n" for c in (1, 2, 3, 4, 5))
    (home / "brightness.csv").write_text(text + "level 9,9\n")
    return home


def fit(levels, out, *more):
    args = ["fit", str(levels / "train"), "--out", str(out), "--encoder", "pixels", *more]
    return cli.run(args)


def test_a_class_without_an_image_is_predicted_by_the_saved_classifier(levels, tmp_path, capsys):
    model = tmp_path / "kinds"
    assert fit(levels, model, "--class-structure", str(levels / "brightness.csv")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "'Level 3' has no training image and may be predicted" in printed
    assert "'level 9' has no training image and can never be predicted" in printed
    assert printed.count("accuracy in cross-validation") == 1
    metadata = json.loads((model / "model.json").read_text())
    assert metadata["classes"] == ["Level 3", "level 1", "level 2", "level 4", "level 5", "level 9"]
    assert "has no training image" in (model / "report.html").read_text()
    assert (
        cli.run(["predict", str(model), str(levels / "new"), "--out", str(tmp_path / "p.csv")]) == 0
    )
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert sum(row["name"] == "Level 3" for row in rows) >= 4
    assert cli.run(["evaluate", str(model), str(levels / "new")]) == 0


def test_from_python_all_classes_may_have_images_and_other_methods_compete(levels, tmp_path):
    tree = Path(write(tmp_path, "t.json", '[["level 1", "level 2"], ["level 4", "level 5"]]'))
    classifier = ilk.fit(
        levels / "train", encoders="pixels", class_structure=tree, methods=("GDA", "Loki"), folds=2
    )
    names = {entry["method"] for entry in classifier.metadata["leaderboard"]["results"]}
    assert names == {"GDA()", "Loki()"}
    assert not any("training image" in note for note in classifier.metadata["notes"])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--method", "GDA"), "GDA() does not use a structure of classes; add --method Loki"),
        (("--method", "GDA", "--method", "Loki"), "GDA() cannot predict 'Level 3', which has no"),
        (("--classifier", "diffusion:x"), "class_structure is for classifiers of features"),
        (("--class", "level 7"), "does not name the class 'level 7'"),
    ],
)
def test_what_cannot_use_the_structure_is_refused(levels, tmp_path, capsys, more, sentence):
    out = tmp_path / "kinds"
    assert fit(levels, out, "--class-structure", str(levels / "brightness.csv"), *more) == 2
    assert sentence in capsys.readouterr().err
    assert not (out / "model.json").exists()


def test_a_file_that_is_not_there_is_refused(levels, tmp_path, capsys):
    assert fit(levels, tmp_path / "kinds", "--class-structure", "nowhere.nwk") == 2
    assert "nowhere.nwk cannot be read: No such file" in capsys.readouterr().err
