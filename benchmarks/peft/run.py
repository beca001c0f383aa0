"""What do wrappers of few parameters cost, and what are they worth beside full tuning?

A vision transformer (4 blocks, 64 wide, 16 tokens) is pretrained once on trousers, dresses,
sandals, shirts and bags of Fashion-MNIST. It is tuned with 20 images per class on the five other
classes (near) and on ten letters of notMNIST (far): 80 updates of 32 images by AdamW, the head with
0.01 or, alone, its own choice, the rest with the best of three learning rates on 1,000 validation
images, for each way to tune and both tasks on seed 100. Five seeds (0 to 4) draw images and heads;
1,000 test images. Nothing was chosen on them.

Adapters, prefix and MAM have 4,096 or 4,112 parameters beside the head, LoRA at attention 4,608.
SVFit has 48 singular values a layer, a sixteenth of the parameters of LoRA of rank 4; "(IA)^3 at
all outputs" is the same idea without a decomposition. "Sum of blocks" learns a weighted mean of
the outputs of the early blocks, which SHERL combines by a network; "mean of blocks" trains the
head alone. Saved memory is what PyTorch keeps of a batch of 64 images for the backward pass,
parameters excepted; times of a step are medians on one thread, all ways in turn, relative to full.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import torch

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.diffusion_setup import get_cache_dir
from benchmarks.peft import arms
from benchmarks.peft.arms import ARMS, Arm
from benchmarks.tiny_vit import STEPS, Images, measure_accuracy, pretrain, read_images
from ilk.architectures.tiny_vit import TinyViT
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import Unavailable

SEEDS, TUNING_SEED, PER_CLASS, N_JUDGED, N_TIMED = range(5), 100, 20, 1000, 64
PRETRAINED = ("fashion", (1, 3, 5, 6, 8))
TASKS = {"near": ("fashion", (0, 2, 4, 7, 9)), "far": ("notmnist", tuple(range(10)))}
SETTINGS = {"near": "Fashion-MNIST, other classes", "far": "notMNIST"}
WRAPPERS = "peft/wrappers/"
COMPARISONS = (  # entry, file, method, and what it is compared with
    (
        "unified-petl-view",
        "mam.py",
        arms.MAM,
        (arms.FULL, arms.ADAPTER, arms.PARALLEL, arms.PREFIX, arms.LORA_ATTENTION, arms.HEAD),
    ),
    (
        "unified-petl-view",
        "parallel_adapter.py",
        arms.PARALLEL,
        (arms.ADAPTER, arms.PARALLEL_ATTENTION),
    ),
    (
        "svfit",
        "svfit.py",
        arms.SVFIT,
        (arms.LORA, arms.LORA_1, *arms.VECTORS, arms.RANDOM, arms.BOTTOM, arms.HEAD),
    ),
    (
        "sherl-memory-efficient",
        "sherl.py",
        arms.SHERL,
        (arms.LORA, arms.ADAPTER, arms.LAST, arms.SUM, arms.MEAN, arms.SHERL_PLAIN, arms.HEAD),
    ),
    ("sherl-memory-efficient", "sherl.py", arms.SHERL_LAST, (arms.SUM_LAST, arms.LAST)),
)
MEMORY_RIVALS = (arms.LORA, arms.ADAPTER, arms.LAST, arms.SUM)
ACCURACY, MEMORY, TIME = "test accuracy", "saved memory, MB", "time of a step, relative to full"


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of accuracy, memory and time; `small` has few images and updates."""
    try:
        for dataset in ("fashion", "notmnist"):
            read_images(dataset)
    except Unavailable as error:
        return {"tables": [], "verdict": [], "left out": [str(error)]}
    pretrained = pretrain(*PRETRAINED, 0, steps=2 if small else STEPS)
    rates = choose_rates(pretrained, small)
    seeds = range(2) if small else SEEDS
    tables, costs = [], measure_costs(pretrained, small, len(seeds))
    for task, setting in SETTINGS.items():
        results = [measure_seed(pretrained, task, seed, rates[task], small) for seed in seeds]
        scores = {arm.name: [r[arm.name] for r in results] for arm in ARMS}
        claims = [
            Claim(entry, WRAPPERS + file, method, rival)
            for entry, file, method, rivals in COMPARISONS
            for rival in rivals
        ]
        tables.append(make_table(setting, ACCURACY, scores, claims))
    rivals = [
        Claim("sherl-memory-efficient", f"{WRAPPERS}sherl.py", arms.SHERL, rival)
        for rival in MEMORY_RIVALS
    ]
    for metric in (MEMORY, TIME):
        scores = {name: cost[metric] for name, cost in costs.items()}
        tables.append(make_table("batches of 64 images", metric, scores, rivals, "lower"))
    methods = {
        arm.name: {
            "parameters beside the head": costs[arm.name]["parameters"],
            "difference at the start": costs[arm.name]["difference"],
            **{f"learning rate, {task}": rates[task][arm.name] for task in TASKS},
        }
        for arm in ARMS
    }
    verdict = describe_claims(tables, ("setting", "metric"))
    return {"tables": tables, "methods": methods, "verdict": verdict, "left out": []}


