"""A method that is asked for is used, or it is said why not and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.core.contracts import describe
from ilk.core.errors import InputError
from ilk.encoders import resolve_encoder
from ilk.fitting.usable_methods import check_requested, describe_left_out, find_unmet
from ilk.methods import list_methods
from ilk.methods.diffusion_classifier import DiffusionClassifier
from ilk.methods.gda import GDA
from ilk.methods.pretrained_head import PretrainedHead
from ilk.methods.waveblock import WaveBlock
from ilk.methods.zero_shot import ZeroShot


class Scorer:
    """A diffusion classifier as encoders show themselves: one score per class."""

    name = "diffusion-classifier:x"
    classes = ("a", "b")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("digits")
    write_digits(home, {"class 0": 6, "class 1": 6})
    return home


@pytest.fixture
def hog():
    return resolve_encoder("hog/32")


def fit(folder: Path, tmp_path: Path, capsys, *arguments: str) -> tuple[int, str]:
    code = run(["fit", str(folder), "--out", str(tmp_path / "m"), *arguments])
    assert not (tmp_path / "m" / "model.json").exists() or code == 0
    return code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        ("DiffusionClassifier", "--classifier diffusion:PATH"),
        ("DiffusionClassifier(scale=2.0)", "--classifier diffusion:PATH"),
        ("PretrainedHead", "--encoder efficientnet-lite0"),
        ("ZeroShot", "--encoder clip/ORG/NAME"),
        ("GDAZeroShot", "--encoder clip/ORG/NAME"),
        ("WaveBlock", "--encoder pixels"),
        ("DRM", "use it from Python"),
        ("GaussianAnomaly", "ilk detect fit"),
    ],
)
@pytest.mark.parametrize("beside", [[], ["--method", "GDA"]])
def test_each_method_that_no_encoder_serves_is_refused_with_its_remedy(
    method, remedy, beside, folder, tmp_path, capsys
):
    """Alone, and beside a method that could be used: it must not be dropped in silence."""
    code, text = fit(folder, tmp_path, capsys, "--encoder", "hog/32", "--method", method, *beside)
    assert code == 2
    assert method.partition("(")[0] in text
    assert remedy in text
    assert "no method to compare" not in text


def test_every_method_fits_plain_features_or_is_refused_with_an_option_or_a_command(hog):
    for name, kind in list_methods().items():
        method = kind()
        requirement = find_unmet(method, hog)
        if requirement is None:
            check_requested([method], [hog])
            continue
        with pytest.raises(InputError, match=r"--(classifier|encoder) ") as caught:
            check_requested([GDA(), method], [hog])
        assert str(caught.value).startswith(describe(method)), name


def test_an_encoder_that_serves_the_method_is_enough(hog):
    lite, pixels = resolve_encoder("efficientnet-lite0"), resolve_encoder("pixels/8x8x1")
    check_requested([PretrainedHead(), GDA()], [hog, lite])
    check_requested([WaveBlock(), GDA()], [hog, pixels])
    with pytest.raises(InputError, match=r"ZeroShot\(\) compares images with text"):
        check_requested([ZeroShot()], [hog, lite, pixels])


def test_of_a_classifier_features_are_not_to_be_had(monkeypatch):
    import ilk.fitting.usable_methods as module

    monkeypatch.setattr(module, "ScoresClasses", Scorer)
    check_requested([DiffusionClassifier()], [Scorer()])
    with pytest.raises(InputError, match=r"GDA\(\) is fitted to features.*--encoder default"):
        check_requested([GDA()], [Scorer()])


def test_without_labels_a_method_that_learns_from_them_says_so(tmp_path, capsys):
    write_digits(tmp_path / "flat", {"digits 4": 4})
    names = ["--class", "dog", "--class", "guitar", "--encoder", "efficientnet-lite0"]
    home = tmp_path / "flat" / "digits 4"
    code, text = fit(home, tmp_path, capsys, *names, "--method", "GDA")
    assert code == 2
    assert "GDA() learns from labels, and no image has one" in text
    lines: list[str] = []
    ilk.fit(
        str(home),
        classes=("dog", "guitar"),
        encoders="efficientnet-lite0",
        methods=("GDA", "PretrainedHead"),
        log=lines.append,
    )
    assert "GDA() is left out: it learns from labels, and no image has one" in lines


def test_names_that_no_encoder_knows_leave_a_method_out_aloud(folder):
    lines: list[str] = []
    ilk.fit(
        str(folder),
        encoders=("efficientnet-lite0", "hog/32"),
        methods=("NearestClassMean", "PretrainedHead"),
        folds=2,
        single=True,
        resize="crop",
        views=1,
        log=lines.append,
    )
    assert "PretrainedHead() is left out: no encoder knows every class by name" in lines


def test_what_is_used_is_not_told_of():
    assert describe_left_out([GDA(), PretrainedHead()], [[GDA()], [PretrainedHead()]], True) == []


def test_images_with_several_labels_and_the_audit_name_the_command_too(folder, tmp_path, capsys):
    table = tmp_path / "t.csv"
    files = sorted(folder.glob("*/*.png"))
    rows = [f"{file},{'a;b' if i % 2 else 'a'}" for i, file in enumerate(files)]
    table.write_text("\n".join(["path,labels", *rows]) + "\n")
    code, text = fit(
        table, tmp_path, capsys, "--multi-label", "--encoder", "hog/32",
        "--method", "GaussianAnomaly",
    )  # fmt: skip
    assert code == 2
    assert "ilk detect fit" in text
    audit = ["audit", str(folder), "--out", str(tmp_path / "s.csv"), "--encoder", "hog/32"]
    assert run([*audit, "--method", "DiffusionClassifier"]) == 2
    assert "audit with a method that learns from features" in capsys.readouterr().err
    assert run([*audit, "--method", "WaveBlock"]) == 2
    assert "add --encoder pixels" in " ".join(capsys.readouterr().err.split())


def test_features_alone_are_enough_for_most_methods(hog):
    served = [name for name, kind in list_methods().items() if find_unmet(kind(), hog) is None]
    assert {"GDA", "ELR", "RCAL", "TEEN", "Replay", "UNEM"} <= set(served)
    assert not {"DiffusionClassifier", "PretrainedHead", "ZeroShot", "WaveBlock"} & set(served)
    assert np.all([hasattr(kind, "fit") for kind in list_methods().values()])
