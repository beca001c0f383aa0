"""Fashion-MNIST: one diffusion model of 2.4 million weights against what is trained to classify.

58,000 training images, 2,000 kept out for every choice, 1,000 fixed test images (the first 100 of
each class by name). One network, pretrained once (12,000 steps of 128); three seeds of the noise
that it judges with. Beside its diffusion classifier (16 levels, weighed on 500 images kept out) and
logistic regression on its features stand a supervised network with the same trunk, features of the
same network with random weights, logistic regression and 5 nearest neighbours on pixels. The place
that features are read at is found by cross-validation on 2,000 training images. The supervised twin
gets a tenth of the updates, on the same images: it learns faster, and `twin steps` says how many it
had. Finished parts are kept and not measured again, so the seconds in all are those of the last
command.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ilk.bench import spread
from ilk.bench._diffusion import (
    Pictures,
    accuracy,
    clean,
    fashion,
    fashion_plan,
    first,
    kept,
    machine,
    pretrained,
    untrained,
)
from ilk.bench.diffusion_digits import drawn, flat, regressed
from ilk.diffusion.classify import Measure, errors, scores
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.features import features
from ilk.diffusion.levels import Levels
from ilk.diffusion.pretrain import Plan
from ilk.diffusion.reading import Point, Reading
from ilk.diffusion.search import Settings, search
from ilk.diffusion.taps import Taps
from ilk.diffusion.twin import fit_twin
from ilk.encode import cores
from ilk.training.loop import Batch

SEEDS = (0, 1, 2)
LEVELS, HIGH, HELD = 16, 5.0, 500  # noise levels, the highest; images that weigh them
PROBE = 20_000  # training images that logistic regression learns from
MEASURE = Measure(batch=512, precision="bfloat16")


def run(small: bool = False) -> dict[str, Any]:
    """The table; `small` trains for two steps and judges ten images."""
    if small:
        return table(fashion(), fashion_plan(0, 2), "fashion-small", small=True)
    return table(fashion(), fashion_plan(0), "fashion-0")


def table(pictures: Pictures, plan: Plan, name: str, *, small: bool = False) -> dict[str, Any]:
    """Every contender on the same test images."""
    test = first(pictures.test, 10) if small else pictures.test
    learn = first(pictures.train, 100 if small else PROBE)
    held = first(pictures.held, 20 if small else HELD)
    network = pretrained(pictures, plan, name)
    seeds = [
        kept(
            f"{name}-judged-{s}",
            partial(_classified, network, held, test, s, 2 if small else LEVELS),
        )
        for s in SEEDS
    ]
    return {
        "weights": sum(p.numel() for p in network.parameters()),
        "training": _training(plan, pictures),
        "diffusion classifier": spread([row["learnt"] for row in seeds]),
        "diffusion classifier, likelihood weights": spread([row["likelihood"] for row in seeds]),
        "noise levels": LEVELS,
        "seconds an image": spread([row["seconds"] for row in seeds]),
        **kept(f"{name}-probe", lambda: _features("diffusion features", network, learn, test)),
        **_without(pictures, plan, name, learn, test),
        **kept(
            f"{name}-drawn",
            lambda: drawn(
                network, Pictures(name, pictures.classes, learn, learn, pictures.test), test
            ),
        ),
        "images": {"test": len(test), "probe": len(learn)},
    }


def _without(
    pictures: Pictures, plan: Plan, name: str, learn: Batch, test: Batch
) -> dict[str, Any]:
    """What stands beside it and needs no pretraining."""
    steps = max(2, plan.recipe.steps // 10)
    short = replace(plan, recipe=replace(plan.recipe, steps=steps))

    def twin() -> dict[str, float]:
        torch.set_num_threads(cores())
        found = fit_twin(pictures.train, pictures.classes, short, machine())
        return {"supervised twin": accuracy(found.logits(test.x), test.y), "twin steps": steps}

    def random() -> dict[str, Any]:
        made = untrained(pictures, plan)
        return _features("features of random weights", made, learn, test)

    return {
        **kept(f"{name}-twin", twin),
        **kept(f"{name}-random", random),
        **kept(f"{name}-pixels", lambda: _pixels(learn, test)),
    }


def _classified(network: Denoiser, held: Batch, test: Batch, seed: int, count: int) -> Any:
    """Accuracy with likelihood weights, and with weights learnt on images kept out."""
    levels = Levels.even(network, count, network.sigmas[0], HIGH)
    sigmas, noise = torch.tensor(levels.sigmas), levels.noise(network, seed)
    tried = errors(network, clean(held), sigmas, noise, MEASURE)
    learnt = Levels.learned(tried, held.y, levels)
    began = time.perf_counter()
    found = errors(network, clean(test), sigmas, noise, MEASURE)
    seconds = (time.perf_counter() - began) / len(test)
    ours = scores(found[:, :, learnt.places(levels)], torch.tensor(learnt.weights))
    even = scores(found, torch.tensor(levels.weights))
    return {
        "learnt": accuracy(ours, test.y),
        "likelihood": accuracy(even, test.y),
        "seconds": seconds,
        "levels": learnt.to_json(),
    }


def _features(name: str, network: Denoiser, learn: Batch, test: Batch) -> dict[str, Any]:
    place = _place(network, learn)
    right = _probed(network, place, learn, test)
    return {f"logistic regression on {name}": right, f"place of {name}": str(place)}


def _place(network: Denoiser, learn: Batch) -> Point:
    rows = first(learn, 2_000)
    return search(network, rows.x, rows.y.numpy(), Settings()).best


def _probed(network: Denoiser, place: Point, learn: Batch, test: Batch) -> float:
    taps, reading = Taps(network), Reading(0, 1, 256, "bfloat16")
    try:
        x, x_test = (features(taps, part.x, [place], reading).numpy() for part in (learn, test))
    finally:
        taps.close()
    return regressed(x, learn.y.numpy(), x_test, test.y)


def _pixels(learn: Batch, test: Batch) -> dict[str, float]:
    from sklearn.neighbors import KNeighborsClassifier

    x, y = flat(learn), learn.y.numpy()
    near = KNeighborsClassifier(5).fit(x, y).score(flat(test), test.y.numpy())
    return {
        "logistic regression on pixels": regressed(x, y, flat(test), test.y),
        "5 nearest neighbours on pixels": float(near),
    }


def _training(plan: Plan, pictures: Pictures) -> dict[str, Any]:
    recipe = plan.recipe
    return {
        "steps": recipe.steps,
        "batch": recipe.batch,
        "passes": float(np.round(recipe.steps * recipe.batch / len(pictures.train), 1)),
        "network": plan.options,
    }
