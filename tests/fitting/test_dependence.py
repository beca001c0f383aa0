"""Images that depend on each other are found without groups; independent ones are left alone."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ilk.cli import run
from ilk.core.data import Data
from ilk.core.leaderboard import OutOfFold
from ilk.fitting import fit as fit_module
from ilk.fitting import held_together
from ilk.fitting.config import FitConfig
from ilk.fitting.dependence import Clusters, connect, find_clusters
from ilk.fitting.fit import fit_with_report
from ilk.fitting.held_together import compare
from ilk.fitting.name_groups import find_bursts, find_number_pairs, is_supported, iter_name_groups
from ilk.images import Row, read_images
from ilk.maths.nearest_neighbors import find_close_pairs, find_neighbors
from ilk.methods import parse
from ilk.protocols import stratified_folds
from ilk.store import Store


def picture(seed):
    """A shape of random kind, place, size and colour on a plain ground, `[32, 32, 3]`."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (32, 32), tuple(rng.integers(160, 230, 3).tolist()))
    x, y, size = (*rng.integers(10, 22, 2), rng.integers(5, 8))
    draw, box = ImageDraw.Draw(image), (x - size, y - size, x + size, y + size)
    (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(
        box, fill=tuple(rng.integers(0, 90, 3).tolist())
    )
    return np.asarray(image).astype(int)


def write_patients(folder, start, seed, n=24, shots=6):
    """Images of patients that differ by noise only, with labels that say nothing."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for p in range(n):
        base, label = picture(start + p), "ill" if rng.random() < 0.5 else "well"
        for s in range(shots):
            pixels = np.clip(base + rng.integers(-6, 7, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"p{p:02}_{s}.png")
            lines.append((f"p{p:02}_{s}.png", label))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *lines])
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    home = tmp_path_factory.mktemp("patients")
    source = write_patients(home / "old", 3000, 0)
    new = write_patients(home / "new", 4000, 1)
    model = home / "model"
    options = ("--encoder", "hog", "--method", "GDA", "--method", "Ridge")
    assert run(["fit", str(source), "--out", str(model), *options]) == 0
    return home, model, new


def test_patients_are_found_and_the_accuracy_is_that_of_new_ones(patients, capsys):
    _, model, new = patients
    found = json.loads((model / "leaderboard.json").read_text())["held_together"]
    assert found["n_images"] == 144
    assert found["n_clusters"] in (23, 24)  # two patients may look the same
    assert found["plain"]["value"] > 0.9
    assert found["is_lower"]
    capsys.readouterr()
    assert run(["evaluate", str(model), str(new), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    low, high = found["accuracy"]["low"], found["accuracy"]["high"]
    assert low - 0.05 <= scores["accuracy"]["value"] <= high + 0.05
    assert high < 0.85
    assert scores["coverage"]["value"] >= 0.75  # 0.1 when calibrated with images one by one


@pytest.mark.parametrize("groups", [(), ("--group-column", "patient")])
def test_fit_says_everything_once_and_evaluate_too(patients, tmp_path, capsys, groups):
    model, options = str(tmp_path / "m"), ("--encoder", "hog", "--method", "GDA", *groups)
    for name in ("old", "new"):
        table = patients[0] / name / "labels.csv"
        rows = list(csv.DictReader(table.read_text().splitlines()))
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            columns = csv.writer(file)
            columns.writerow(("path", "label", "patient"))
            for r in rows:
                columns.writerow((table.parent / r["path"], r["label"], r["path"][:3]))
    assert run(["fit", str(tmp_path / "old.csv"), "--out", model, *options]) == 0
    shown = capsys.readouterr()
    notes = [line for line in (shown.out + shown.err).splitlines() if line.startswith("·")]
    assert len(notes) == len(set(notes)) > 1
    accuracy = json.loads((tmp_path / "m" / "model.json").read_text())["metrics"]["evaluation"]
    line = f"accuracy on the training images, out of fold: {accuracy['accuracy']['value']:.3f} ["
    assert (line in shown.out) is not bool(groups)  # with groups, the leaderboard says it
    assert run(["evaluate", model, str(tmp_path / "new.csv"), *groups]) == 0
    shown = capsys.readouterr()
    notes = [line for line in (shown.out + shown.err).splitlines() if line.startswith("·")]
    assert len(notes) == len(set(notes)) > 0


def test_the_option_that_is_suggested_names_the_patients(patients):
    _, model, _ = patients
    option = json.loads((model / "leaderboard.json").read_text())["held_together"]["option"]
    assert option == r"--group-from '^(p\d+)_'"
    pattern = re.compile(option.split("'")[1])
    assert pattern.search("p07_3.png").group(1) == "p07"


def test_the_report_warns_in_its_title_and_the_notes_are_saved(patients):
    _, model, _ = patients
    page = (model / "report.html").read_text()
    title = re.search(r"<title>(.*?)</title>", page, re.S).group(1)
    assert "for new groups of images" in title
    assert "for near-copies of training images" in title
    notes = json.loads((model / "model.json").read_text())["notes"]
    assert notes[0].startswith("144 of 144 training images lie in 2")
    suspects = csv.DictReader((model / "suspects.csv").read_text().splitlines())
    assert sum(row["suspect"] == "true" for row in suspects) < 20


def test_the_report_states_one_interval_that_counts_patients(patients):
    _, model, _ = patients
    description = json.loads((model / "model.json").read_text())
    evaluated = description["metrics"]["evaluation"]["accuracy"]
    found = json.loads((model / "leaderboard.json").read_text())["held_together"]["accuracy"]
    assert evaluated == pytest.approx(found)
    assert evaluated["high"] - evaluated["low"] > 0.25  # of 24 patients; 0.16 for 144 images
    page = (model / "report.html").read_text()
    assert page.count("depend on each other (") == 1


def test_independent_points_form_no_cluster():
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(200, 2 + 3 * (seed % 5))) * rng.gamma(2, size=(200, 1)) ** 0.3
        shares.append(
            len(find_close_pairs(find_neighbors(x, np.arange(200) % 4), np.arange(200) % 4))
        )
    assert sum(n > 0 for n in shares) <= 1


@pytest.mark.parametrize("size", [2, 6, 12])
def test_planted_clusters_are_found_whole(size):
    rng = np.random.default_rng(size)
    centres = rng.normal(size=(240 // size, 8))
    x = np.repeat(centres, size, 0) + 0.01 * rng.normal(size=(240, 8))
    y = np.repeat(np.arange(240 // size) % 2, size)
    group = connect(240, [find_close_pairs(find_neighbors(x, y), y)])
    truth = np.repeat(np.arange(240 // size), size)
    assert np.mean(group >= 0) > 0.95
    assert all(len(set(truth[group == g])) == 1 for g in range(group.max() + 1))


def test_neighbors_are_those_of_comparing_all():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 5)).astype(np.float32), rng.integers(-1, 3, 90)
    found = find_neighbors(x, y, k=4)
    for i in range(90):
        others = [j for j in range(90) if j != i and y[j] == y[i] >= 0]
        others.sort(key=lambda j: np.linalg.norm(x[i] - x[j]))
        assert found.index[i].tolist() == (others[:4] if y[i] >= 0 else [-1] * 4)


def make_world(names, dependent, seed=0, n_classes=2):
    """Rows with these paths; those with the same prefix are close if `dependent`."""
    rng = np.random.default_rng(seed)
    prefixes = [re.match(r"[^_]*", name).group() for name in names]
    unique = sorted(set(prefixes))
    y = np.array([unique.index(p) % n_classes for p in prefixes])
    centre = rng.normal(size=(len(unique), 6))
    x = rng.normal(size=(len(names), 6))
    if dependent:
        x = centre[[unique.index(p) for p in prefixes]] + 0.3 * x
    return [Row(name, str(c)) for name, c in zip(names, y, strict=True)], x, y


def test_a_prefix_counts_only_where_its_images_look_alike():
    names = [f"p{i:02}_{j}.png" for i in range(20) for j in range(5)]
    for dependent in (True, False):
        rows, x, y = make_world(names, dependent)
        clusters = find_clusters(rows, x, y)
        assert clusters.matter == dependent
        assert clusters.pattern == (r"^(p\d+)_" if dependent else "")


def test_a_prefix_that_is_the_class_is_no_group():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    x = rng.normal(size=(120, 6)) + 4 * y[:, None]
    rows = [Row(f"{['cat', 'dog'][c]}.{i}.jpg", str(c)) for i, c in enumerate(y)]
    assert not find_clusters(rows, x, y).matter


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p{0:02}_{1}.png", r"^(p\d+)_"),
        ("{2}/p{0:02}-{1}.png", r"(?:^|/)(p\d+)\-"),
        ("{2}/_s{0}_{1}.png", None),
        ("{2}/site{0}.scan{1}.png", r"(?:^|/)(site\d+)\."),
        ("{2}/eye {0} left {1}.png", None),
        ("{2}/scene{0}/{1}.png", None),
    ],
)
def test_the_pattern_finds_the_groups_in_the_paths(name, expected):
    rng = np.random.default_rng(5)
    number = np.repeat(np.arange(24), 4)
    names = [name.format(g, i % 4, "ab"[g % 2]) for i, g in enumerate(number)]
    x = np.repeat(rng.normal(size=(24, 6)), 4, 0) + 0.3 * rng.normal(size=(96, 6))
    clusters = find_clusters([Row(path) for path in names], x, number % 2)
    assert expected in (None, clusters.pattern)
    found = [re.search(clusters.pattern, n).group(1) for n in names]
    assert len(set(zip(found, number.tolist(), strict=True))) == len(set(found)) == 24


def test_folders_below_the_classes_are_suggested():
    names = [f"{'ab'[i % 2]}/scene{i:02}/{j}.png" for i in range(24) for j in range(4)]
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=(24, 6)), 4, 0) + 0.3 * rng.normal(size=(96, 6))
    y = np.repeat(np.arange(24) % 2, 4)
    clusters = find_clusters([Row(n, n[0]) for n in names], x, y)
    assert clusters.matter
    assert re.search(clusters.pattern, names[0]).group(1) == "scene00"


def test_running_numbers_alone_are_no_evidence():
    rng = np.random.default_rng(2)
    y = np.zeros(100, np.int64)
    rows = [Row(f"IMG_{i:04}.jpg", "a") for i in range(100)]
    independent = rng.normal(size=(100, 6))
    nearest = find_neighbors(independent, y).index[:, 0]
    assert len(find_number_pairs(rows, nearest, y)) == 0
    scenes = np.repeat(rng.normal(size=(25, 6)), 4, 0) + 0.2 * rng.normal(size=(100, 6))
    pairs = find_number_pairs(rows, find_neighbors(scenes, y).index[:, 0], y)
    assert len(pairs) > 30
    assert np.mean(pairs[:, 0] // 4 == pairs[:, 1] // 4) > 0.9


def test_bursts_are_of_one_camera_and_within_a_minute():
    times = ["10:00:00", "10:00:40", "10:01:20", "10:05:00", "10:05:30", "10:00:10", ""]
    cameras = ["A", "A", "A", "A", "A", "B", "A"]
    rows = [
        Row(f"{i}.jpg", taken=t and f"2024:05:31 {t}", camera=c)
        for i, (t, c) in enumerate(zip(times, cameras, strict=True))
    ]
    assert find_bursts(rows).tolist() == [0, 0, 0, 1, 1, -1, -1]
    assert find_bursts([replace(row, taken="0000:00:00 00:00:00") for row in rows]).max() == -1


def test_a_clock_that_stands_still_is_no_evidence():
    rng = np.random.default_rng(3)
    rows = [
        Row(f"{rng.integers(1e9)}.jpg", "ab"[i % 2], taken="2000:01:01 00:00:00", camera="X")
        for i in range(80)
    ]
    y = np.arange(80) % 2
    assert [s for s in iter_name_groups(rows) if "EXIF" in s.source]
    assert not find_clusters(rows, rng.normal(size=(80, 5)), y).matter


def test_support_counts_groups_not_images():
    nearest = np.array([1, 0, 3, 2, 5, 4])  # three pairs, each other's nearest
    assert not is_supported(np.array([0, 0, 1, 1, 2, 2]), nearest, np.zeros(6, np.int64))


def test_both_accuracies_are_of_the_same_rows_and_the_interval_counts_clusters():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 5)
    y = rng.integers(0, 2, 20)[group]
    x = np.repeat(rng.normal(size=(20, 4)), 5, 0) + 0.01 * rng.normal(size=(100, 4))
    data = Data(x.astype(np.float32), y, ("a", "b"))
    held_fold = stratified_folds(y, 5, 0, group)
    method = parse("KNearest(k=1)")

    def predict(fold):
        logits = np.zeros((100, 2))
        for f in range(5):
            logits[fold == f] = method.fit(data.take(fold != f)).logits(data.x[fold == f])
        return OutOfFold(logits, fold >= 0, 0.0)

    found = compare(
        predict(stratified_folds(y, 5, 0)), predict(held_fold), y, group, Clusters(group, "x")
    )
    assert found.is_lower
    assert found.plain.value == 1
    width = found.accuracy.high - found.accuracy.low
    independent = 2 * 1.96 * np.sqrt(0.25 / 100)
    assert width > 1.7 * independent
    assert "not a clear difference" in str(replace(found, is_lower=False))


def test_groups_of_one_image_each_do_not_end_the_search(tmp_path, patients):
    store = Store(tmp_path / "store.sqlite")
    table = patients[0] / "old" / "labels.csv"
    images = read_images(table, group_column="path", store=store)
    config = FitConfig(encoders=("hog",), methods=("GDA",))
    _, report = fit_with_report(images, config, store=store)
    assert report.held_together is not None
    assert report.held_together.is_lower
    store.close()


def test_given_groups_are_not_searched_again(tmp_path, patients, monkeypatch):
    monkeypatch.setattr(held_together, "find_clusters", lambda *_: pytest.fail("searched"))
    home, _, _ = patients

    load = fit_module.load_features

    def load_grouped(encoder, split, config, store, structure=None):
        data = load(encoder, split, config, store, structure)
        names = sorted({row.path[:3] for row in split.train})
        group = np.array([names.index(row.path[:3]) for row in split.train])
        return replace(data, group=group)

    monkeypatch.setattr(fit_module, "load_features", load_grouped)
    store = Store(tmp_path / "store.sqlite")
    images = read_images(home / "old" / "labels.csv", store=store)
    config = FitConfig(encoders=("hog",), methods=("GDA",))
    _, report = fit_with_report(images, config, store=store)
    assert report.held_together is None
    assert report.scores.accuracy.value < 0.85
    store.close()
