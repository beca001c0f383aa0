"""Tuning a model: what is saved, who uses it, what is refused, and that it helps."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ilk.core.digested_json import encode_digested
from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.checkpoint import training_images
from ilk.diffusion.checkpoint.model_paths import find_classifier_home, get_tuned_folder
from ilk.diffusion.classification import calibration_errors
from ilk.diffusion.classification.context import ClassificationContext
from ilk.diffusion.classification.source import IlkCheckpoint
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.errors.denoising_errors import DenoisingErrors, Measure
from ilk.diffusion.pretraining.cross_fitting import PretrainingData, pretrain_cross_fit
from ilk.diffusion.pretraining.pretrain import STATE, PretrainConfig
from ilk.diffusion.tuning import assessment, report
from ilk.diffusion.tuning.cross_fitting import split_images, tune_cross_fit
from ilk.diffusion.tuning.tune import TuningConfig, build_start, make_tuned_spec, tune
from ilk.training.trainer import Batch, CheckpointConfig, Recipe

CLASSES = ("left", "right")
PLAN = PretrainConfig(
    Recipe(steps=20, batch_size=16, lr=5e-3, warmup=2), options={"width": 8, "levels": [1]}
)
TUNING = TuningConfig(Recipe(steps=6, batch_size=8, lr=1e-3, warmup=1))


def make_data(n: int, seed: int = 0) -> PretrainingData:
    """Images slightly brighter on the left or on the right, with noise; all different."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.integers(0, 160, (n, 1, 4, 4))
    x[y == 0, :, :, :2] += 60
    x[y == 1, :, :, 2:] += 60
    digests = [hashlib.sha256(f"{seed} {i}".encode()).hexdigest() for i in range(n)]
    return PretrainingData(
        Batch(torch.tensor(x, dtype=torch.uint8), torch.tensor(y)), digests, CLASSES
    )


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A model with two fold networks, and one that held a tenth out."""
    made = {}
    for folds in (0, 2):
        made[folds] = tmp_path_factory.mktemp("model") / "model"
        pretrain_cross_fit(make_data(80), PLAN, made[folds], folds)
    return made


def copy_model(pretrained: dict[int, Path], folds: int, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pretrained[folds], tmp_path / "model"))


def read_all(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.parametrize("folds", [0, 2])
def test_the_tuned_network_classifies_and_the_other_stays_as_it_is(
    pretrained: dict[int, Path], folds: int, tmp_path: Path
):
    home = copy_model(pretrained, folds, tmp_path)
    before = read_all(home)
    made = tune_cross_fit(home, make_data(80), TUNING, drawn=6)
    assert read_all(home) == before
    tuned = get_tuned_folder(home)
    assert find_classifier_home(home) == tuned
    source = IlkCheckpoint(home, ClassificationContext(), "cpu", "float32")
    assert source.home == tuned
    assert source.training_images.folds == folds
    assert source.calibration_errors is not None
    assert len(source.calibration_errors.levels) == 4
    assert len(source.calibration_errors.y) == made.held_out
    for fold in range(-1, folds):
        assert source.load_network(fold).classes == CLASSES
    assert report.read(tuned) == made
    assert [r.levels for r in made.after.results] == [1, 2, 4, 16]
    assert made.before is not None
    assert (made.before.drawing is not None) == (folds == 2)  # 4 images are too few
    assert saved.read_spec(tuned).options["class_blocks"] == 1
    assert "class_blocks" not in saved.read_spec(home).options


@pytest.mark.parametrize("folds", [0, 2])
def test_no_network_is_calibrated_on_images_it_was_trained_or_tuned_on(
    pretrained: dict[int, Path], folds: int, tmp_path: Path
):
    home = copy_model(pretrained, folds, tmp_path)
    data, new = make_data(80), make_data(60, seed=1)
    both = PretrainingData(
        Batch(torch.cat([data.batch.x, new.batch.x]), torch.cat([data.batch.y, new.batch.y])),
        [*data.digests, *new.digests],
        CLASSES,
    )
    made = tune_cross_fit(home, both, TUNING, drawn=0)
    record, old = (training_images.load(folder) for folder in (get_tuned_folder(home), home))
    hashes = training_images.hash_images(both.batch.x.numpy())
    seen = np.isin(hashes, record.pixel_hashes)
    assert np.isin(old.pixel_hashes, record.pixel_hashes).all()
    if folds:
        assert seen.all()
        assert made.held_out == len(both.batch)  # each by the network without its fold
        fold = record.find_held_out_fold(hashes)
        assert (old.find_held_out_fold(hashes)[:80] == fold[:80]).all()
        assert set(fold.tolist()) == {0, 1}
    else:
        held_out = ~seen
        assert made.held_out == held_out.sum() >= 8
        assert not np.isin(hashes[held_out], old.pixel_hashes).any()


def test_images_of_pretraining_are_never_held_out():
    data, groups = make_data(300), np.full(300, -1)
    groups[100:104] = 7  # one of this group was pretrained on
    known = data.select(np.arange(300) < 101)
    record = training_images.TrainingImages.from_images(
        known.batch.x.numpy(), known.digests, folds=0
    )
    folds, is_tuned_on = split_images(record, replace(data, group=groups))
    assert is_tuned_on[:104].all()
    assert (folds[:100] == 0).any()  # they would be, but for the record
    assert 10 <= (~is_tuned_on[104:]).sum() <= 40


def test_a_resumed_run_is_the_uninterrupted_one(pretrained: dict[int, Path], tmp_path: Path):
    for name in ("cross-entropy", "cca", "ddo"):
        options = {"pool": 6, "sampling_steps": 2} if name == "ddo" else {}
        config = replace(TUNING, objective=name, options=options)
        data = make_data(80).batch
        whole, parts = tmp_path / f"{name}-whole", tmp_path / f"{name}-parts"
        expected = tune(pretrained[0], data, CLASSES, config, whole)
        with pytest.raises(KeyboardInterrupt):
            tune(pretrained[0], data, CLASSES, config, parts, progress=_interrupt_after(4))
        made = tune(pretrained[0], data, CLASSES, config, parts)
        for key, value in expected.state_dict().items():
            assert torch.equal(value, made.state_dict()[key]), (name, key)


def _interrupt_after(n: int):  # type: ignore[no-untyped-def]
    """Progress that interrupts the run once, after n updates."""
    from contextlib import contextmanager

    @contextmanager
    def progress(_name: str, _total: int):  # type: ignore[no-untyped-def]
        made = 0

        def advance(count: int) -> None:
            nonlocal made
            made += count
            if made >= n:
                raise KeyboardInterrupt

        yield advance

    return progress


def test_another_configuration_is_refused(pretrained: dict[int, Path], tmp_path: Path):
    data = make_data(80).batch
    tune(pretrained[0], data, CLASSES, TUNING, tmp_path / "tuned")
    with pytest.raises(InputError, match="other settings"):
        tune(pretrained[0], data, CLASSES, replace(TUNING, anchor=2.0), tmp_path / "tuned")


@pytest.mark.parametrize("folds", [0, 2])
def test_a_refused_run_leaves_the_tuned_network_and_its_record_as_they_are(
    pretrained: dict[int, Path], folds: int, tmp_path: Path
):
    """The record says which images the classifier may not be judged on."""
    home = copy_model(pretrained, folds, tmp_path)
    tune_cross_fit(home, make_data(80), TUNING, drawn=0)
    before = read_all(home / "tuned")
    with pytest.raises(InputError, match="or remove that folder to start again"):
        tune_cross_fit(home, make_data(80, seed=9), TUNING, drawn=0)
    assert read_all(home / "tuned") == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"anchor": float("inf")}, "and finite"), ({"max_shift": 4}, "leaves nothing of images of 4")],
)
def test_a_run_that_cannot_be_made_writes_nothing(
    pretrained: dict[int, Path], tmp_path: Path, change: dict[str, float], sentence: str
):
    home = copy_model(pretrained, 0, tmp_path)
    with pytest.raises(InputError, match=sentence):
        tune_cross_fit(home, make_data(80), replace(TUNING, **change), drawn=0)
    assert not (home / "tuned").exists()


def test_three_images_are_refused_before_fold_networks_are_tuned(
    pretrained: dict[int, Path], tmp_path: Path
):
    home = copy_model(pretrained, 2, tmp_path)
    with pytest.raises(InputError, match="give at least 4"):
        tune_cross_fit(home, make_data(80).select(np.arange(80) < 3), TUNING, drawn=0)
    assert not (home / "tuned").exists()


def test_a_network_tuned_from_another_one_is_refused(pretrained: dict[int, Path], tmp_path: Path):
    home = copy_model(pretrained, 0, tmp_path)
    tune_cross_fit(home, make_data(80), TUNING, drawn=0)
    for name in (saved.JSON, saved.ARRAYS, training_images.FILE):
        shutil.copy(pretrained[2] / name, home / name)
    with pytest.raises(ArtifactError, match="tuned from a different network"):
        find_classifier_home(home)


def test_an_unfinished_tuning_is_not_used(pretrained: dict[int, Path], tmp_path: Path):
    home = copy_model(pretrained, 0, tmp_path)
    tune(home, make_data(80).batch, CLASSES, TUNING, get_tuned_folder(home))
    assert find_classifier_home(home) == home


def test_a_damaged_report_is_refused(pretrained: dict[int, Path], tmp_path: Path):
    home = copy_model(pretrained, 0, tmp_path)
    tune_cross_fit(home, make_data(80), TUNING, drawn=0)
    path = get_tuned_folder(home) / "tuning.json"
    fields = json.loads(path.read_text())
    for change in ({"after": 3}, {"held_out": "many"}, {"network": "0" * 64}, {"version": 9}):
        path.write_bytes(encode_digested({**fields, **change}))
        with pytest.raises(ArtifactError):
            report.read(path.parent)


def test_nothing_to_calibrate_on_is_refused(pretrained: dict[int, Path], tmp_path: Path):
    home = copy_model(pretrained, 0, tmp_path)
    record = training_images.load(home)
    data = make_data(80)
    known = record.is_training_image(data.batch.x.numpy(), data.digests)
    with pytest.raises(InputError, match="left to calibrate"):
        tune_cross_fit(home, data.select(known), TUNING, drawn=0)
    assert not get_tuned_folder(home).exists()


def test_a_model_without_classes_learns_them(tmp_path: Path):
    data = make_data(80)
    unlabelled = PretrainingData(
        Batch(data.batch.x, torch.full_like(data.batch.y, -1)), data.digests, ()
    )
    home = tmp_path / "model"
    pretrain_cross_fit(unlabelled, PLAN, home)
    config = replace(TUNING, recipe=Recipe(steps=150, batch_size=32, lr=5e-3, warmup=5))
    made = tune_cross_fit(home, data, config, drawn=0)
    assert made.before is None
    assert saved.load(get_tuned_folder(home)).classes == CLASSES
    fresh = make_data(200, seed=7).batch
    network = saved.load(get_tuned_folder(home))
    chosen = calibration_errors.load(get_tuned_folder(home))
    assert chosen is not None
    x = fresh.x.float() / 127.5 - 1
    sigmas, noise = torch.tensor(chosen.levels.sigmas), chosen.levels.draw_noise(network)
    errors = compute_class_errors(network, x, sigmas, noise)
    assert (errors.sum(2).argmin(1) == fresh.y).double().mean() > 0.9


def test_the_start_computes_what_the_pretrained_network_does_without_a_class(
    pretrained: dict[int, Path],
):
    base = pretrained[0]
    spec = make_tuned_spec(base, make_data(80).batch, CLASSES, TUNING)
    start, network = build_start(base, spec, 0), saved.load(base)
    x, sigma = torch.randn(2, 1, 4, 4), torch.full((2,), 0.5)
    null = torch.full((2,), 2)
    with torch.no_grad():
        assert torch.allclose(start(x, sigma, null), network(x, sigma, null), atol=1e-6)


def test_shared_passes_give_the_errors_of_single_ones(pretrained: dict[int, Path]):
    base = pretrained[0]
    spec = make_tuned_spec(base, make_data(80).batch, CLASSES, TUNING)
    network = build_start(base, spec, 0).eval()
    assert network.shares_passes
    assert not saved.load(base).shares_passes
    x, sigmas = make_data(6).batch.x.float() / 127.5 - 1, torch.tensor([0.3, 1.0, 2.0])
    noise = torch.randn(3, 1, 4, 4)
    together = compute_class_errors(network, x, sigmas, noise)
    triples = DenoisingErrors(network, x, sigmas, noise, Measure(batch_size=3))
    i, c, j = torch.meshgrid(torch.arange(6), torch.arange(2), torch.arange(3), indexing="ij")
    some = triples.compute(i.flatten(), c.flatten(), j.flatten()).view(6, 2, 3)
    torch.testing.assert_close(together, some, rtol=1e-4, atol=1e-6)
    for row, label, level in ((0, 0, 0), (3, 1, 2), (5, 0, 1)):
        noisy = x[row : row + 1] + sigmas[level] * noise[level]
        with torch.no_grad():
            clean = network.denoise(noisy, sigmas[level : level + 1], torch.tensor([label]))
        error = float((clean - x[row]).square().mean())
        assert float(together[row, label, level]) == pytest.approx(error, rel=1e-4)


def test_a_perfect_classifier_needs_one_level():
    errors = torch.rand(40, 2, 4) * 0.01 + 1
    y = torch.arange(40) % 2
    errors[torch.arange(40), y] -= 0.5
    levels = assessment.Levels((0.2, 0.4, 0.8, 1.6), (1.0, 1.0, 1.0, 1.0))
    made = assessment.assess_errors(calibration_errors.CalibrationErrors(errors, y, levels))
    assert [r.levels for r in made] == [1, 2, 4]
    assert all(r.accuracy == 1 and r.log_loss < 0.01 for r in made)
    assert assessment.count_needed(made, 40) == 1
    rows = [assessment.LevelResult(m, a, 1.0) for m, a in ((1, 0.5), (2, 0.79), (4, 0.8))]
    assert assessment.count_needed(rows, 100) == 2  # within one standard error, 0.04
    assert assessment.count_needed(rows, 100_000) == 4


def test_coverage_of_points_on_a_line():
    reference = np.arange(5.0)[:, None]  # the second neighbour of an end lies 2 away, of others 1
    queries = np.array([[-2.0], [-2.1], [2.5], [5.9], [6.1]])
    assert assessment.compute_coverage(reference, queries, 2) == pytest.approx(3 / 5)
    assert assessment.compute_coverage(reference, reference, 1) == 1.0


def test_levels_lie_where_tuning_was(pretrained: dict[int, Path]):
    network = saved.load(pretrained[0])
    levels = assessment.make_levels(network, -0.5, 0.4)
    ratios = torch.tensor(levels.sigmas).log()
    assert len(levels) == 16
    assert -1.1 < float(ratios.min()) < float(ratios.max()) < 0.1
    assert TUNING.get_noise(1.0) == LogNormal(-0.45, 0.7)


def test_the_state_file_belongs_to_the_run(pretrained: dict[int, Path], tmp_path: Path):
    folder = tmp_path / "tuned"
    tune(pretrained[0], make_data(80).batch, CLASSES, TUNING, folder)
    assert {p.name for p in folder.iterdir()} >= {saved.JSON, saved.ARRAYS, STATE, "log.jsonl"}
    assert CheckpointConfig().path is None
