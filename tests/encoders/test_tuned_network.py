"""`tuned:PATH` of a tuned network: what the folder holds, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.noise_images import noise
from helpers.striped_images import PREPROCESS, SIDE, write_network
from ilk.core.capabilities import KeepsFiles, KnowsTrainingImages
from ilk.core.digested_json import encode_digested
from ilk.core.errors import ArtifactError, InputError, Unavailable, UnknownName
from ilk.encoders import resolve_encoder
from ilk.encoders.tuned_checkpoint import TunedCheckpoint
from ilk.encoders.tuned_files import merge_digests, pack_digests
from ilk.encoders.tuned_network import (
    NETWORK,
    TunedNetwork,
    build_student,
    read_tuned_network,
    take_state,
    write_tuned_network,
)
from ilk.peft import get_state, parse_wrapper

DIGESTS = [f"{i:064x}" for i in (7, 1, 300)]


@pytest.fixture
def student(tmp_path):
    return write_network(tmp_path / "student")


def tune(name, **changes):
    """A network of which one layer was tuned."""
    base = resolve_encoder(name)
    network = base.checkpoint.build_network()
    [first, *_] = [n for n, p in network.named_parameters() if p.dim() == 4]
    arrays = {first: take_state(network, [first])[first] + np.float32(0.1)}
    return replace(
        TunedNetwork(
            NETWORK, base.preprocess, base.space.dim, arrays, base.describe(), tuned="one layer",
            classes=("cat", "dög"), trained_on=pack_digests(DIGESTS), results={"gain": 0.5},
        ),
        **changes,
    )  # fmt: skip


def embed(encoder):
    return encoder.embed(np.stack([encoder.prepare(noise(20, 20, i)) for i in range(2)]))


def test_digests_of_two_trainings_are_packed_as_one():
    first, second = DIGESTS[:2], DIGESTS[1:]
    merged = merge_digests(pack_digests(second), pack_digests(first))
    assert np.array_equal(merged, pack_digests(DIGESTS))


def test_what_is_written_is_read(student, tmp_path):
    written = tune(student)
    write_tuned_network(tmp_path / "t", written)
    found = read_tuned_network(tmp_path / "t")
    assert found.to_entries() == json.loads(json.dumps(written.to_entries()))
    assert found.digest_weights() == written.digest_weights()
    assert found.preprocess == PREPROCESS
    assert found.is_held_out([*DIGESTS, f"{8:064x}"]).tolist() == [False, False, False, True]
    groups = np.array([4, 5, 6, 4])
    assert found.is_held_out([*DIGESTS, f"{8:064x}"], groups).tolist() == [False] * 4
    alone = np.full(4, -1)
    assert found.is_held_out([*DIGESTS, f"{8:064x}"], alone).tolist() == [False, False, False, True]


def test_the_rest_of_the_network_is_that_of_its_base(student, tmp_path):
    written = tune(student)
    write_tuned_network(tmp_path / "t", written)
    encoder = resolve_encoder(f"tuned:{tmp_path / 't'}", runtime="torch")
    assert isinstance(encoder, KnowsTrainingImages)
    assert isinstance(encoder, KeepsFiles)
    state = encoder.checkpoint.build_network().state_dict()
    base = resolve_encoder(student).checkpoint.build_network().state_dict()
    [tuned] = written.arrays
    assert np.array_equal(state[tuned].numpy(), written.arrays[tuned])
    assert all(np.array_equal(state[n].numpy(), base[n].numpy()) for n in base if n != tuned)
    assert not np.allclose(embed(encoder), embed(resolve_encoder(student, runtime="torch")))


def test_other_weights_are_another_space(student, tmp_path):
    first = tune(student)
    write_tuned_network(tmp_path / "t", first)
    before = resolve_encoder(f"tuned:{tmp_path / 't'}").space.key
    arrays = {n: a + 1 for n, a in first.arrays.items()}
    write_tuned_network(tmp_path / "t", replace(first, arrays=arrays))
    assert resolve_encoder(f"tuned:{tmp_path / 't'}").space.key != before
    shutil.move(tmp_path / "t", tmp_path / "moved")
    write_tuned_network(tmp_path / "moved", first)
    assert resolve_encoder(f"tuned:{tmp_path / 'moved'}").space.key == before


def test_the_same_weights_in_another_network_are_another_space(student, tmp_path):
    """Stored features of the one must not be taken for those of the other."""
    first = tune(student)
    others = (
        replace(first, wrapper="LoRA(rank=2)"),
        replace(first, settings={"size": [8, 8]}),
        replace(first, architecture="cnn-1m"),
        replace(first, kind="wrapper"),
        replace(first, base={**first.base, "key": "another"}),
    )
    digests = [TunedCheckpoint(tmp_path, t, None).digest_files() for t in (first, *others)]
    assert len({json.dumps(d, sort_keys=True) for d in digests}) == 6


def test_a_wrapper_is_read_around_its_base(student, tmp_path):
    base = resolve_encoder(student)
    network = parse_wrapper("LoRA(rank=2)").apply(base.checkpoint.build_network())
    arrays = {n: v.numpy() + np.float32(0.05) for n, v in get_state(network).items()}
    written = tune(student, kind="wrapper", wrapper="LoRA(rank=2)", arrays=arrays)
    write_tuned_network(tmp_path / "t", written)
    encoder = resolve_encoder(f"tuned:{tmp_path / 't'}", runtime="torch")
    assert not np.allclose(embed(encoder), embed(resolve_encoder(student, runtime="torch")))


def test_the_network_of_a_base_is_not_changed(student):
    base = resolve_encoder(student).checkpoint.build_network()
    before = take_state(base)
    tune(student).build_network(base)
    assert all(np.array_equal(before[n], a) for n, a in take_state(base).items())


def test_another_base_is_refused(student, tmp_path):
    write_tuned_network(tmp_path / "t", tune(student))
    write_network(tmp_path / "student", seed=1)
    with pytest.raises(Unavailable, match="is a different one on this machine"):
        resolve_encoder(f"tuned:{tmp_path / 't'}")
    shutil.rmtree(tmp_path / "student")
    with pytest.raises(Unavailable, match="is the network of tuned:"):
        resolve_encoder(f"tuned:{tmp_path / 't'}")


def test_weights_that_do_not_fit_are_refused(student):
    base = resolve_encoder(student).checkpoint.build_network()
    strange = tune(student, arrays={"nowhere.weight": np.zeros(3, np.float32)})
    with pytest.raises(ArtifactError, match=r"no nowhere\.weight"):
        strange.build_network(base)
    [name] = tune(student).arrays
    with pytest.raises(ArtifactError, match="do not fit"):
        tune(student, arrays={name: np.zeros((1, 1, 1, 1), np.float32)}).build_network(base)
    with pytest.raises(ArtifactError, match="do not fit"):
        tune(student, kind="wrapper", wrapper="LoRA(rank=2)", arrays={}).build_network(base)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("kind", "magic"),
        ("width", 0),
        ("width", True),
        ("base", None),
        ("wrapper", 3),
        ("preprocess", {}),
        ("format", "ilk tuned network 9"),
    ],
)
def test_altered_entries_are_refused(student, tmp_path, entry, value):
    folder = tmp_path / "t"
    write_tuned_network(folder, tune(student))
    fields = json.loads((folder / "tuned.json").read_text())
    (folder / "tuned.json").write_bytes(encode_digested({**fields, entry: value}))
    with pytest.raises(ArtifactError):
        resolve_encoder(f"tuned:{folder}")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("size", [SIDE]),
        ("size", [SIDE, 10**6]),
        ("std", [0.0, 1.0, 1.0]),
        ("interpolation", "magic"),
        ("fit", "magic"),
        ("factor", "1"),
        ("factor", 1e300),
        ("mean", [0.5, 0.5, -1e308]),
        ("fill", [0, 300, 0]),
    ],
)
def test_altered_preprocessing_is_refused(student, tmp_path, entry, value):
    folder = tmp_path / "t"
    write_tuned_network(folder, tune(student))
    fields = json.loads((folder / "tuned.json").read_text())
    fields["preprocess"][entry] = value
    (folder / "tuned.json").write_bytes(encode_digested(fields))
    with pytest.raises(ArtifactError, match="damaged"):
        resolve_encoder(f"tuned:{folder}")


def test_damaged_files_are_refused(student, tmp_path):
    folder = tmp_path / "t"
    write_tuned_network(folder, tune(student))
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ArtifactError, match="damaged"):
        resolve_encoder(f"tuned:{folder}")
    text = (folder / "tuned.json").read_text()
    (folder / "tuned.json").write_text(text.replace("one layer", "two layers"))
    with pytest.raises(ArtifactError, match="altered"):
        resolve_encoder(f"tuned:{folder}")


def test_a_folder_that_leads_back_to_itself_is_refused(student, tmp_path):
    folder = tmp_path / "t"
    write_tuned_network(folder, tune(student))
    fields = json.loads((folder / "tuned.json").read_text())
    fields["base"]["name"] = f"tuned:{folder}"
    (folder / "tuned.json").write_bytes(encode_digested(fields))
    with pytest.raises(ArtifactError, match="tune it again"):
        resolve_encoder(f"tuned:{folder}")


def test_students_have_an_architecture_and_no_base(student):
    with pytest.raises(UnknownName, match="cnn-15k"):
        build_student("cnn-15", {})
    with pytest.raises(InputError, match="no base"):
        tune(student, base=None)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(student, tmp_path, value):
    first = tune(student)
    arrays = {n: np.full_like(a, value) for n, a in first.arrays.items()}
    write_tuned_network(tmp_path / "t", replace(first, arrays=arrays))
    with pytest.raises(ArtifactError, match="not finite"):
        resolve_encoder(f"tuned:{tmp_path / 't'}")


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": 3, "size": [1e308, 1e308]},
        {"channels": 3, "size": "x"},
        {"channels": 10**9, "size": [16, 16]},
        {"channels": 3, "size": [16, 16], "seed": 10**30},
        {},
    ],
)
def test_altered_settings_of_a_student_are_refused(student, tmp_path, settings):
    folder = tmp_path / "t"
    write_tuned_network(
        folder, replace(read_tuned_network(tmp_path / "student"), settings=settings)
    )
    encoder = resolve_encoder(f"tuned:{folder}", runtime="torch")
    with pytest.raises((ArtifactError, InputError)) as caught:
        embed(encoder)
    assert "\n" not in str(caught.value)
