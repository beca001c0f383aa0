"""What do wrappers with few parameters cost, and what are they worth compared with full tuning?

A vision transformer (4 blocks, 64 wide, 16 tokens) is pretrained once on trousers, dresses,
sandals, shirts and bags of Fashion-MNIST. It is tuned with 20 images per class on the five other
classes (near) and on ten letters of notMNIST (far): 80 updates of 32 images by AdamW. Learning
rates are chosen on 1,000 validation images of seed 100 for each way to tune and both tasks, the
best of three; where the highest is best, the next one (3 times as high) is tried as well. The head
has the one that is best for it alone. Five seeds (0 to 4) draw images and heads; 1,000 test images.
Nothing was chosen on them.

Adapters, prefix and MAM have 4,096 or 4,112 parameters beside the head, LoRA at attention 4,608.
SVFit has 48 singular values a layer, a sixteenth of the parameters of LoRA of rank 4; "IA3 at all
outputs" is the same idea without a decomposition. "Sum of blocks" learns a weighted mean of the
outputs of the early blocks, which SHERL combines by a network; "mean of blocks" trains the head
alone. The redundancy R of SHERL cancels where only two blocks come before the last early one, so
it is judged in a network of 6 blocks. Saved memory is what PyTorch keeps of a batch of 64 images
for the backward pass, parameters excepted; times of a step are medians on one thread, all ways in
turn, relative to full (with 6 blocks, to LoRA).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.diffusion_setup import get_cache_dir
from benchmarks.peft import arms
from benchmarks.peft.arms import Arm
from benchmarks.tiny_vit import STEPS, Images, measure_accuracy, pretrain, read_images
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.core.atomic_write import write_atomically
from ilk.core.errors import Unavailable

SEEDS, TUNING_SEED, PER_CLASS, N_JUDGED, N_TIMED = range(5), 100, 20, 1000, 64
PRETRAINED = ("fashion", (1, 3, 5, 6, 8))
FACTOR, MOST_RATES = 3.0, 5  # from a learning rate to the next one, and how many are tried
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
        (arms.LORA, arms.ADAPTER, arms.LAST, arms.SUM, arms.MEAN, arms.HEAD),
    ),
    ("sherl-memory-efficient", "sherl.py", arms.SHERL_LAST, (arms.SUM_LAST, arms.LAST)),
)
DEEP_COMPARISONS = (
    (
        "sherl-memory-efficient",
        "sherl.py",
        arms.SHERL,
        (arms.SHERL_PLAIN, arms.LORA, arms.SUM, arms.HEAD),
    ),
)
MEMORY_RIVALS = (arms.LORA, arms.ADAPTER, arms.LAST, arms.SUM)
ACCURACY, MEMORY, TIME = "test accuracy", "saved memory, MB", "relative time of a step"


@dataclass(frozen=True)
class Study:
    """A pretrained network and the ways to tune it that are compared.

    Attributes:
        depth: Blocks of the network.
        ways: The ways to tune.
        comparisons: Entry, file, method and rivals of each comparison of accuracy.
    """

    depth: int
    ways: Sequence[Arm]
    comparisons: Sequence[tuple[str, str, str, tuple[str, ...]]]


STUDIES = (Study(4, arms.ARMS, COMPARISONS), Study(6, arms.DEEP_ARMS, DEEP_COMPARISONS))


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of accuracy, memory and time; `small` has few images and updates."""
    try:
        for dataset in ("fashion", "notmnist"):
            read_images(dataset)
    except Unavailable as error:
        return {"tables": [], "verdict": [], "left out": [str(error)]}
    tables, methods = [], {}
    for study in STUDIES:
        label = f"{study.depth} blocks"
        config = TinyViTConfig(depth=study.depth)
        pretrained = pretrain(*PRETRAINED, 0, steps=2 if small else STEPS, config=config)
        tables_of_study, methods[label] = run_study(study, pretrained, label, small)
        tables += tables_of_study
    verdict = describe_claims(tables, ("setting", "metric"))
    return {"tables": tables, **methods, "verdict": verdict, "left out": []}


