"""Two coloured digits: diffusion classifiers against two towers, on real and generated images."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.diffusion_self.captions import (
    GROUNDS,
    SIZE,
    TASKS,
    Captions,
    Judge,
    make_images,
)
from benchmarks.diffusion_self.two_towers import TwoTowers, compute_contrastive_loss
from benchmarks.diffusion_setup import load_digit_images, scale_images
from benchmarks.runner import summarize
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.errors.class_errors import Measure
from ilk.diffusion.generation.caption_bench import draw_captions, evaluate_captions
from ilk.diffusion.generation.sample import Sampler
from ilk.diffusion.generation.weighting_accuracy import SelfBenchConfig
from ilk.diffusion.networks.embedding import AttributeEmbedding
from ilk.diffusion.networks.unet import UNet
from ilk.diffusion.pretraining.objective import DenoisingLoss, compute_pixel_std, normalize_batch
from ilk.training.trainer import Batch, DeviceConfig, Recipe, augment_objective, train

NOISE = LogNormal(0.0, 1.2)
MACHINE = DeviceConfig("cpu", "bfloat16")
WEIGHTINGS = ("uniform", "exp(-7t)", "learned")
N_TIMED = 12  # updates that are timed to give two networks the same processor time
TOWERS = "two towers, dark"


@dataclass(frozen=True)
class Sizes:
    """Updates of a denoiser, training images, real test images, images that each network draws."""

    steps: int = 1_000
    train: int = 4_000
    test: int = 200
    draw: int = 100


def build_denoiser(captions: Captions, data: Batch, seed: int) -> Denoiser:
    """Return a small U-Net that is conditioned on captions, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(3, SIZE, len(captions.table), width=48, levels=(1,), patch=4)
        width = cast(int, network.embedding.class_embed.embedding_dim)
        table = torch.from_numpy(captions.table)
        network.embedding.class_embed = AttributeEmbedding(table, width)
        std = compute_pixel_std(data.x)
        return Denoiser(network, (3, SIZE, SIZE), captions.names, std, NOISE.sigmas)


