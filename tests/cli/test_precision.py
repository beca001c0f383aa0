"""A precision that does not exist, or that an encoder does not know, is said in every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.archives import make_classes, write_folder
from ilk.cli import run
from ilk.core.errors import UnknownName
from ilk.fitting.config import FitConfig
from ilk.training.recipe import DeviceConfig

COMMANDS = (
    ["fit", "photos", "--out", "k"],
    ["pretrain", "none", "--out", "k"],
    ["tune", "k", "none"],
)


@pytest.mark.parametrize("args", COMMANDS)
def test_an_unknown_precision_ends_before_any_work(
    args: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", make_classes(3))
    assert run([*args, "--precision", "float16"]) == 2
    error = capsys.readouterr().err
    assert error == "ilk: no precision is called 'float16'; the nearest are bfloat16, float32\n"
    assert not Path("k").exists()


@pytest.mark.parametrize("make", [FitConfig, DeviceConfig])
def test_an_unknown_precision_in_python(make: type[FitConfig | DeviceConfig]) -> None:
    assert make(precision="bfloat16").precision == "bfloat16"
    with pytest.raises(UnknownName, match="no precision is called 'float64'"):
        make(precision="float64")


def test_an_encoder_that_computes_in_float32_anyway_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", make_classes(6))
    options = ["--encoder", "pixels/8x8x3", "--encoder", "hog", "--method", "GDA"]
    args = ["fit", "photos", "--out", "k", *options]
    assert run([*args, "--precision", "bfloat16"]) == 0
    note = (
        "pixels/8x8x3 and hog/32 compute in float32, so --precision bfloat16 changes nothing there"
    )
    assert note in capsys.readouterr().out
    assert run(args) == 0
    assert "float32" not in capsys.readouterr().out
