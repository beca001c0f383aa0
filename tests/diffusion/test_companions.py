"""Files beside a diffusion model belong to its network, and are refused beside another."""

import json
import shutil

import numpy as np
import pytest
import torch

from ilk.core.digested_json import compute_digest
from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.checkpoint import checkpoint as folder
from ilk.diffusion.checkpoint import training_images
from ilk.diffusion.classification import nearest_mean_head
from ilk.diffusion.classification.nearest_mean_head import NearestMeanHead
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.training import checkpoint

SPEC = folder.DenoiserSpec(
    (1, 8, 8), ("cat", "dog"), 0.5, (0.02, 30.0), options={"width": 8, "levels": [1]}
)
WRONG = (
    ("shape", [1, 8]),
    ("shape", [0, 8, 8]),
    ("shape", "1x8x8"),
    ("classes", ["cat", 7]),
    ("classes", ["cat", "cat"]),
    ("sigma_data", -1),
    ("sigma_data", None),
    ("sigmas", [30.0, 0.02]),
    ("sigmas", [0.02, "high"]),
    ("network", "transformer"),
    ("network", {}),
    ("options", {"width": "8"}),
    ("options", {"width": 10**9}),
    ("options", {"patch": 0}),
    ("options", {"levels": [-1e308]}),
    ("arrays", 7),
    ("metadata", []),
)


def save(home, seed):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    home.mkdir()
    images = rng.integers(0, 255, (4, 1, 8, 8), np.uint8)
    training_images.TrainingImages.from_images(images, [f"{i:064x}" for i in range(4)], 2).save(
        home
    )
    folder.save(SPEC.build(), SPEC, home)
    head = NearestMeanHead(FeaturePoint(1, 0.5), torch.zeros(3), torch.ones(3), torch.rand(2, 3))
    head.save(home)
    return home


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [save(root / name, seed) for seed, name in enumerate(("one", "two"))]


@pytest.mark.parametrize(("entry", "value"), WRONG)
def test_a_wrong_entry_is_a_sentence(homes, tmp_path, entry, value):
    home = shutil.copytree(homes[0], tmp_path / "home")
    fields = json.loads((home / folder.JSON).read_text()) | {entry: value}
    fields["digest"] = compute_digest(fields)
    (home / folder.JSON).write_text(json.dumps(fields))
    with pytest.raises(ArtifactError) as caught:
        folder.load(home)
    assert "\n" not in str(caught.value)


def test_the_record_of_training_images_cannot_be_exchanged_or_lost(homes, tmp_path):
    home = shutil.copytree(homes[0], tmp_path / "home")
    assert training_images.load(home).folds == 2
    shutil.copy(homes[1] / training_images.FILE, home)
    with pytest.raises(ArtifactError, match="another model"):
        training_images.load(home)
    (home / training_images.FILE).unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        training_images.load(home)


def test_a_head_of_another_network_is_refused(homes, tmp_path):
    home = shutil.copytree(homes[0], tmp_path / "home")
    nearest_mean_head.load(home)
    shutil.copy(homes[1] / nearest_mean_head.FILE, home)
    with pytest.raises(ArtifactError, match="a different network"):
        nearest_mean_head.load(home)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(homes, tmp_path, value):
    home = shutil.copytree(homes[0], tmp_path / "home")
    arrays, metadata = checkpoint.load(home / folder.ARRAYS)
    del metadata[checkpoint.DIGEST_KEY]
    name = next(key for key in arrays if key.endswith("weight"))
    arrays[name].view(-1)[0] = value
    write, digest = checkpoint.prepare_arrays(arrays, metadata)
    write(home / folder.ARRAYS)
    fields = json.loads((home / folder.JSON).read_text()) | {"arrays": digest}
    fields["digest"] = compute_digest(fields)
    (home / folder.JSON).write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match="not finite"):
        folder.load(home)


def test_another_plan_leaves_the_record_of_the_model_as_it_is(homes, tmp_path):
    from ilk.diffusion.pretraining.cross_fitting import PretrainingData, pretrain_cross_fit
    from ilk.diffusion.pretraining.pretrain import PretrainConfig
    from ilk.training.trainer import Batch, Recipe

    home = shutil.copytree(homes[0], tmp_path / "home")
    before = (home / training_images.FILE).read_bytes()
    x = torch.from_numpy(np.random.default_rng(9).integers(0, 255, (24, 1, 8, 8), np.uint8))
    batch, digests = Batch(x, torch.arange(24) % 2), [f"{i:064x}" for i in range(24)]
    config = PretrainConfig(Recipe(1, 4, 1e-3), options={"width": 8, "levels": [1]})
    with pytest.raises(InputError, match="other settings"):
        pretrain_cross_fit(PretrainingData(batch, digests, ("cat", "dog")), config, home, 0)
    assert (home / training_images.FILE).read_bytes() == before


def test_other_groups_or_files_leave_a_model_as_it_is(tmp_path, monkeypatch):
    from ilk.diffusion.pretraining import cross_fitting
    from ilk.diffusion.pretraining.pretrain import PretrainConfig
    from ilk.training.trainer import Batch, Recipe

    monkeypatch.setattr(cross_fitting, "save_search_and_errors", lambda *_a, **_k: None)
    x = torch.from_numpy(np.random.default_rng(9).integers(0, 255, (24, 1, 8, 8), np.uint8))
    config = PretrainConfig(Recipe(1, 4, 1e-3), options={"width": 8, "levels": [1]})
    home = tmp_path / "home"

    def run(group=None, files=0):
        batch = Batch(x, torch.arange(24) % 2)
        digests = [f"{files + i:064x}" for i in range(24)]
        data = cross_fitting.PretrainingData(batch, digests, ("cat", "dog"), group)
        cross_fitting.pretrain_cross_fit(data, config, home, 2)

    def read():
        return {p: p.read_bytes() for p in home.rglob("*") if p.is_file() and p.suffix != ".lock"}

    run(np.arange(24) // 3)
    before = read()
    for group in (None, np.arange(24) // 4):
        with pytest.raises(InputError, match="labels or groups"):
            run(group)
        assert read() == before
    run(np.arange(24) // 3, files=500)  # the same pixels in other files
    assert read() == before
    shutil.rmtree(home / "without-0")  # as if killed before
    shutil.rmtree(home / "without-1")
    with pytest.raises(InputError, match="labels or groups"):
        run()
    (home / training_images.FILE).unlink()
    run(np.arange(24) // 3)
    assert training_images.load(home).folds == 2
    assert read().keys() == before.keys()
