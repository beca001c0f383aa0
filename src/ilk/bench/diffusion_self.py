"""Self-Bench on digits: does a diffusion model know its own pictures better than another's?

The catalogue's row diffusion-clf-compositionality. A U-Net and a small DiT are pretrained on the
same digits (70/30, seeds 0 to 2). Each draws 20 pictures of every class; 3 nearest neighbours on
real training pixels keep what shows its class, and both name what is kept. In-domain is a model's
accuracy on its own pictures, cross-domain on the other's. Half of what is kept is tested, under the
plain mean of errors, exp(-7t), and level weights learnt from the other half. Beside it, the same
three weightings on real test images, weights learnt from half of them. Finished parts are kept and
not measured again, so the seconds in all are those of the last command.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ilk.bench import spread
from ilk.bench._diffusion import Pictures, clean, digits, digits_plan, first, kept, pretrained
from ilk.bench.diffusion_digits import flat
from ilk.diffusion.by_weighting import Settings, judged_by
from ilk.diffusion.classify import Measure
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.self_bench import Judge, domain_gap, self_bench
from ilk.maths.folds import stratified
from ilk.progress import silent

SEEDS = (0, 1, 2)
MEASURE = Measure(batch=512, precision="bfloat16")
RULES = ("uniform", "exp(-7t)", "learned")


def run(small: bool = False) -> dict[str, Any]:
    """Generation accuracy, in-domain and cross-domain accuracy, and the gap."""
    steps, each = (10, 3) if small else (300, 20)
    seeds = [
        kept(f"self-{seed}-{steps}", partial(_one, seed, steps, each))
        for seed in SEEDS[: 1 if small else None]
    ]
    names = list(seeds[0]["generation"])
    return {
        "pictures that show their class": {
            name: spread([seed["generation"][name] for seed in seeds]) for name in names
        },
        "judged": [
            {
                "judge": name,
                "weighting": rule,
                **{
                    key: spread([seed["gaps"][rule][name][key] for seed in seeds])
                    for key in ("in-domain", "cross-domain", "gap")
                },
                "real test images": spread([seed["real"][name][rule] for seed in seeds]),
            }
            for name in names
            for rule in RULES
        ],
        "seeds": len(seeds),
    }


def _one(seed: int, steps: int, each: int) -> dict[str, Any]:
    pictures, plan = digits(seed), digits_plan(seed, steps)
    other = replace(plan, network="dit", options={"width": 96, "depth": 3, "patch": 2})
    networks = {
        "U-Net": pretrained(pictures, plan, f"digits-{seed}-{steps}"),
        "DiT": pretrained(pictures, other, f"digits-dit-{seed}-{steps}"),
    }
    settings = Settings(each=each, seed=seed, measure=MEASURE)
    keeps = _keeps(pictures) if steps > 10 else _all(pictures)
    benches = {
        name: self_bench(network, networks, keeps, settings) for name, network in networks.items()
    }
    return {
        "generation": {name: bench["generation"]["value"] for name, bench in benches.items()},
        "gaps": {rule: domain_gap(benches, rule) for rule in RULES},
        "real": {name: _real(network, pictures, settings) for name, network in networks.items()},
    }


def _keeps(pictures: Pictures) -> Judge:
    """3 nearest neighbours on the pixels of real training images."""
    from sklearn.neighbors import KNeighborsClassifier

    near = KNeighborsClassifier(3).fit(flat(pictures.train), pictures.train.y.numpy())

    def judge(x: Tensor) -> Tensor:
        rows = ((x.clamp(-1, 1) + 1) / 2).flatten(1).numpy()
        return torch.from_numpy(near.predict_proba(rows))

    return judge


def _all(pictures: Pictures) -> Judge:
    """Keeps every picture, drawn class by class: for a network that was hardly trained."""
    k = len(pictures.classes)
    return lambda x: torch.eye(k)[torch.arange(k).repeat_interleave(len(x) // k)]


def _real(network: Denoiser, pictures: Pictures, settings: Settings) -> dict[str, float]:
    test = first(pictures.test, 300 if settings.each > 3 else 40)
    held = torch.from_numpy(stratified(test.y.numpy(), 2, settings.seed) == 0)
    found, _ = judged_by(network, clean(test), test.y, held, settings, silent)
    return {rule: float(hit.double().mean()) for rule, hit in found.items()}
