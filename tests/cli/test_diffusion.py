"""`ilk pretrain` and `ilk draw` as a user types them, and what they choose when nothing is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.cli import draw, pretrain
from ilk.core.errors import InputError, NoImages, OutputError, UnknownName
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.generation.images import assign_classes, write_samples
from ilk.diffusion.pretraining import presets as plans
from ilk.diffusion.pretraining.pixels import choose_pixels, load_batch
from ilk.images import read_images
from ilk.store import Store

CHEAP = ["--updates", "3", "--batch-size", "16", "--width", "8", "--device", "cpu"]


def typed(command, *words: str) -> str:
    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    write_digits(tmp_path / "digits" / "train", {"one 1": 12, "zero 0": 10})
    write_digits(tmp_path / "digits" / "test", {"two 2": 5})
    return tmp_path / "digits"


def test_a_folder_in_a_model_out_and_pictures_from_it(digits: Path, tmp_path: Path):
    out = tmp_path / "model"
    said = typed(pretrain.command, str(digits), "--out", str(out), *CHEAP)
    assert "22 images, 22 of them labelled" in said  # none of the test part
    assert saved.read_spec(out).classes == ("one 1", "zero 0")
    assert saved.read_spec(out).shape == (1, 8, 8)
    place = str(tmp_path / "some.png")
    words = ("--count", "4", "--steps", "3", "--device", "cpu")
    typed(draw.command, str(out), "--class", "zero 0", "--out", place, *words)
    first = np.asarray(Image.open(place))
    assert first.shape == (17, 17)
    typed(draw.command, str(out), "--class", "zero 0", "--out", place, *words)
    assert (np.asarray(Image.open(place)) == first).all()
    typed(draw.command, str(out), "--out", str(tmp_path / "each"), *words)
    assert len(list((tmp_path / "each").glob("*.png"))) == 4


def test_without_labels_it_learns_the_images_alone(digits: Path, tmp_path: Path):
    out = tmp_path / "model"
    said = typed(pretrain.command, str(digits), "--out", str(out), "--ignore-labels", *CHEAP)
    assert "22 images, 0 of them labelled" in said
    assert saved.read_spec(out).classes == ()


def test_pixels_come_as_they_are_with_the_class_s_number(digits: Path, tmp_path: Path):
    images = read_images(digits).select_split("train")
    pixels = choose_pixels(images)
    data, kept, failures = load_batch(images, ("zero 0",), pixels, Store(tmp_path / "s"))
    assert not failures
    assert data.x.dtype == torch.uint8
    for i in (0, 15):
        file = Image.open(kept.path_of(kept.used[i]))
        assert (data.x[i, 0].numpy() == np.asarray(file)).all()
        assert data.y[i] == (0 if kept.used[i].label == "zero 0" else -1)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"")
    with pytest.raises(NoImages):
        load_batch(read_images(tmp_path / "bad"), (), pixels, Store(tmp_path / "s"))


@pytest.mark.parametrize("size", [8, 12, 16, 20, 24, 28, 32, 64])
@pytest.mark.parametrize("network", ["unet", "dit"])
def test_what_is_chosen_can_be_built_and_is_compact(network: str, size: int):
    options = plans.choose_options(network, size)
    made = saved.DenoiserSpec((3, size, size), ("a",), 0.5, (0.1, 9.0), network, options).build()
    assert 1e5 < sum(p.numel() for p in made.parameters()) < 4e6


def test_how_long_follows_the_number_of_images():
    assert plans.count_updates(100, 128) == 300
    assert plans.count_updates(60_000, 128) == 14_062


def test_what_to_draw_is_asked_for_by_name():
    assert assign_classes(("a", "b"), "b", 3).tolist() == [1, 1, 1]
    assert assign_classes(("a", "b"), "", 3).tolist() == [0, 1, 0]
    assert assign_classes((), "", 2).tolist() == [-1, -1]
    with pytest.raises(UnknownName, match="the nearest is cat"):
        assign_classes(("cat", "dog"), "cats", 1)
    with pytest.raises(InputError, match="without classes"):
        assign_classes((), "a", 1)
    with pytest.raises(InputError, match="at least 1"):
        assign_classes((), "", 0)


def test_pictures_keep_their_colours(tmp_path: Path):
    colour = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    write_samples(colour, tmp_path / "a")
    assert Image.open(tmp_path / "a" / "00000.png").getpixel((0, 0)) == (0, 128, 255)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_samples(colour, tmp_path / "file" / "a.png")
