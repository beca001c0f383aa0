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

from helpers import tiny_diffusers as tiny
from helpers.tiny_checkpoints import save_clip
from ilk.core.errors import InputError, Unavailable
from ilk.diffusion.diffusers import open_checkpoint
from ilk.hub import client as hub

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
    with pytest.raises(InputError, match=f"holds a {plain}, which is not supported; ilk reads"):
        open_checkpoint(folder, CLASSES)


def test_networks_that_are_no_diffusion_pipeline(tmp_path, made):
    with pytest.raises(InputError, match="holds a clip network, not a diffusion pipeline"):
        open_checkpoint(save_clip(tmp_path / "clip", "clip"))
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(InputError, match="holds a resnet18 network, not a diffusion pipeline"):
        open_checkpoint(tmp_path / "timm")
    with pytest.raises(InputError, match="one part of a pipeline; give its parent folder"):
        open_checkpoint(made["stable"] / "unet")
    with pytest.raises(InputError, match="holds a clip_text_model network"):
        open_checkpoint(shutil.copytree(made["stable"] / "text_encoder", tmp_path / "text"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "diffusion.json").write_text("{}")
    with pytest.raises(InputError, match="diffusion model trained by ilk"):
        open_checkpoint(tmp_path / "own")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither model_index.json nor config.json"):
        open_checkpoint(tmp_path / "empty")
    with pytest.raises(Unavailable, match="there is no folder"):
        open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("unet", "scheduler", "lacks scheduler/scheduler_config.json"),
        ("unet", "unet/diffusion_pytorch_model.safetensors", "lacks .*model.safetensors; add it"),
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
        open_checkpoint(folder, CLASSES if "stable" in name else None)


def test_a_third_text_encoder_that_is_announced_must_be_there(copy):
    folder = copy("stable3")
    edit(folder / "model_index.json", text_encoder_3=["transformers", "T5EncoderModel"])
    with pytest.raises(Unavailable, match=r"text_encoder_3 lacks model.safetensors"):
        open_checkpoint(folder, CLASSES)


def test_pickles_are_not_read(copy):
    folder = copy("unet") / "unet"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, folder / "diffusion_pytorch_model.bin")
    with pytest.raises(Unavailable, match="a pickle, which can run arbitrary code and is not read"):
        open_checkpoint(folder.parent)


def test_weights_that_do_not_fill_the_network(copy):
    folder = copy("unet")
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_in.bias"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(InputError, match=r"lack conv_in.bias and 0 more; download them again"):
        open_checkpoint(folder)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be loaded as UNet2DModel"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_size": None}, "does not state the image size"),
        ({"sample_size": [8, 16]}, "not square"),
        ({"sample_size": 9}, "be a multiple of 2"),
        ({"time_embedding_type": "fourier"}, "Fourier features, which are not supported"),
        ({"class_embed_type": "timestep"}, "embeds classes as timestep"),
        ({"out_channels": 3}, "takes 1 channels and gives 3"),
        ({"_class_name": "UNet1DModel"}, "holds a UNet1DModel, but unet needs a UNet2DModel"),
    ],
)
def test_unets_of_another_kind(copy, change, message):
    folder = copy("unet")
    edit(folder / "unet" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction_type": "score"}, "predicts 'score'; epsilon, v_prediction, sample"),
        ({"_class_name": "EDMEulerScheduler"}, "EDMEulerScheduler, which has no table of betas"),
        ({"_class_name": "Nobody"}, "is a Nobody, which has no table"),
        ({"beta_schedule": "steps"}, "cannot be loaded as DDPMScheduler: steps"),
        ({"num_train_timesteps": 1}, "num_train_timesteps 1"),
    ],
)
def test_schedules_that_say_too_little(copy, change, message):
    folder = copy("unet")
    edit(folder / "scheduler" / "scheduler_config.json", **change)
    with pytest.raises(InputError, match=message):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"addition_embed_type": "text_time"}, "conditioned on more than text"),
        ({"in_channels": 9}, "4 channels, but the network takes 9"),
        ({"cross_attention_dim": 16}, "tokens of width 16, the text encoder gives 8"),
    ],
)
def test_text_to_image_networks_of_another_kind(copy, change, message):
    folder = copy("stable")
    edit(folder / "unet" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_checkpoint(folder, CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pooled_projection_dim": 32},
            "pooled states of width 32, the text encoders give 20 and 20",
        ),
        (
            {"sample_size": 32},
            "position embeddings for 8 patches per side, but images of size 32 have more",
        ),
        ({"sample_size": 5}, "be a multiple of 2"),
    ],
)
def test_stable_diffusion_3_that_does_not_fit(copy, change, message):
    folder = copy("stable3")
    edit(folder / "transformer" / "config.json", **change)
    with pytest.raises(InputError, match=message):
        open_checkpoint(folder, CLASSES)


@pytest.mark.parametrize(
    ("classes", "prompts", "message"),
    [
        (None, ("a {}",), "needs the names of the classes to distinguish"),
        ((), ("a {}",), "needs the names of the classes to distinguish"),
        (CLASSES, (), "no prompt is given"),
        (CLASSES, ("a {}", "a photo"), r"the prompt 'a photo' has no \{\}"),
        (("cat", "dog", "cat"), ("a {}",), "class 'cat' is given twice"),
        (("cat " * 80, "dog"), ("a {}",), "tokens, but the text encoder reads 77; shorten it"),
    ],
)
def test_classes_and_prompts(made, classes, prompts, message):
    with pytest.raises(InputError, match=message):
        open_checkpoint(made["stable"], classes, prompts)


def test_classes_for_a_network_that_knows_none(made):
    with pytest.raises(InputError, match=r"2 classes are given, but .* trained without classes"):
        open_checkpoint(made["unet"], CLASSES)
    assert open_checkpoint(made["unet"]).network.classes == ()


@pytest.mark.parametrize("name", ["x", {"a": "b"}, {"7": "b"}])
def test_names_that_are_no_list_of_classes(copy, name):
    folder = copy("dit")
    edit(folder / "model_index.json", id2label=name)
    with pytest.raises(InputError, match=r"id2label|names class 7, but its network has only 3"):
        open_checkpoint(folder)


def test_precision_and_device(made):
    with pytest.raises(InputError, match="unknown precision 'int4'; choose float32 or bfloat16"):
        open_checkpoint(made["unet"], precision="int4")
    with pytest.raises(InputError, match="no device is called 'tpu'"):
        open_checkpoint(made["unet"], device="tpu")


def test_without_the_library_the_command_is_told(made, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda n: None if n == "diffusers" else util.find_spec(n))
    with pytest.raises(Unavailable, match=r"diffusers is not installed; run: pip install 'ilk\[di"):
        open_checkpoint(made["unet"])


def test_nothing_is_imported_before_a_checkpoint_is_opened():
    code = (
        "import sys, ilk.diffusion.diffusers;"
        "print({'diffusers', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