def choose_rates(pretrained: TinyViT, small: bool) -> dict[str, dict[str, float]]:
    """Return the best learning rate on validation images by task and way to tune."""
    chosen: dict[str, dict[str, float]] = {}
    for task in TASKS:
        known = _load(f"rates-{task}-{small}")
        few, rest = draw_images(task, TUNING_SEED, small)
        for arm in ARMS:
            if arm.name not in known:
                scores = [
                    _tune_and_judge(arm, pretrained, few, rest, rate, TUNING_SEED, small)
                    for rate in arm.rates
                ]
                known[arm.name] = arm.rates[int(np.argmax(scores))]
                _save(f"rates-{task}-{small}", known)
        chosen[task] = known
    return chosen


def measure_seed(
    pretrained: TinyViT, task: str, seed: int, rates: dict[str, float], small: bool
) -> dict[str, float]:
    """Return the test accuracy of every way to tune for one seed."""
    few, _ = draw_images(task, seed, small)
    dataset, classes = TASKS[task]
    test = read_images(dataset, "test").keep_classes(classes)
    judged = test.pick(np.random.default_rng(0).permutation(len(test))[: 50 if small else N_JUDGED])
    scores = _load(f"accuracy-{task}-{seed}-{small}")
    for arm in ARMS:
        if arm.name not in scores:
            rate = rates[arm.name]
            scores[arm.name] = _tune_and_judge(arm, pretrained, few, judged, rate, seed, small)
            _save(f"accuracy-{task}-{seed}-{small}", scores)
    return scores


def draw_images(task: str, seed: int, small: bool) -> tuple[Images, Images]:
    """Return training and validation images of a task, from the training part of its data set."""
    dataset, classes = TASKS[task]
    pool, rng = read_images(dataset).keep_classes(classes), np.random.default_rng(seed)
    few, rest = pool.draw(2 if small else PER_CLASS, rng)
    return few, rest.pick(rng.permutation(len(rest))[: 50 if small else N_JUDGED])


def _tune_and_judge(
    arm: Arm,
    pretrained: TinyViT,
    few: Images,
    judged: Images,
    rate: float,
    seed: int,
    small: bool,
) -> float:
    """Return the accuracy on `judged` after tuning on `few`."""
    classes = int(few.y.max()) + 1
    network = arm.prepare(copy.deepcopy(pretrained), classes, seed)
    tuned = arms.tune(network, few, rate, seed, 2 if small else arms.STEPS)
    return measure_accuracy(tuned, judged)


def measure_costs(pretrained: TinyViT, small: bool, n_seeds: int) -> dict[str, dict[str, Any]]:
    """Return memory, relative times, numbers of parameters and how far the start is by way."""
    dataset, classes = TASKS["near"]
    images = read_images(dataset).keep_classes(classes)
    images = images.pick(np.arange(N_TIMED))
    networks = {arm.name: arm.prepare(copy.deepcopy(pretrained), 5, 0) for arm in ARMS}
    times = [arms.measure_step_times(networks, images, 1 if small else 5) for _ in range(n_seeds)]
    full = [run[list(networks).index(arms.FULL)] for run in times]
    with torch.no_grad():
        expected = pretrained.forward_features(images.x)
        starts = {name: network.forward_features(images.x) for name, network in networks.items()}
    return {
        name: {
            MEMORY: [arms.measure_saved_bytes(network, images) / 1e6] * n_seeds,
            TIME: [run[i] / whole for run, whole in zip(times, full, strict=True)],
            "parameters": arms.count_trained(network),
            "difference": float((starts[name] - expected).abs().max()),
        }
        for i, (name, network) in enumerate(networks.items())
    }


def _load(name: str) -> dict[str, float]:
    """Return what an earlier run that was stopped had measured."""
    path = get_cache_dir() / "peft" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _save(name: str, values: dict[str, float]) -> None:
    path = get_cache_dir() / "peft" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(values).encode())