def run_study(
    study: Study, pretrained: TinyViT, label: str, small: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the tables of one network, and what else is known of each way to tune it."""
    seeds = range(2) if small else SEEDS
    costs = measure_costs(study, pretrained, small, len(seeds))
    rates: dict[str, dict[str, float]] = {}
    tables = []
    for task, setting in SETTINGS.items():
        runs = Runs(study.depth, task, small)
        rates[task] = {arm.name: runs.choose_rate(arm, pretrained) for arm in study.ways}
        scores = {
            arm.name: [runs.test(arm, pretrained, rates[task][arm.name], s) for s in seeds]
            for arm in study.ways
        }
        claims = [
            Claim(entry, WRAPPERS + file, method, rival)
            for entry, file, method, rivals in study.comparisons
            for rival in rivals
        ]
        tables.append(make_table(f"{setting}, {label}", ACCURACY, scores, claims))
    rivals = [
        Claim("sherl-memory-efficient", f"{WRAPPERS}sherl.py", arms.SHERL, rival)
        for rival in MEMORY_RIVALS
        if rival in costs
    ]
    for metric in (MEMORY, TIME):
        scores = {name: cost[metric] for name, cost in costs.items()}
        tables.append(make_table(f"batches of 64 images, {label}", metric, scores, rivals, "lower"))
    methods = {
        name: {
            "parameters beside the head": cost["parameters"],
            "difference at the start": cost["difference"],
            **{f"learning rate, {task}": rates[task][name] for task in TASKS},
        }
        for name, cost in costs.items()
    }
    return tables, methods


class Runs:
    """Runs of one network on one task, remembered in a file, so that a stopped benchmark resumes.

    Args:
        depth: Blocks of the network.
        task: A key of `TASKS`.
        small: Few images and updates.
    """

    def __init__(self, depth: int, task: str, small: bool) -> None:
        self.task, self.small, self.head_rate = task, small, math.nan
        self.path = get_cache_dir() / "peft" / f"runs-{task}-{depth}{'-small' * small}.json"
        self.known: dict[str, float] = (
            json.loads(self.path.read_text()) if self.path.exists() else {}
        )

    def choose_rate(self, arm: Arm, pretrained: TinyViT) -> float:
        """Return the learning rate that is best on validation images.

        That of the head alone, which comes first, is that of the head everywhere.
        """
        few, judged = draw_images(self.task, TUNING_SEED, self.small)
        rates = list(arm.rates)
        while True:
            scores = [self._run(arm, pretrained, few, judged, r, TUNING_SEED) for r in rates]
            best = int(np.argmax(scores))
            if best < len(rates) - 1 or len(rates) == MOST_RATES:
                self.head_rate = rates[best] if arm.name == arms.HEAD else self.head_rate
                return rates[best]
            rates.append(float(f"{rates[-1] * FACTOR:.0e}"))

    def test(self, arm: Arm, pretrained: TinyViT, rate: float, seed: int) -> float:
        """Return the accuracy on test images of one seed."""
        few, _ = draw_images(self.task, seed, self.small)
        dataset, classes = TASKS[self.task]
        test = read_images(dataset, "test").keep_classes(classes)
        rows = np.random.default_rng(0).permutation(len(test))
        return self._run(
            arm, pretrained, few, test.pick(rows[: 50 if self.small else N_JUDGED]), rate, seed
        )

    def _run(
        self, arm: Arm, pretrained: TinyViT, few: Images, judged: Images, rate: float, seed: int
    ) -> float:
        """Return the accuracy on `judged` after tuning on `few`."""
        head_rate = self.head_rate if arm.trains_more_than_the_head else rate
        key = f"{arm.name}, {rate:g}, head {head_rate:g}, seed {seed}"
        if key not in self.known:
            classes = int(few.y.max()) + 1
            network = arm.prepare(copy.deepcopy(pretrained), classes, seed)
            steps = 2 if self.small else arms.STEPS
            tuned = arms.tune(network, few, rate, head_rate, seed, steps)
            self.known[key] = measure_accuracy(tuned, judged)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(self.known).encode())
        return self.known[key]


def draw_images(task: str, seed: int, small: bool) -> tuple[Images, Images]:
    """Return training and validation images of a task, from the training part of its data set."""
    dataset, classes = TASKS[task]
    pool, rng = read_images(dataset).keep_classes(classes), np.random.default_rng(seed)
    few, rest = pool.draw(2 if small else PER_CLASS, rng)
    return few, rest.pick(rng.permutation(len(rest))[: 50 if small else N_JUDGED])


def measure_costs(
    study: Study, pretrained: TinyViT, small: bool, n_seeds: int
) -> dict[str, dict[str, Any]]:
    """Return memory, relative times, numbers of parameters and how far the start is by way."""
    dataset, classes = TASKS["near"]
    images = read_images(dataset).keep_classes(classes)
    images = images.pick(np.arange(N_TIMED))
    networks = {arm.name: arm.prepare(copy.deepcopy(pretrained), 5, 0) for arm in study.ways}
    times = [arms.measure_step_times(networks, images, 1 if small else 5) for _ in range(n_seeds)]
    reference = arms.FULL if arms.FULL in networks else arms.LORA
    full = [run[list(networks).index(reference)] for run in times]
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
