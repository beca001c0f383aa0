"""A benchmark on generated images: in-domain and cross-domain accuracy of diffusion classifiers.

Yujin Jeong and others, 2025, Diffusion Classifiers Understand Compositionality, but Conditions
Apply, arXiv 2505.17955: images of every class are generated, an independent classifier keeps those
that show their class (Full -> Correct), and diffusion classifiers classify these. The generator
itself is in-domain; another network is cross-domain.

Half of the images are tested; the other half is used to learn the weights of the noise levels
(`ilk.diffusion.generation.weighting_accuracy`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.generation.weighting_accuracy import (
    SelfBenchConfig,
    compare_paired,
    evaluate_weightings,
    summarize_accuracy,
)
from ilk.maths.folds import assign_folds
from ilk.training.rng import mix_seeds

ImageClassifier = Callable[[Tensor], Tensor]
"""Probabilities `[n, k]` of images `[n, c, h, w]` in [-1, 1]; a supervised classifier, say."""


def run_self_bench(
    generator: Denoises,
    classifiers: Mapping[str, Denoises],
    verifier: ImageClassifier,
    settings: SelfBenchConfig = SelfBenchConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> dict[str, Any]:
    """Generate images, filter them, and classify them by each of `classifiers`; return plain JSON.

    Args:
        generator: A class-conditional network.
        classifiers: Networks of the same shape and classes by name, including the generator.
        verifier: An image is kept if its predicted class is the generated one.
        settings: Settings of the benchmark.
        progress: Reports network calls.

    Raises:
        InputError: The generator is not among the classifiers, networks do not match, or fewer than
            2 images are kept.
    """
    in_domain = find_in_domain_name(generator, classifiers)
    x, y = draw_images(generator, settings, progress)
    correct = verifier(x).argmax(1).cpu() == y
    if int(correct.sum()) < 2:
        raise InputError(
            f"{int(correct.sum())} of the {len(y)} images drawn show their class, too few to test "
            "with; draw more, or train the generator for longer"
        )
    x, y, requested = x[correct], y[correct], y
    is_test = torch.from_numpy(assign_folds(y.numpy(), 2, settings.seed) == 0)
    results = {
        name: evaluate_weightings(denoiser, x, y, is_test, settings, progress)
        for name, denoiser in classifiers.items()
    }
    report: dict[str, Any] = {
        "settings": asdict(settings),
        "generation": summarize_accuracy(correct),
        "classes": {
            name: summarize_accuracy(correct[requested == c])
            for c, name in enumerate(generator.classes)
        },
        "fitted on": int((~is_test).sum()),
        "tested on": int(is_test.sum()),
        "classifiers": {},
        "gap": {},
    }
    for name, (hits, details) in results.items():
        report["classifiers"][name] = {"domain": "in" if name == in_domain else "cross", **details}
        report["classifiers"][name]["accuracy"] = {
            rule: summarize_accuracy(hit) for rule, hit in hits.items()
        }
        if name != in_domain:
            own = results[in_domain][0]
            report["gap"][name] = {
                rule: compare_paired(own[rule], hit) for rule, hit in hits.items()
            }
    return report


def draw_images(
    generator: Denoises, settings: SelfBenchConfig, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Return `n_per_class` images per class, `[m, c, h, w]`, and their classes `[m]`."""
    parts, k = [], len(generator.classes)
    with progress("drawing", k * settings.n_per_class) as advance:
        for c in range(k):  # the images of a class do not depend on the number of classes
            sampler = replace(settings.sampler, seed=mix_seeds(settings.sampler.seed, c))
            classes = torch.full((settings.n_per_class,), c)
            parts.append(sampler.draw(generator, classes, settings.measure.device).cpu())
            advance(settings.n_per_class)
    return torch.cat(parts), torch.arange(k).repeat_interleave(settings.n_per_class)


def find_in_domain_name(generator: Denoises, classifiers: Mapping[str, Denoises]) -> str:
    """Return the name of the generator among the classifiers.

    Raises:
        InputError: It is not among them, or one of them does not match it.
    """
    if not generator.classes:
        raise InputError(
            "this network was trained without classes, so it cannot generate images per class"
        )
    for name, denoiser in classifiers.items():
        if denoiser.shape != generator.shape or denoiser.classes != generator.classes:
            raise InputError(
                f"classifier {name!r} takes {denoiser.shape} of {len(denoiser.classes)} classes "
                f"and the generator draws {generator.shape} of {len(generator.classes)}; "
                "they must agree"
            )
    for name, denoiser in classifiers.items():
        if denoiser is generator:
            return name
    raise InputError(
        f"the generator is none of the classifiers ({', '.join(classifiers)}), so nothing is "
        "in-domain; add it to them"
    )


def compute_domain_gap(
    benches: Mapping[str, Mapping[str, Any]], rule: str = "uniform"
) -> dict[str, Any]:
    """Return each classifier's in-domain accuracy minus its cross-domain accuracy (figure 4).

    Args:
        benches: Results of `run_self_bench` for each generator, by its name among the classifiers.
        rule: `uniform`, `exp(-7t)` or `learned`.

    Raises:
        InputError: There are fewer than 2, or a generator is missing among the classifiers.
    """
    if len(benches) < 2 or any(set(benches) - set(b["classifiers"]) for b in benches.values()):
        raise InputError(
            "a gap between domains needs 2 generators or more, each a judge of every one's images"
        )
    gaps = {}
    for name in benches:
        accuracies = {
            generator: b["classifiers"][name]["accuracy"][rule]["value"]
            for generator, b in benches.items()
        }
        own, others = accuracies.pop(name), list(accuracies.values())
        gaps[name] = {"in-domain": own, "cross-domain": sum(others) / len(others),
                      "gap": own - sum(others) / len(others)}  # fmt: skip
    return gaps