def train_for(
    network: nn.Module, loss: Any, data: Batch, steps: int, seed: int
) -> tuple[nn.Module, float]:
    """Train a network; return it and the processor seconds."""
    objective = augment_objective(loss, normalize_batch)
    recipe = Recipe(steps, 64, 4e-3, warmup=min(50, steps // 4), seed=seed)
    start = time.process_time()
    trained = train(network, data, objective, recipe, MACHINE)
    return trained, time.process_time() - start


def train_denoiser(
    captions: Captions, data: Batch, steps: int, seed: int
) -> tuple[Denoiser, float]:
    """Pretrain a denoiser; return it and the processor seconds."""
    denoiser = build_denoiser(captions, data, seed)
    trained, seconds = train_for(denoiser, DenoisingLoss(denoiser, NOISE), data, steps, seed)
    assert isinstance(trained, Denoiser)
    return trained, seconds


def train_towers(
    captions: Captions, data: Batch, seconds: float, seed: int
) -> tuple[TwoTowers, float, int]:
    """Train two towers for about `seconds` of processor time; return also time and updates."""

    def make() -> TwoTowers:
        return TwoTowers(build_denoiser(captions, data, seed))

    timed = train_for(make(), compute_contrastive_loss, data, N_TIMED, seed)[1]
    steps = max(N_TIMED, round(seconds / timed * N_TIMED))
    trained, used = train_for(make(), compute_contrastive_loss, data, steps, seed)
    assert isinstance(trained, TwoTowers)
    return trained, used, steps


def evaluate_seed(seed: int, sizes: Sizes) -> dict[str, Any]:
    """Return accuracies by classifier and task: on real images, on own and the other's images."""
    torch.set_num_threads(1)
    digits, captions = load_digit_images(seed), Captions.make()
    config = SelfBenchConfig(seed=seed, measure=Measure(batch_size=512, precision="bfloat16"))
    config = replace(config, sampler=Sampler(seed=seed))
    denoisers, cost, sets, generated, judged = {}, {}, {}, {}, {}
    for ground in GROUNDS:
        data = make_images(digits.train, captions, sizes.train, seed, ground)
        denoiser, cost[ground] = train_denoiser(captions, data, sizes.steps, seed)
        denoisers[f"diffusion, {ground}"] = denoiser
        if ground == "dark":
            towers, cost[TOWERS], updates = train_towers(captions, data, cost[ground], seed)
        judge = Judge(digits.train, captions, ground)
        test = make_images(digits.test, captions, sizes.test, seed + 1000, ground)
        x = scale_images(test)
        sets[f"real, {ground}"], judged[ground] = (x, test.y), _mean(judge(x, test.y))
        wanted = make_images(digits.test, captions, sizes.draw, seed + 2000, ground).y
        x, shows = draw_captions(denoiser, wanted, judge, config)
        sets[f"drawn, {ground}"], generated[ground] = (x[shows], wanted[shows]), _mean(shows)
    accuracy, levels, counts = {}, {}, {}
    for name, (x, true) in sets.items():
        is_test = torch.arange(len(x)) % 2 == 0
        counts[name] = int(is_test.sum())
        if len(x) < 4:
            continue
        wrong = captions.make_wrong(true.numpy(), seed)
        for label, denoiser in denoisers.items():
            result = evaluate_captions(denoiser, x, true, wrong, is_test, config)
            levels[f"{label} | {name}"] = {t: result[t]["one level alone"] for t in TASKS}
            for rule in WEIGHTINGS:
                accuracy[f"{label}, {rule} | {name}"] = {
                    t: result[t]["accuracy"][rule]["value"] for t in TASKS
                }
        held = x[is_test]
        own = towers.compare(held, true[is_test])
        accuracy[f"{TOWERS} | {name}"] = {
            t: _mean(own > towers.compare(held, wrong[t][is_test])) for t in TASKS
        }
    return {
        "accuracy": accuracy,
        "levels": levels,
        "generated": generated,
        "judge on real images": judged,
        "tested images": counts,
        "processor seconds": cost,
        "updates": {**dict.fromkeys(GROUNDS, sizes.steps), TOWERS: updates},
        "weights": {
            "diffusion": sum(p.numel() for p in denoiser.parameters()),
            TOWERS: sum(p.numel() for p in towers.parameters()),
        },
    }


def _mean(hits: Tensor) -> float:
    return float(hits.double().mean())


def summarize_seeds(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over seeds, one row per classifier and set of images."""
    keys = [k for k in seeds[0]["accuracy"] if all(k in seed["accuracy"] for seed in seeds)]
    table = []
    for key in keys:
        classifier, _, images = key.partition(" | ")
        tasks = {t: summarize([seed["accuracy"][key][t] for seed in seeds]) for t in TASKS}
        table.append({"classifier": classifier, "images": images, **tasks})

    def over_seeds(field: str) -> dict[str, Any]:
        return {n: summarize([float(seed[field][n]) for seed in seeds]) for n in seeds[0][field]}

    return {
        "accuracy, guessing is 0.5": table,
        "generated images that show their caption": over_seeds("generated"),
        "judge on real images": over_seeds("judge on real images"),
        "tested images": over_seeds("tested images"),
        "processor seconds of training": over_seeds("processor seconds"),
        "updates": over_seeds("updates"),
        "weights": seeds[0]["weights"],
    }


def plot_levels(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plot of single levels on real images of the own style, by task."""
    series = {}
    for task in TASKS:
        runs = [seed["levels"]["diffusion, dark | real, dark"][task] for seed in seeds]
        series[task] = [
            [row[0]["sigma"], sum(r["accuracy"] for r in row) / len(row)]
            for row in zip(*runs, strict=True)
        ]
    return {
        "file": "diffusion_self-levels.svg",
        "kind": "lines",
        "title": "Two coloured digits: single noise levels by task",
        "x": "sigma",
        "y": "accuracy, guessing is 0.5",
        "series": series,
        "log_x": True,
    }
