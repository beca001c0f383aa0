"""Checkpoints that cannot be read: one sentence each, before anything large is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import util

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_diffusers as tiny
from ilk.diffusion.hub import open_folder
from ilk.encoders import hub
from ilk.errors import InputError, Unavailable
from tiny_checkpoints import save_clip

CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    home = tmp_path_factory.mktemp("refused")
    return {
        "unet": tiny.unet(home / "unet"),
        "dit": tiny.dit(home / "dit"),
        "stable": tiny.stable(home / "stable"),
        "stable3": tiny.stable3(home / "stable3"),
    }


@pytest.fixture
def copy(made, tmp_path):
    return lambda name: shutil.copytree(made[name], tmp_path / name)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "name",
    ["StableDiffusionXLPipeline", "TextToVideoSDPipeline", "StableDiffusionInpaintPipeline",
     ["pipeline", "Mine"]],
)  # fmt: skip
def test_a_pipeline_of_another_family(copy, name):
    folder = copy("stable")
    edit(folder / "model_index.json", _class_name=name)
    plain = name if isinstance(name, str) else "Mine"
    with pytest.raises(InputError, match=f"holds a {plain}, which is of another family; ilk reads"):
        open_folder(folder, CLASSES)


def test_networks_that_are_no_diffusion_pipeline(tmp_path, made):
    with pytest.raises(InputError, match="holds a clip network, no diffusion pipeline"):
        open_folder(save_clip(tmp_path / "clip", "clip"))
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(InputError, match="holds a resnet18 network, no diffusion pipeline"):
        open_folder(tmp_path / "timm")
    with pytest.raises(InputError, match="one part of a pipeline; name the folder above"):
        open_folder(made["stable"] / "unet")
    with pytest.raises(InputError, match="holds a clip_text_model network"):
        open_folder(shutil.copytree(made["stable"] / "text_encoder", tmp_path / "text"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "diffusion.json").write_text("{}")
    with pytest.raises(InputError, match="diffusion model of ilk's own"):
        open_folder(tmp_path / "own")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither model_index.json nor config.json"):
        open_folder(tmp_path / "empty")
    with pytest.raises(Unavailable, match="there is no folder"):
        open_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("unet", "scheduler", "lacks scheduler/scheduler_config.json"),
        ("unet", "unet/diffusion_pytorch_model.safetensors", "lacks .*model.safetensors; put it"),
        ("dit", "vae", "vae lacks diffusion_pytorch_model.safetensors"),
        ("stable", "text_encoder", "text_encoder lacks model.safetensors"),
        ("stable", "tokenizer", "lacks tokenizer/vocab.json and tokenizer/merges.txt"),
        ("stable3", "text_encoder_2/config.json", "lacks text_encoder_2/config.json"),
    ],
)
def test_a_missing_part_is_named(copy, name, part, message):
    folder = copy(name)
    gone = folder / part
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(Unavailable, match=message):
        open_folder(folder, CLASSES if "stable" in name else None)


def test_a_third_text_encoder_that_is_announced_must_be_there(copy):
    folder = copy("stable3")
    edit(folder / "model_index.json", text_encoder_3=["transformers", "T5EncoderModel"])
    with pytest.raises(Unavailable, match=r"text_encoder_3 lacks model.safetensors"):
        open_folder(folder, CLASSES)


def test_pickles_are_not_read(copy):
    folder = copy("unet") / "unet"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(Unavailable, match="a pickle, which can run any code and is not read"):
        open_folder(folder.parent)


def test_weights_that_do_not_fill_the_network(copy):
    folder = copy("unet")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(InputError, match=r"lack conv_in.bias and 0 more; fetch them again"):
        open_folder(folder)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="makes no UNet2DModel"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_size": None}, "does not say which size of image"),
        ({"sample_size": [8, 16]}, "not square"),
        ({"sample_size": 9}, "needs a multiple of 2"),
        ({"time_embedding_type": "fourier"}, "Fourier features, which are not read"),
        ({"class_embed_type": "timestep"}, "told classes as timestep"),
        ({"out_channels": 3}, "takes 1 channels and gives 3"),
        ({"_class_name": "UNet1DModel"}, "holds a UNet1DModel, but unet needs a UNet2DModel"),
    ],
)
def test_unets_of_another_kind(copy, change, message):
    folder = copy("unet")
    edit(folder / "unet" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction_type": "score"}, "predicts 'score'; epsilon, v_prediction, sample"),
        ({"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler, which has no table of betas"),
        ({"_class_name": "Nobody"}, "of a Nobody, which has no table"),
        ({"beta_schedule": "steps"}, "makes no DDPMScheduler: steps"),
        ({"num_train_timesteps": 1}, "num_train_timesteps 1"),
    ],
)
def test_schedules_that_say_too_little(copy, change, message):
    folder = copy("unet")
    edit(folder / "scheduler" / "scheduler_config.json", **change)
    with pytest.raises(InputError, match=message):
        open_folder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addition_embed_type": "text_time"}, "told more than texts"),
        ({"in_channels": 9}, "4 channels, but the network takes 9"),
        ({"cross_attention_dim": 16}, "told 16 numbers a token, the text encoder gives 8"),
    ],
)
def test_text_to_image_networks_of_another_kind(copy, change, message):
    folder = copy("stable")
    edit(folder / "unet" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_folder(folder, CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooled_projection_dim": 32}, "32 for all, the text encoders give 20 and 20"),
        ({"sample_size": 32}, "places for 8 patches a side, but images of 32 have more"),
        ({"sample_size": 5}, "needs a multiple of 2"),
    ],
)
def test_stable_diffusion_3_that_does_not_fit(copy, change, message):
    folder = copy("stable3")
    edit(folder / "transformer" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_folder(folder, CLASSES)


@pytest.mark.parametrize(
    ("classes", "prompts", "message"),
    [
        (None, ("a {}",), "knows any class by its name, but none is given"),
        ((), ("a {}",), "knows any class by its name, but none is given"),
        (CLASSES, (), "no prompt is given"),
        (CLASSES, ("a {}", "a photo"), r"the prompt 'a photo' has no \{\}"),
        (("cat", "dog", "cat"), ("a {}",), "class 'cat' is given twice"),
        (("cat " * 80, "dog"), ("a {}",), "tokens, but the text encoder reads 77; shorten it"),
    ],
)
def test_classes_and_prompts(made, classes, prompts, message):
    with pytest.raises(InputError, match=message):
        open_folder(made["stable"], classes, prompts)


def test_classes_for_a_network_that_knows_none(made):
    with pytest.raises(InputError, match=r"2 classes are given, but .* trained without classes"):
        open_folder(made["unet"], CLASSES)
    assert open_folder(made["unet"]).network.classes == ()


@pytest.mark.parametrize("name", ["x", {"a": "b"}, {"7": "b"}])
def test_names_that_are_no_list_of_classes(copy, name):
    folder = copy("dit")
    edit(folder / "model_index.json", id2label=name)
    with pytest.raises(InputError, match=r"id2label|names class 7, but its network knows only 3"):
        open_folder(folder)


def test_precision_and_device(made):
    with pytest.raises(InputError, match="no precision is called 'int4': float32 or bfloat16"):
        open_folder(made["unet"], precision="int4")
    with pytest.raises(InputError, match="no device is called 'tpu'"):
        open_folder(made["unet"], device="tpu")


def test_without_the_library_the_command_is_told(made, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda n: None if n == "diffusers" else util.find_spec(n))
    with pytest.raises(Unavailable, match=r"diffusers is not installed; run: pip install 'ilk\[di"):
        open_folder(made["unet"])


def test_nothing_is_imported_before_a_checkpoint_is_opened():
    code = "import sys, ilk.diffusion.hub; print({'diffusers', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
