"""Pretraining from images to a folder: any labels, any interruption, saved and loaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilk.core.digested_json import encode_digested
from ilk.core.errors import ArtifactError, InputError, UnknownName
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.errors.class_errors import compute_class_errors, compute_scores, draw_level_noise
from ilk.diffusion.pretraining import pretrain as pretraining
from ilk.diffusion.pretraining.pretrain import PretrainConfig, pretrain
from ilk.training.trainer import Batch, DeviceConfig, Recipe

PLAN = PretrainConfig(
    Recipe(steps=6, batch_size=8, warmup=1), options={"width": 8, "levels": [1]}, checkpoint_every=2
)
BLOBS = ("left", "right")


def data(n: int = 24, known: int = 24) -> Batch:
    """Bright on the left or on the right, with noise."""
    generator = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = generator.integers(0, 60, (n, 1, 4, 4))
    x[y == 0, :, :, :2] += 180
    x[y == 1, :, :, 2:] += 180
    y[known:] = -1
    return Batch(torch.tensor(x, dtype=torch.uint8), torch.tensor(y))


def probe(denoiser: Denoiser, k: int) -> torch.Tensor:
    x = torch.linspace(-1, 1, 16).view(1, 1, 4, 4).expand(k + 1, 1, 4, 4)
    with torch.no_grad():
        told = denoiser.condition(torch.arange(k + 1) - 1)
        return denoiser.denoise(x, torch.full((k + 1,), 0.5), told)


def test_it_learns_to_tell_classes_apart_by_denoising(tmp_path: Path):
    plan = replace(
        PLAN, recipe=Recipe(steps=150, batch_size=16, lr=5e-3, warmup=5), checkpoint_every=150
    )
    denoiser = pretrain(data(), BLOBS, plan, tmp_path)
    fresh = data(60, 60)
    x = fresh.x.float() / 127.5 - 1
    sigmas = torch.tensor([0.7, 1.5, 3.0])
    made = compute_scores(
        compute_class_errors(denoiser, x, sigmas, draw_level_noise(denoiser, 3)), sigmas**-2
    )
    assert (made.argmax(1) == fresh.y).double().mean() > 0.95


@pytest.mark.parametrize(("classes", "known"), [(BLOBS, 24), (BLOBS, 5), ((), 0)])
def test_any_labels_will_do_and_what_is_saved_is_what_comes_back(
    tmp_path: Path, classes: tuple[str, ...], known: int
):
    made = pretrain(data(known=known), classes, PLAN, tmp_path)
    loaded = saved.load(tmp_path)
    assert loaded.classes == classes
    assert torch.equal(probe(made, len(classes)), probe(loaded, len(classes)))
    assert {p.name for p in tmp_path.iterdir()} == {
        ".ilk.lock",
        "diffusion.json",
        "diffusion.safetensors",
        "state.safetensors",
        "samples.png",
        "log.jsonl",
    }
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (10 * 5 - 1, 4 * 5 - 1)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["updates"] for line in lines] == [2, 4, 6]


@pytest.mark.parametrize("machine", [DeviceConfig(), DeviceConfig(precision="bfloat16")])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: DeviceConfig
):
    plan = replace(PLAN, random_flip=True, max_shift=1, noise=LogNormal(0.5, 1.0))
    whole = pretrain(data(known=10), BLOBS, plan, tmp_path / "whole", machine)
    look = pretraining.make_checkpoint_writer

    def cut(*given):
        def stop(step, loss, average):
            look(*given)(step, loss, average)
            if step == 4:
                raise KeyboardInterrupt

        return stop

    monkeypatch.setattr(pretraining, "make_checkpoint_writer", cut)
    with pytest.raises(KeyboardInterrupt):
        pretrain(data(known=10), BLOBS, plan, tmp_path / "cut", machine)
    monkeypatch.setattr(pretraining, "make_checkpoint_writer", look)
    assert saved.read_spec(tmp_path / "cut").metadata["updates"] == 4
    torch.manual_seed(1)
    again = pretrain(data(known=10), BLOBS, plan, tmp_path / "cut", machine)
    assert torch.equal(probe(whole, 2), probe(again, 2))
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_seed_counts_and_a_dit_will_do(tmp_path: Path):
    dit = replace(PLAN, network="dit", options={"width": 16, "depth": 1, "patch": 2})
    made = [
        pretrain(data(), BLOBS, replace(dit, recipe=replace(dit.recipe, seed=s)), tmp_path / name)
        for s, name in ((0, "a"), (0, "b"), (1, "c"))
    ]
    assert torch.equal(probe(made[0], 2), probe(made[1], 2))
    assert not torch.allclose(probe(made[0], 2), probe(made[2], 2))


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path):
    given = data()
    for wrong, classes, why in [
        (data(0), BLOBS, "no image"),
        (Batch(given.x.float(), given.y), BLOBS, "uint8"),
        (given, BLOBS[:1], "label 1 belongs to none of the 1 classes"),
        (given, (), "set labels to -1"),
        (Batch(given.x[:, :, :3], given.y), BLOBS, "3 x 4 are not square"),
        (Batch(torch.full_like(given.x, 9), given.y), BLOBS, "same value"),
    ]:
        with pytest.raises(InputError, match=why):
            pretrain(wrong, classes, PLAN, tmp_path / "x")
    with pytest.raises(UnknownName, match="the nearest is unet"):
        pretrain(given, BLOBS, replace(PLAN, network="u-net"), tmp_path / "x")
    with pytest.raises(InputError, match="depth"):
        pretrain(given, BLOBS, replace(PLAN, options={"depth": 3}), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_folder_of_another_plan_is_refused(tmp_path: Path):
    pretrain(data(), BLOBS, PLAN, tmp_path)
    with pytest.raises(InputError, match="other settings"):
        pretrain(data(), BLOBS, replace(PLAN, label_dropout=0.5), tmp_path)
    with pytest.raises(InputError, match="other settings"):
        pretrain(data(20), BLOBS, PLAN, tmp_path)


def test_a_damaged_or_foreign_folder_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no diffusion model"):
        saved.load(tmp_path)
    pretrain(data(), BLOBS, PLAN, tmp_path)
    told = (tmp_path / "diffusion.json").read_text()
    for change, why in [
        (told[:-20], "is damaged"),
        (told.replace('"version": 3', '"version": 9'), "has format 9"),
        (told.replace('"width": 8', '"width": 16'), "was altered"),
        ("[]", "no JSON object"),
        ("[" * 100_000, "nested too deeply"),
        (told.replace('"version": 3', '"version": Infinity'), "Infinity is not a JSON number"),
    ]:
        (tmp_path / "diffusion.json").write_text(change)
        with pytest.raises(ArtifactError, match=why):
            saved.load(tmp_path)
    for change, why in [
        (told.replace('"width": 8', '"width": 16'), "does not fit"),
        (told.replace('"sigma_data"', '"bread"'), "was not written by ilk"),
    ]:
        (tmp_path / "diffusion.json").write_bytes(encode_digested(json.loads(change)))
        with pytest.raises(ArtifactError, match=why):
            saved.load(tmp_path)
    (tmp_path / "diffusion.json").write_text(told)
    (tmp_path / "diffusion.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="cannot be read"):
        saved.load(tmp_path)


def test_every_altered_byte_is_refused(tmp_path: Path):
    pretrain(data(), BLOBS, PLAN, tmp_path)
    rng = np.random.default_rng(0)
    for name in ("diffusion.json", "diffusion.safetensors"):
        content = (tmp_path / name).read_bytes()
        for i in rng.choice(len(content), 150, replace=False):
            if content[i : i + 1].isspace():  # between the values of a JSON file
                continue
            altered = bytes([content[i] ^ (1 << int(rng.integers(8)))])
            (tmp_path / name).write_bytes(content[:i] + altered + content[i + 1 :])
            with pytest.raises(ArtifactError):
                saved.load(tmp_path)
        (tmp_path / name).write_bytes(content)
    saved.load(tmp_path)


def test_files_of_two_models_are_not_mixed(tmp_path: Path):
    for name, seed in (("a", 0), ("b", 1)):
        plan = replace(PLAN, recipe=replace(PLAN.recipe, seed=seed))
        pretrain(data(), BLOBS, plan, tmp_path / name)
    shutil.copy(tmp_path / "b" / "diffusion.safetensors", tmp_path / "a" / "diffusion.safetensors")
    with pytest.raises(ArtifactError, match=r"is not the file that diffusion\.json refers to"):
        saved.load(tmp_path / "a")
