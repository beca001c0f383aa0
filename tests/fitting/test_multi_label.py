"""From a table of label sets to a saved classifier, its report, predictions and scores."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import ilk
from helpers.label_tables import DIGITS, draw_pairs, write_indicators, write_table
from ilk.artifacts.multi_label_evaluation import encode_targets
from ilk.cli import run
from ilk.core.errors import ArtifactError, InputError, NoLabels
from ilk.fitting.config import FitConfig
from ilk.fitting.fit import fit
from ilk.fitting.multi_label import fit_multi_label_with_report
from ilk.images import Row

CONFIG = FitConfig(encoders=("pixels",), methods=("GDA", "Ridge"), multi_label=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    home = tmp_path_factory.mktemp("pairs")
    return home, draw_pairs(home, 160)


@pytest.fixture(scope="module")
def fitted(pairs):
    home, rows = pairs
    table = write_table(home / "fit.csv", rows[:120])
    return fit_multi_label_with_report(ilk.read(table, multi_label=True), CONFIG)


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    return fitted[0].save(tmp_path_factory.mktemp("model") / "m")


def test_new_images_are_ranked_and_named_well(pairs, fitted):
    home, rows = pairs
    predictions = fitted[0].predict([home / path for path, _ in rows[120:]])
    p = np.array([[one.probabilities[d] for d in DIGITS] for one in predictions])
    truth = np.array([[d in names for d in DIGITS] for _, names in rows[120:]])
    assert average_precision_score(truth, p) > 0.9
    hits = [
        set(one.names) == set(names)
        for one, (_, names) in zip(predictions, rows[120:], strict=True)
    ]
    assert np.mean(hits) > 0.6
    for one in predictions:
        assert list(one.names) == sorted(one.names, key=lambda name: -one.probabilities[name])


def test_the_report_scores_images_out_of_fold(fitted):
    classifier, report = fitted
    assert report.scores.n == 120
    assert report.scores.mean_average_precision.value == pytest.approx(
        average_precision_score(report.targets, report.probabilities), rel=1e-5
    )
    assert report.results[0].method == report.method
    assert report.corrected.low <= report.corrected.value <= report.corrected.high
    assert set(classifier.metadata["thresholds"]["labels"]) == set(DIGITS)


def test_saving_and_loading_changes_no_prediction(pairs, fitted, model):
    home, rows = pairs
    files = [home / path for path, _ in rows[:10]]
    loaded = ilk.load(model)
    assert isinstance(loaded, ilk.MultiLabelClassifier)
    assert loaded.predict(files) == fitted[0].predict(files)
    p = loaded.predict_proba(files)
    assert p.shape == (10, 4)
    assert loaded.predict(files[0]).probabilities["one"] == pytest.approx(p[0, 0])
    page = (model / "report.html").read_text("utf-8")
    assert "mean average precision" in page
    assert "Results per label" in page
    board = json.loads((model / "leaderboard.json").read_text())
    assert [row["method"] for row in board["rows"]] == [r.method for r in fitted[1].results]


def test_an_altered_model_is_not_opened(fitted, tmp_path):
    home = fitted[0].save(tmp_path / "m")
    text = (home / "model.json").read_text().replace('"seed": 0', '"seed": 1')
    (home / "model.json").write_text(text)
    with pytest.raises(ArtifactError, match="was altered"):
        ilk.load(home)


def test_python_fit_follows_the_images(pairs):
    home, rows = pairs
    table = write_indicators(home / "python.csv", rows[:60])
    images = ilk.read(table, multi_label=True)
    config = FitConfig(encoders=("pixels",), methods=("GDA",))
    assert isinstance(fit(images, config), ilk.MultiLabelClassifier)
    with pytest.raises(InputError, match="were not read as multi-label"):
        fit(ilk.read([home / rows[0][0], home / rows[1][0]], labels=["a", "b"]), CONFIG)


def test_unlabelled_images_are_reported_and_left_out(pairs):
    home, rows = pairs
    cells = {path: "" for path, _ in rows[:7]}
    table = home / "unlabelled.csv"
    lines = [f"{p},{cells.get(p, ';'.join(n) or 'none')}" for p, n in rows[:80]]
    table.write_text("\n".join(["path,label", *lines]))
    _, report = fit_multi_label_with_report(ilk.read(table, multi_label=True), CONFIG)
    assert report.scores.n == 73
    assert report.n_unlabelled == 7
    assert any("7 images have no labels (an empty cell" in note for note in report.notes)


def test_a_rare_label_is_left_out_and_the_test_split_is_scored_once(pairs):
    home, rows = pairs
    lines = [
        f"{p},{';'.join(n) or 'none'},{'test' if i % 4 == 0 else ''}"
        for i, (p, n) in enumerate(rows[:120])
    ]
    lines[1] = lines[1].replace(",", ",rare;", 1).replace("rare;none", "rare")
    table = home / "split.csv"
    table.write_text("\n".join(["path,label,split", *lines]))
    classifier, report = fit_multi_label_with_report(ilk.read(table, multi_label=True), CONFIG)
    assert classifier.classes == DIGITS
    assert any("are left out: rare" in note for note in report.notes)
    assert report.evaluated_on == "the test split, scored once"
    assert report.scores.n == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("KNearest",)}, r"methods that can are: .*GDA"),
        ({"criterion": "log_loss"}, "criterion .* is for one label per image"),
        ({"classes": ("a",)}, "classes .* is for one label per image"),
        ({"classifiers": ("diffusion:x",)}, "classifiers .* is for one label per image"),
    ],
)
def test_settings_for_single_labels_are_refused(pairs, changes, message):
    home, rows = pairs
    images = ilk.read(write_table(home / "few.csv", rows[:20]), multi_label=True)
    with pytest.raises(InputError, match=message):
        fit(images, replace(CONFIG, **changes))


def test_tables_without_anything_to_learn_are_refused(pairs):
    home, rows = pairs
    nothing = write_table(home / "nothing.csv", [(path, ()) for path, _ in rows[:9]])
    with pytest.raises(NoLabels, match="no labels to learn from"):
        fit(ilk.read(nothing, multi_label=True), CONFIG)
    single = write_table(home / "single.csv", [(p, (str(i),)) for i, (p, _) in enumerate(rows[:9])])
    with pytest.raises(InputError, match=r"none of the 9 labels .* nothing can be learned"):
        fit(ilk.read(single, multi_label=True), CONFIG)


def test_targets_ignore_unknown_labels():
    targets = encode_targets([Row("a", labels=("x", "z")), Row("b", labels=())], ("x", "y"))
    assert targets.tolist() == [[True, False], [False, False]]


def test_commands_recognize_fit_predict_and_evaluate(pairs, tmp_path, capsys):
    home, rows = pairs
    table, out = str(write_table(home / "cli.csv", rows[:80])), str(tmp_path / "m")
    options = ["--encoder", "pixels", "--method", "Ridge", "--out", out]
    for command in (["fit", table, *options], ["check", table]):
        assert run(command) == 2
        assert "looks like multi-label" in capsys.readouterr().err
    assert run(["check", table, "--multi-label"]) == 0
    assert "(none applies)" in capsys.readouterr().out
    assert run(["fit", table, *options, "--multi-label"]) == 0
    assert "mAP, 95 % interval" in capsys.readouterr().out
    assert run(["evaluate", out, table, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mean_average_precision"]["value"] > 0.95
    assert [label["name"] for label in scores["labels"]] == list(DIGITS)
    assert run(["predict", out, str(home / rows[0][0]), table]) == 1  # the table is no image
    readable, unreadable = csv.DictReader(capsys.readouterr().out.splitlines())
    assert set(readable["names"].split("|")) - {""} <= set(DIGITS)
    assert all(0 <= float(readable[f"probability:{d}"]) <= 1 for d in DIGITS)
    assert unreadable["error"].startswith("not an image")
    assert unreadable["probability:one"] == ""
    for suffix in ("csv", "tsv", "json", "jsonl"):
        file = tmp_path / f"rows.{suffix}"
        assert run(["predict", out, str(home / rows[0][0]), "--out", str(file)]) == 0
        assert readable["names"].split("|")[0] in file.read_text()


@pytest.mark.parametrize("command", ["adapt", "add", "discover"])
def test_commands_for_single_labels_say_so(pairs, model, tmp_path, command, capsys):
    assert run([command, str(model), str(pairs[0]), "--out", str(tmp_path / "x")]) == 4
    error = capsys.readouterr().err
    assert "'ilk multi-label classifier'" in error
    assert error.count("\n") == 1


def test_a_model_of_another_type_is_not_overwritten(pairs, model, capsys):
    home, rows = pairs
    table = str(write_table(home / "other.csv", rows[:40]))
    assert run(["fit", table, "--no-multi-label", "--encoder", "pixels", "--out", str(model)]) == 5
    assert "contains an ilk multi-label classifier" in capsys.readouterr().err


def test_names_of_labels_are_escaped_in_the_report(pairs):
    home, rows = pairs
    renamed = [(path, tuple(f"<i>{name}" for name in names)) for path, names in rows[:60]]
    table = write_table(home / "markup.csv", renamed)
    classifier, _ = fit_multi_label_with_report(ilk.read(table, multi_label=True), CONFIG)
    page = classifier.side_files()["report.html"].decode()
    assert "&lt;i&gt;one" in page
    assert "<i>" not in page
