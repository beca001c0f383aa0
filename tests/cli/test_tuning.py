"""`ilk tune --objective` and `ilk pretrain --objective` as a user types them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from helpers.digit_folders import write_digits
from ilk.cli import draw, fit, pretrain, tune
from ilk.cli.tuning_output import describe_levels, describe_loss
from ilk.core.errors import InputError, UnknownName

CHEAP = ["--updates", "3", "--batch-size", "16", "--device", "cpu"]


def invoke(command, *words: str) -> str:
    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model pretrained on all but a tenth of the images in `tmp_path / "digits"`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    write_digits(tmp_path / "digits", {"0": 60, "1": 60}, seed=1)
    invoke(pretrain.command, "digits", "--out", "model", "--folds", "0", "--width", "8", *CHEAP)
    return "model"


def test_tuning_prints_before_and_after_and_the_classifier_uses_it(model: str, tmp_path: Path):
    untuned = (tmp_path / model / "diffusion.safetensors").read_bytes()
    words = ["--objective", "cross-entropy", *CHEAP]
    text = invoke(tune.command, model, "digits", *words)
    assert "before" in text
    assert "after" in text
    assert "Fréchet distance" in text
    assert "at most 4 levels" in text
    report = json.loads(invoke(tune.command, model, "digits", *words, "--json"))
    assert report["tuning"]["objective"] == "cross-entropy"
    assert [r["levels"] for r in report["tuning"]["after"]["results"]] == [1, 2, 4, 16]
    assert (tmp_path / model / "diffusion.safetensors").read_bytes() == untuned
    classifier = f"diffusion:{model}"
    words = ["--out", "fitted", "--classifier", classifier, "--device", "cpu"]
    invoke(fit.command, "digits", *words)
    description = (tmp_path / "fitted" / "model.json").read_text()
    assert "diffusion" in description
    invoke(draw.command, model, "--count", "2", "--steps", "2", "--device", "cpu")


def test_pretraining_can_tune_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr("ilk.diffusion.tuning.tune.MIN_UPDATES", 3)
    write_digits(tmp_path / "digits", {"0": 40, "1": 40}, seed=1)
    words = ["--out", "model", "--folds", "0", "--width", "8", "--objective", "ddo"]
    monkeypatch.setattr(
        "ilk.diffusion.tuning.objectives.ddo.DirectDiscriminativeOptimization.__init__.__defaults__",
        (None, (), 0.02, 1.0, 8, 2),
    )
    report = json.loads(invoke(pretrain.command, "digits", *words, *CHEAP, "--json"))
    assert report["tuning"]["objective"] == "ddo"
    assert (tmp_path / "model" / "tuned" / "tuning.json").exists()


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["--updates", "3"], InputError, "--updates belongs to tuning with an objective"),
        (["--max-levels", "2"], InputError, "--max-levels belongs"),
        (["--noise-calls", "2"], InputError, "--noise-calls belongs .* add --noise-shots"),
        (["--objective", "ce"], UnknownName, "cross-entropy"),
    ],
)
def test_options_that_do_nothing_are_refused(
    tmp_path: Path, words: list[str], error: type[Exception], text: str
):
    with pytest.raises(error, match=text):
        CliRunner().invoke(
            tune.command, [str(tmp_path), str(tmp_path), *words], catch_exceptions=False
        )


def test_levels_that_are_kept_are_not_said_to_be_learned():
    assert describe_levels(394, 200, "model") == (
        "model keeps its noise levels, which were learned from 394 images; the 200 new ones are "
        "fewer"
    )
    assert describe_levels(400, 400, "model").startswith("noise levels learned from 400 images")


def test_a_network_that_tuning_made_worse_is_called_worse():
    def assess(*accuracies: float) -> SimpleNamespace:
        levels = zip((1, 4, 16), accuracies, strict=True)
        return SimpleNamespace(results=[SimpleNamespace(levels=n, accuracy=a) for n, a in levels])

    def tell(before: object, after: object) -> str:
        return describe_loss(SimpleNamespace(before=before, after=after, max_levels=4), "model")

    before = assess(0.5, 0.6, 0.7)
    assert "(0.650 against 0.700)" in tell(before, assess(0.6, 0.65, 0.9))  # 16 are not in use
    assert "delete model/tuned" in tell(before, assess(0.6, 0.65, 0.9))
    assert tell(before, assess(0.7, 0.6, 0.6)) == ""
    assert tell(None, assess(0.1, 0.1, 0.1)) == ""


def test_pretraining_without_labels_cannot_tune(tmp_path: Path):
    words = [str(tmp_path), "--out", "m", "--ignore-labels", "--objective", "cca"]
    with pytest.raises(InputError, match="needs labels"):
        CliRunner().invoke(pretrain.command, words, catch_exceptions=False)
