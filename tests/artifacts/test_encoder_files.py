"""An encoder inside a model folder: the folder is complete, movable and of one model alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import ilk
from export.conftest import save_images
from helpers.compressed_networks import make_network, write_network
from ilk.artifacts.encoder_files import list_files, locate_files, read_files
from ilk.core.capabilities import find_trained_parts
from ilk.core.digested_json import compute_digest
from ilk.core.errors import ArtifactError, Unavailable
from ilk.encoders.registry import resolve_encoder
from ilk.store import Store

IMAGE = Image.new("RGB", (20, 30), (200, 30, 30))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A classifier on a compressed network whose own folder is gone, saved, and its store."""
    tmp = tmp_path_factory.mktemp("inside")
    save_images(tmp / "photos")
    write_network(tmp / "network")
    store = Store(tmp / "store.sqlite")
    model = ilk.fit(
        str(tmp / "photos"),
        encoders=(f"compressed:{tmp / 'network'}",),
        methods=("GDA",),
        store=store,
    )
    model.save(tmp / "kinds")
    shutil.rmtree(tmp / "network")
    return model, tmp / "kinds", store


def test_a_moved_folder_answers_the_same(world, tmp_path):
    model, folder, store = world
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    loaded = ilk.load(moved)
    assert loaded.encoder.space.key == model.encoder.space.key
    assert str(tmp_path) in loaded.encoder.name
    expected, got = (m.predict(IMAGE, store=store) for m in (model, loaded))
    assert (got.name, got.probability) == (expected.name, expected.probability)


def test_model_json_names_no_folder_of_this_machine(world):
    _, folder, _ = world
    encoder = json.loads((folder / "model.json").read_text())["encoder"]
    assert encoder["name"] == "compressed:encoder"
    assert "folder" not in encoder
    assert list_files(encoder) == ["encoder/compressed.json", "encoder/network.onnx"]
    assert set(read_files(encoder, folder)) == set(list_files(encoder))


def test_views_of_it_and_combinations_come_back(world, tmp_path):
    model, folder, _ = world
    views = resolve_encoder(f"compressed:{folder / 'encoder'}@views=2")
    other = replace(model, encoder=views)
    # the parts of the model do not depend on the encoder's key
    loaded = ilk.load(other.save(tmp_path / "views"))
    assert loaded.encoder.space.key == views.space.key


def test_a_model_that_replaces_it_leaves_no_file_behind(world, tmp_path):
    _, folder, store = world
    copy = shutil.copytree(folder, tmp_path / "kinds")
    plain = ilk.fit(
        str(folder.parent / "photos"), encoders=("pixels/4x4x3",), methods=("GDA",), store=store
    )
    plain.save(copy)
    assert not list((copy / "encoder").glob("*"))
    assert ilk.load(copy).encoder.name == "pixels/4x4x3"


@pytest.mark.parametrize(
    "entries",
    [
        {"inside": "../other"},
        {"inside": "encoder", "files": ["encoder/../../x"]},
        {"inside": "encoder", "files": ["other/x"]},
        {"inside": None, "files": ["/etc/passwd"]},
    ],
)
def test_no_file_outside_the_folder_is_touched(world, tmp_path, entries):
    _, folder, _ = world
    copy = shutil.copytree(folder, tmp_path / "kinds")
    path = copy / "model.json"
    description = json.loads(path.read_text())
    description["encoder"] |= entries
    description["digest"] = compute_digest(description)
    path.write_text(json.dumps(description))
    with pytest.raises(ArtifactError, match="damaged"):
        ilk.load(copy)
    with pytest.raises(ValueError, match=r"encoder|file"):
        read_files(description["encoder"], copy)


def test_an_altered_network_is_refused(world, tmp_path):
    _, folder, _ = world
    copy = shutil.copytree(folder, tmp_path / "kinds")
    for name, content in make_network(seed=1).to_files().items():
        (copy / "encoder" / name).write_bytes(content)
    with pytest.raises(Unavailable, match="not the encoder that was fitted with"):
        ilk.load(copy)
    (copy / "encoder" / "network.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged"):
        ilk.load(copy)


def test_descriptions_without_files_stay_as_they_are():
    description = {"name": "hog", "key": "1", "parts": [{"name": "pixels", "key": "2"}]}
    assert locate_files(description, Path("kinds")) == description
    assert list_files(description) == []


def test_training_images_of_the_original_are_known(tmp_path):
    known = np.arange(64, dtype=np.uint8).reshape(2, 32)
    write_network(tmp_path / "network", trained_on=known)
    encoder = resolve_encoder(f"compressed:{tmp_path / 'network'}")
    digests = [known[0].tobytes().hex(), "ff" * 32, "ee" * 32]
    assert encoder.is_held_out(digests).tolist() == [False, True, True]
    groups = np.array([3, 3, -1])
    assert encoder.is_held_out(digests, groups).tolist() == [False, False, True]
    write_network(tmp_path / "plain")
    plain = resolve_encoder(f"compressed:{tmp_path / 'plain'}")
    assert find_trained_parts(encoder) == [encoder]
    assert find_trained_parts(plain) == []  # trained on none of the user's
