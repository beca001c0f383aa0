"""The network of a student as an encoder: from memory, from its folder, and inside a model."""

import numpy as np
import pytest
import torch
from PIL import Image

from ilk.architectures.student_cnn import make_student
from ilk.core.capabilities import KeepsFiles
from ilk.encoders import resolve_encoder
from ilk.encoders.options import EncoderOptions
from ilk.encoders.tuned_checkpoint import make_student_encoder
from ilk.encoders.tuned_files import pack_digests
from ilk.encoders.tuned_network import STUDENT, TunedNetwork, take_state, write_tuned_network
from ilk.hub.preprocessing import Preprocess
from ilk.training.student_features import remove_head

SIDES = (16, 16)
OPTIONS = EncoderOptions(device="cpu", runtime="torch")


def make_tuned(channels):
    network = make_student("cnn-15k", 3, channels, SIDES, seed=1)
    network.train()
    network(torch.randn(4, channels, *SIDES))  # batch normalization counts it
    preprocess = Preprocess(SIDES, SIDES, "squash", "bilinear", (0.5,) * 3, (0.25,) * 3)
    tuned = TunedNetwork(
        STUDENT,
        preprocess,
        network.n_features,
        take_state(remove_head(network)),
        architecture="cnn-15k",
        settings={"channels": channels, "size": list(SIDES)},
        trained_on=pack_digests(["ab" * 32]),
    )
    return network.eval(), tuned


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_gives_the_features_of_the_network(channels, tmp_path):
    network, tuned = make_tuned(channels)
    write_tuned_network(tmp_path / "t", tuned)
    encoder = resolve_encoder(f"tuned:{tmp_path / 't'}", device="cpu", runtime="torch")
    in_memory = make_student_encoder(tuned, tmp_path / "nowhere", OPTIONS)
    assert encoder.space.key == in_memory.space.key
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    prepared = encoder.prepare(Image.fromarray(pixels).convert("RGB"))[None]
    x = torch.from_numpy((prepared[:, :channels] / 255 - 0.5) / 0.25).float()
    with torch.inference_mode():
        expected = network.forward_features(x).numpy()
    for one in (encoder, in_memory):
        np.testing.assert_allclose(one.embed(prepared), expected, rtol=1e-4, atol=1e-4)


def test_numbers_without_axes_stay_numbers(tmp_path):
    _, tuned = make_tuned(1)
    write_tuned_network(tmp_path / "t", tuned)
    read = resolve_encoder(f"tuned:{tmp_path / 't'}").checkpoint.tuned
    counts = [n for n in tuned.arrays if n.endswith("num_batches_tracked")]
    assert counts
    for name in counts:
        assert read.arrays[name].shape == () == tuned.arrays[name].shape
        assert read.arrays[name] == 1


def test_a_model_folder_can_hold_it(tmp_path):
    _, tuned = make_tuned(1)
    encoder = make_student_encoder(tuned, tmp_path / "t", OPTIONS)
    assert isinstance(encoder, KeepsFiles)
    (tmp_path / "t").mkdir()
    for name, content in encoder.get_model_files().items():
        (tmp_path / "t" / name).write_bytes(content)
    opened = resolve_encoder(f"tuned:{tmp_path / 't'}")
    assert opened.space.key == encoder.space.key
    assert not opened.is_held_out(["ab" * 32])[0]
    assert opened.is_held_out(["cd" * 32])[0]
