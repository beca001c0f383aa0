"""Variants of pretrained encoders are added where they can matter, and cross-validation decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.artifacts.load_classifier import load
from ilk.cli import run
from ilk.core.errors import IlkError
from ilk.core.leaderboard import CandidateResult
from ilk.core.metrics import score
from ilk.encoders import resolve_encoder
from ilk.fitting.config import FitConfig
from ilk.fitting.variants import (
    add_letterboxed,
    add_variants,
    apply_settings,
    choose_resize,
    describe_variants,
    measure_cut,
)
from ilk.images import Images, Row

NAME = "efficientnet-lite0"
LETTERBOXED, VIEWED = f"{NAME}@resize=letterbox", f"{NAME}@views=6"


def make_images(per_class: int, size: tuple[int, int], n_classes: int = 3) -> Images:
    rows = [
        Row(f"{c}/{i}", label=f"c{c}", width=size[0], height=size[1])
        for c in range(n_classes)
        for i in range(per_class)
    ]
    return Images(None, tuple(rows))


def names_after(images: Images, *names: str, **settings: Any) -> list[str]:
    encoders = [resolve_encoder(name) for name in names or (NAME,)]
    log: list[str] = []
    found = add_variants(encoders, images, FitConfig(**settings), log.append)
    assert len(log) == len(found) - len(encoders) or NAME not in [e.name for e in found]
    return [encoder.name for encoder in found]


def test_the_cut_is_what_a_square_crop_of_the_centre_leaves_out() -> None:
    rows = [Row("", width=w, height=h) for w, h in ((200, 100), (100, 300), (100, 100), (0, 0))]
    assert measure_cut(rows, 0.49) == pytest.approx(2 / 3)
    assert measure_cut(rows, 0.51) == pytest.approx(1 / 3)
    assert measure_cut(rows, 0.67) == measure_cut([], 0.5) == 0


def test_the_whole_image_is_compared_where_a_crop_cuts_off_much() -> None:
    for size, is_added in (((300, 200), False), ((400, 200), True), ((200, 400), True)):
        names = names_after(make_images(30, size), views=1)
        assert names == [NAME, LETTERBOXED][: 1 + is_added]
    assert names_after(make_images(30, (400, 200)), resize="crop", views=1) == [NAME]


def test_where_images_are_many_their_shapes_alone_decide() -> None:
    assert names_after(make_images(200, (300, 200))) == [NAME]
    assert names_after(make_images(200, (380, 200))) == [NAME]
    assert names_after(make_images(200, (420, 200))) == [LETTERBOXED]


def test_views_are_compared_where_there_are_few_images_per_class() -> None:
    for per_class, is_added in ((1, False), (2, True), (9, True), (10, False)):
        names = names_after(make_images(per_class, (300, 200)))
        assert names == [NAME, VIEWED][: 1 + is_added]
    assert names_after(make_images(9, (300, 200), n_classes=17)) == [NAME]  # 960 views are many
    assert names_after(make_images(9, (28, 28))) == [NAME]  # crops show nothing new
    assert names_after(make_images(9, (300, 200)), views=1) == [NAME]


def test_only_plain_pretrained_encoders_get_variants() -> None:
    images = make_images(10, (400, 200))
    assert names_after(images, "pixels/8x8x3", "hog/32") == ["pixels/8x8x3", "hog/32"]
    squashed = f"{NAME}@resize=squash"
    assert names_after(images, squashed) == [squashed]
    unlabelled = Images(None, tuple(Row(str(i), width=400, height=200) for i in range(9)))
    assert names_after(unlabelled) == [NAME]


def test_settings_apply_to_every_encoder_that_has_them() -> None:
    def apply(resize: str, views: int | str, *names: str) -> list[str]:
        encoders = [resolve_encoder(name) for name in names]
        return [e.name for e in apply_settings(encoders, resize, views, lambda _: None)]

    assert apply("crop", 6, NAME, "hog/32") == [VIEWED, "hog/32@resize=crop"]
    assert apply("squash", 1, NAME, "hog/32") == [f"{NAME}@resize=squash", "hog/32"]
    assert apply("squash", 2, LETTERBOXED) == [f"{LETTERBOXED},views=2"]  # the name has precedence
    assert apply("squash", 2, VIEWED) == [f"{NAME}@resize=squash,views=6"]
    assert apply("auto", "auto", NAME, VIEWED) == [NAME, VIEWED]


def test_an_encoder_with_a_fixed_way_is_named() -> None:
    class Fixed:
        name = "fixed"

    log: list[str] = []
    (encoder,) = apply_settings([Fixed()], "crop", 1, log.append)  # type: ignore[list-item]
    assert isinstance(encoder, Fixed)
    assert log == ["--resize does not change fixed: it reads images in a fixed way"]


def test_without_labels_shapes_alone_decide() -> None:
    log: list[str] = []
    rows = make_images(3, (500, 200)).rows
    assert choose_resize(resolve_encoder(NAME), rows, "auto", log.append).name == LETTERBOXED
    assert "(--resize crop crops them)" in log[0]
    assert choose_resize(resolve_encoder(NAME), rows, "crop", log.append).name == NAME
    assert choose_resize(resolve_encoder("hog"), rows, "auto", log.append).name == "hog/32"
    assert add_letterboxed([resolve_encoder("hog")], rows, log.append) == []


def test_the_gain_of_a_variant_is_told_against_the_plain_encoder() -> None:
    def result(encoder: str, n_right: int) -> CandidateResult:
        p = np.full((10, 2), 0.4)
        p[np.arange(10), (np.arange(10) >= n_right).astype(int)] = 0.6
        return CandidateResult(encoder, "GDA()", score(np.zeros(10, np.int64), p), 0.0)

    results = [result(VIEWED, 9), result(NAME, 6), result(NAME, 8), result("hog/32", 3)]
    (sentence,) = describe_variants(results)
    assert sentence == (
        f"{VIEWED}, the mean over 6 views, reaches a cross-validated accuracy of 0.900; {NAME} "
        "alone reaches 0.800"
    )


def write_edges(home: Path, names: tuple[str, ...], n: int, seed: int) -> Path:
    """Wide images of grey noise with stripes at the far ends, which a centre crop does not see."""
    rng = np.random.default_rng(seed)
    for k, name in enumerate(names):
        (home / name).mkdir(parents=True)
        for i in range(n):
            x = rng.integers(90, 160, (80, 240, 3))
            for side in (slice(0, 60), slice(180, 240)):
                x[:, side][(slice(None), slice(None, None, 8), slice(None, None, 8))[k % 3]] = 255
                if k == 1:
                    x[:, side][:, ::8] = 255
                if k == 2:
                    x[:, side][::8] = 0
            Image.fromarray(x.astype(np.uint8)).save(home / name / f"{i}.png")
    return home


def test_what_lies_at_the_ends_is_found_saved_and_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = write_edges(tmp_path / "d", ("a", "b"), 8, 0), tmp_path / "kinds"
    args = ["fit", str(home), "--out", str(out), "--encoder", NAME, "--method", "GDA"]
    assert run(args) == 0
    printed = capsys.readouterr().out
    assert f"{LETTERBOXED} is also compared: a centre crop cuts more than 40% off 100%" in printed
    assert f"{VIEWED} is also compared: there are 8 images per class" in printed
    rows = json.loads((out / "leaderboard.json").read_text())["rows"]
    accuracy = {row["encoder"]: row["scores"]["accuracy"]["value"] for row in rows}
    assert set(accuracy) == {NAME, LETTERBOXED, VIEWED}
    assert accuracy[LETTERBOXED] == 1 > accuracy[NAME]
    model = json.loads((out / "model.json").read_text())
    assert model["encoder"]["name"] == LETTERBOXED
    assert any("the whole image between bars" in note for note in model["notes"])
    new = write_edges(tmp_path / "new", ("a", "b"), 3, 1)
    predictions = load(out).predict(sorted(map(str, new.rglob("*.png"))))
    assert [p.name for p in predictions] == ["a"] * 3 + ["b"] * 3


def test_a_model_with_views_gets_another_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = write_edges(tmp_path / "d", ("a", "b"), 6, 0), tmp_path / "kinds"
    settings = ["--encoder", NAME, "--method", "GDA", "--views", "2", "--resize", "letterbox"]
    assert run(["fit", str(home), "--out", str(out), *settings]) == 0
    name = json.loads((out / "model.json").read_text())["encoder"]["name"]
    assert name == f"{LETTERBOXED},views=2"
    more = write_edges(tmp_path / "more", ("x", "y", "c"), 6, 2)
    assert run(["add", str(out), "--class-images", "c", str(more / "c")]) == 0
    classifier = load(out)
    assert classifier.classes == ("a", "b", "c")
    assert classifier.predict(str(more / "c" / "0.png")).name == "c"
    capsys.readouterr()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--resize", "zoom"), "no way to resize is called 'zoom'"),
        (("--views", "0"), "views is 0; it must be from 1 to 12"),
        (("--views", "many"), "views is 'many'; it must be a whole number from 1 to 12"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    option: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"one 1": 4, "two 2": 4})
    commands = [["fit", str(home), "--out", str(tmp_path / "k")]]
    if option[0] == "--resize":
        commands.append(["rank", str(home)])
        commands.append(["audit", str(home), "--out", str(tmp_path / "a.csv")])
        commands.append(["detect", "fit", str(home), "--out", str(tmp_path / "z")])
    for command in commands:
        assert run([*command, *option]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error


def test_the_option_means_the_same_in_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_edges(tmp_path / "d", ("a", "b"), 6, 0)
    assert run(["rank", str(home), "--encoder", NAME]) == 0
    printed = capsys.readouterr().out
    assert f"{LETTERBOXED} is also compared" in printed
    assert run(["rank", str(home), "--encoder", NAME, "--resize", "squash"]) == 0
    assert f"{NAME}@resize=squash" in capsys.readouterr().out
    out = tmp_path / "detector"
    assert run(["detect", "fit", str(home), "--encoder", NAME, "--out", str(out)]) == 0
    assert f" on {NAME}@resize=squash to " in capsys.readouterr().err
    assert (
        json.loads((out / "model.json").read_text())["encoder"]["name"] == f"{NAME}@resize=squash"
    )
    args = ["audit", str(home), "--encoder", NAME, "--out", str(tmp_path / "a.csv")]
    assert run([*args, "--fraction", "0"]) == 0
    assert f"{LETTERBOXED} is also compared" in capsys.readouterr().out


def test_fit_config_checks_its_values() -> None:
    FitConfig(resize="letterbox", views=12)
    for wrong in ({"resize": "stretch"}, {"views": 13}, {"views": "all"}):
        with pytest.raises(IlkError):
            FitConfig(**wrong)  # type: ignore[arg-type]
