"""Which objective teaches a denoiser to tell classes apart, and does it help with few labels?

Fashion-MNIST, averaged down to 14 x 14; a U-Net of 0.45 million weights; test images that the other
benchmarks do not use (100 to 199 of each class by name). Everything that is compared has the same
processor time for its updates, whose number follows from the time of twelve that are timed
beforehand. What a run does before its first update is not counted in that time and stands in its
own column, `seconds before the first update`: above all DDO, which draws 1,024 images first.

Objectives: one network, pretrained class-conditionally on 10,000 images, is tuned on the same
images with each objective of `ilk tune --objective`, and trained on with the loss of pretraining.
Accuracy and log loss with 1, 2, 4 and 8 noise levels, chosen and weighted on 300 other images, as
is the temperature; Fréchet distance, precision and recall of 300 images drawn; a supervised network
of the same trunk with the processor time of one tuning. Three seeds of the tuning.

Few labels: 20 or 100 labelled images per class, and nothing else with a label. A denoiser is tuned
by cross-entropy over class errors from pretraining on 10,000 images without labels (and, with 20
labels, from pretraining on the labelled images alone, for as long as tuning), and classifies with
four levels fixed beforehand. Beside it the supervised network, with the processor time of tuning.
Noise levels, batch and learning rate of tuning were chosen among 14 variants, and the learning rate
of the supervised network among 4, on 2,000 held-out images, with 100 labels per class of another
seed (10). Six seeds of the labelled images; `gain` is the paired difference from the supervised
network.

Full size: Fashion-MNIST at 28 x 28 and CIFAR-10 (as JPEG) at 32 x 32, 2.4 million weights on
patches of 4 x 4; weights in `benchmarks/weights`, made by `benchmarks/diffusion_tuning/weights.py`.
Up to four of 16 levels, chosen and weighted on 1,000 held-out images; one seed of the noise; the
whole official test part of 10,000 images, and the 1,000 of them that the other benchmarks use, for
which the untuned and the supervised network are quoted from them. All 16 levels classify these
1,000 alone. Standard errors are binomial, of the test images. `processor time` says how much of the
time of tuning the supervised network took, from updates of both that are timed here; the
pretraining that tuning on Fashion-MNIST begins with is not counted. Fréchet distances are of 500
images drawn, averaged down to 14 x 14, and the usual 1,000 test images; CIFAR-10 was tuned from
random weights at low noise alone, so that it has no distance before and cannot draw. Finished parts
are cached, with the processor seconds that each took.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.diffusion_digits.run import sample_shots
from benchmarks.diffusion_setup import (
    accuracy,
    get_cache_dir,
    load_fashion_images,
    scale_images,
    select_machine,
)
from benchmarks.diffusion_tuning.full_size import (
    compare_supervised,
    evaluate,
    list_full_size,
)
from benchmarks.diffusion_tuning.measured_parts import MeasuredParts
from benchmarks.diffusion_tuning.official_test import load_fresh_test
from benchmarks.diffusion_tuning.update_clock import UpdateClock, time_updates
from benchmarks.runner import summarize
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.checkpoint.model_paths import BASE_KEY
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, compute_scores
from ilk.diffusion.errors.levels import Levels
from ilk.diffusion.pretraining import supervised_baseline
from ilk.diffusion.pretraining.pretrain import PretrainConfig, pretrain
from ilk.diffusion.tuning.assessment import fit_scale, make_levels, measure_drawing
from ilk.diffusion.tuning.objectives import list_tuning_objectives
from ilk.diffusion.tuning.tune import TuningConfig, tune
from ilk.training.trainer import Batch, Recipe

SEEDS, FEW_SEEDS = (0, 1, 2), tuple(range(6))
SIZE, N_TRAIN, N_VALIDATION, TEST_PER_CLASS = 14, 10_000, 300, 100
PRETRAIN_SECONDS, TUNE_SECONDS = 40.0, 10.0  # of processor time
N_LEVELS, LEVEL_COUNTS = 8, (1, 2, 4, 8)
SHOTS = (20, 100)
FEW_BATCH, FEW_RATE = 64, 8e-3  # images per update of tuning, and the learning rate of both
DRAWN = 300
OPTIONS = {"width": 48, "levels": [1], "blocks": 1, "patch": 2}
NETWORK = PretrainConfig(
    Recipe(100, 128, 4e-3, warmup=50),
    options=OPTIONS,
    noise=LogNormal(0.0, 1.0),
    random_flip=True,
    checkpoint_every=1_000_000,
)
MEASURE = Measure(batch_size=512)


class Setting:
    """Data, networks in a folder, and how much processor time they get.

    Attributes:
        clocks: Clock of each network's run, by its name.
    """

    def __init__(self, folder: Path, small: bool) -> None:
        dataset = load_fashion_images()
        self.folder, self.small, self.classes = folder, small, dataset.classes
        self.clocks: dict[str, UpdateClock] = {}
        n = 200 if small else N_TRAIN
        self.train = shrink(Batch(dataset.train.x[:n], dataset.train.y[:n]))
        rows = slice(0, 40 if small else N_VALIDATION)
        self.validation = shrink(Batch(dataset.validation.x[rows], dataset.validation.y[rows]))
        self.test = shrink(load_fresh_test("fashion", 10 if small else TEST_PER_CLASS))

    def count_steps(self, seconds: float, clock: UpdateClock) -> int:
        """Return the updates that fit into `seconds` of processor time, given a probe."""
        return 2 if self.small else max(20, round(seconds / clock.seconds))

    def pretrain(self, name: str, data: Batch, seconds: float, seed: int = 0) -> Path:
        """Pretrain for that processor time; return the folder of the network, which is kept."""
        if (self.folder / name / saved.JSON).exists():
            return self.folder / name

        def run(steps: int, folder: Path, progress: Progress) -> None:
            config = replace(NETWORK, recipe=replace(NETWORK.recipe, steps=steps, seed=seed))
            classes = self.classes if bool((data.y >= 0).any()) else ()
            pretrain(data, classes, config, folder, select_machine(), progress)

        return self._run(name, seconds, run)

    def tune(self, name: str, base: Path, data: Batch, objective: str, seed: int) -> Path:
        """Tune for `TUNE_SECONDS` of processor time; return the folder of the network."""
        recipe = Recipe(1, 128, 2e-3, warmup=20, seed=seed)
        return self._tune(name, base, data, TuningConfig(recipe, objective, random_flip=True))

    def tune_on_few(self, name: str, base: Path, data: Batch, seed: int) -> Path:
        """Tune on few labels, by cross-entropy, for as long; return the folder of the network."""
        noise = get_few_noise(saved.read_spec(base).sigma_data)
        recipe = Recipe(1, FEW_BATCH, FEW_RATE, warmup=10, seed=seed)
        config = TuningConfig(recipe, noise=noise, random_flip=True)
        return self._tune(name, base, data, config)

    def train_on(self, name: str, base: Path, data: Batch, seed: int) -> Path:
        """Train on with the loss of pretraining, which is a contrast of weight 0."""
        config = TuningConfig(
            Recipe(1, 128, 2e-3, warmup=20, seed=seed),
            "contrastive-flow-matching",
            options={"negative_weight": 0.0},
            noise=NETWORK.noise,
            random_flip=True,
        )
        return self._tune(name, base, data, config)

    def _tune(self, name: str, base: Path, data: Batch, config: TuningConfig) -> Path:
        def run(steps: int, folder: Path, progress: Progress) -> None:
            full = replace(config, recipe=replace(config.recipe, steps=steps))
            tune(base, data, self.classes, full, folder, select_machine(), progress)

        return self._run(name, TUNE_SECONDS, run)

    def fit_supervised(self, data: Batch, rate: float, seed: int) -> float:
        """Return the accuracy of the supervised network with the processor time of tuning."""

        def fit(steps: int, progress: Progress) -> supervised_baseline.SupervisedBaseline:
            recipe = replace(NETWORK.recipe, steps=steps, seed=seed, warmup=20, lr=rate)
            config = replace(NETWORK, recipe=recipe)
            machine = select_machine()
            return supervised_baseline.fit_baseline(data, self.classes, config, machine, progress)

        steps = self.count_steps(TUNE_SECONDS, time_updates(fit))
        return accuracy(fit(steps, silent_progress).logits(self.test.x), self.test.y)

    def _run(self, name: str, seconds: float, run: Callable[[int, Path, Progress], None]) -> Path:
        folder, probe = self.folder / name, self.folder / f"{name}-probe"
        for path in (folder, probe):  # of a run that was stopped
            shutil.rmtree(path, ignore_errors=True)
        steps = self.count_steps(seconds, time_updates(lambda n, p: run(n, probe, p)))
        self.clocks[name] = UpdateClock()
        run(steps, folder, self.clocks[name])
        return folder


def run(small: bool = False) -> dict[str, Any]:
    """Return the table; `small` makes two updates and tests ten images of each class."""
    torch.set_num_threads(1)
    name = "tuning-small" if small else "tuning"
    parts, weights = MeasuredParts(name), list_full_size()
    setting, seeds = Setting(get_cache_dir() / name, small), SEEDS[:1] if small else SEEDS
    full_size = {w.name: evaluate(w, parts, small) for w in weights}
    objectives = parts.compute("objectives", lambda: compare_objectives(setting, parts, seeds))
    few = compare_few_labels(setting, parts, SEEDS[:1] if small else FEW_SEEDS)
    for w in weights:
        full_size[w.name]["processor time"] = compare_supervised(w, parts)
    return {
        "weights": objectives["weights"],
        "processor seconds": {"pretraining": PRETRAIN_SECONDS, "tuning": TUNE_SECONDS},
        "objectives": objectives["rows"],
        "supervised network": objectives["supervised"],
        "few labels": few,
        "full size": full_size,
        "processor seconds of parts": parts.seconds,
    }


def compare_objectives(
    setting: Setting, parts: MeasuredParts, seeds: tuple[int, ...]
) -> dict[str, Any]:
    """Return a row for the network before tuning, for training on, and for each objective."""
    base = setting.pretrain("base", setting.train, PRETRAIN_SECONDS)
    network = saved.load(base)
    sigmas = network.sigmas
    before = parts.compute("before", lambda: assess(setting, base, sigmas))
    rows: dict[str, list[dict[str, Any]]] = {"before": [before]}

    def tune_and_assess(objective: str, seed: int) -> dict[str, Any]:
        name = f"{objective}-{seed}"
        if objective == "likelihood":
            folder = setting.train_on(name, base, setting.train, seed)
        else:
            folder = setting.tune(name, base, setting.train, objective, seed)
        return assess(setting, folder, sigmas)

    supervised = []
    for seed in seeds:
        for objective in ("likelihood", *list_tuning_objectives()):
            row = parts.compute(f"{objective}-{seed}", partial(tune_and_assess, objective, seed))
            rows.setdefault(objective, []).append(row)
        fit = partial(setting.fit_supervised, setting.train, NETWORK.recipe.lr, seed)
        supervised.append(parts.compute(f"supervised-{seed}", fit))
    return {
        "weights": sum(p.numel() for p in network.parameters()),
        "rows": [
            {"objective": name, **{key: summarize([v[key] for v in values]) for key in values[0]}}
            for name, values in rows.items()
        ],
        "supervised": summarize(supervised),
    }


def assess(setting: Setting, folder: Path, sigmas: tuple[float, float]) -> dict[str, Any]:
    """Return accuracy and log loss by number of levels, the Fréchet distance, and updates."""
    network, spec = saved.load(folder), saved.read_spec(folder)
    levels = get_levels(network, spec)
    fit, test = (
        measure_class_errors(network, part, levels) for part in (setting.validation, setting.test)
    )
    row: dict[str, Any] = {}
    for m in LEVEL_COUNTS:
        chosen = Levels.learn(fit, setting.validation.y, levels, max_levels=m)
        columns, weights = chosen.find_indices(levels), torch.tensor(chosen.weights)
        scores = [compute_scores(e[:, :, columns], weights) for e in (fit, test)]
        scale = fit_scale(scores[0], setting.validation.y)
        log_p = (scale * scores[1].double()).log_softmax(1)
        row[f"accuracy, {m} levels"] = accuracy(scores[1], setting.test.y)
        row[f"log loss, {m} levels"] = -float(
            log_p.gather(1, setting.test.y[:, None]).double().mean()
        )
    drawn = 20 if setting.small else DRAWN
    drawing = measure_drawing(network, setting.test, drawn, "cpu", sigmas)
    assert drawing is not None, "enough images"
    row["Fréchet distance"] = drawing.frechet_distance
    row |= {"precision": drawing.precision, "recall": drawing.recall}
    row["updates"] = spec.metadata["config"]["recipe"]["steps"]
    if folder.name in setting.clocks:
        row["seconds before the first update"] = setting.clocks[folder.name].setup_seconds
    return row


def get_levels(network: Denoiser, spec: saved.DenoiserSpec) -> Levels:
    """Return the levels among which a network's are chosen: those of its tuning or its range."""
    if BASE_KEY not in spec.metadata or spec.metadata["config"]["noise"] is not None:
        return Levels.log_spaced(network, N_LEVELS)
    objective = spec.metadata["config"]["objective"]
    noise = TuningConfig(Recipe(1), objective).get_noise(network.sigma_data)
    return make_levels(network, noise.mean, noise.std).take(range(0, 16, 16 // N_LEVELS))


def measure_class_errors(network: Denoiser, part: Batch, levels: Levels) -> Tensor:
    """Return the errors `[n, k, levels]` of images, with the noise of seed 0."""
    sigmas, noise = torch.tensor(levels.sigmas), levels.draw_noise(network)
    return compute_class_errors(network, scale_images(part), sigmas, noise, MEASURE)


def compare_few_labels(
    setting: Setting, parts: MeasuredParts, seeds: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Return a row for each number of labels per class."""
    unlabelled = Batch(setting.train.x, torch.full_like(setting.train.y, -1))
    base = setting.pretrain("unlabelled", unlabelled, PRETRAIN_SECONDS)
    rows = []
    for shots in SHOTS[:1] if setting.small else SHOTS:
        values: dict[str, list[float]] = {}
        for seed in seeds:
            data, name = sample_shots(setting.train, shots, seed), f"{shots}-{seed}"

            def tune_from(start: Path, data: Batch = data, seed: int = seed) -> float:
                network = f"few-{start.name}-{len(data)}-{seed}"
                folder = setting.tune_on_few(network, start, data, seed)
                return classify_with_four(setting, folder)

            arms = {"tuned, pretrained without labels": partial(tune_from, base)}
            if shots == min(SHOTS):
                own = setting.pretrain(f"own-{name}", data, TUNE_SECONDS, seed)
                arms["tuned, pretrained on these images"] = partial(tune_from, own)
            arms["supervised"] = partial(setting.fit_supervised, data, FEW_RATE, seed)
            for arm, compute in arms.items():
                values.setdefault(arm, []).append(parts.compute(f"{name}, {arm}", compute))
        base_arm = values["supervised"]
        gains = {
            f"{arm}, gain": summarize([a - b for a, b in zip(v, base_arm, strict=True)])
            for arm, v in values.items()
            if v is not base_arm
        }
        accuracies = {arm: summarize(v) for arm, v in values.items()}
        rows.append({"labels per class": shots, **accuracies, **gains})
    return rows


def classify_with_four(setting: Setting, folder: Path) -> float:
    """Return the accuracy with four levels that no label chose: quartiles' midpoints of tuning."""
    network = saved.load(folder)
    noise = get_few_noise(network.sigma_data)
    quantiles = torch.tensor([0.125, 0.375, 0.625, 0.875])
    z = 2**0.5 * torch.erfinv(2 * quantiles - 1)
    sigmas = (noise.mean + noise.std * z).exp()
    weights = network.compute_loss_weight(sigmas)
    levels = Levels(tuple(sigmas.tolist()), tuple((weights / weights.mean()).tolist()))
    errors = measure_class_errors(network, setting.test, levels)
    return accuracy(compute_scores(errors, torch.tensor(levels.weights)), setting.test.y)


def get_few_noise(sigma_data: float) -> LogNormal:
    """Return the noise levels of tuning on few labels."""
    return LogNormal(math.log(sigma_data) - 1.5, 0.5)


def shrink(batch: Batch) -> Batch:
    """Average images over areas down to 14 x 14, rounded to 8 bits."""
    x = torch.nn.functional.adaptive_avg_pool2d(batch.x.float(), SIZE)
    return Batch(x.round().to(torch.uint8), batch.y)
