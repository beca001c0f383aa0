"""A test that a generator makes for itself: does it know its own pictures better than another's?

Yujin Jeong and others, 2025, Diffusion Classifiers Understand Compositionality, but Conditions
Apply, arXiv 2505.17955: images are drawn of every class, a judge that knows nothing of diffusion
keeps those that show it (Full -> Correct), and diffusion classifiers name what is kept. The
generator itself is at home there (in-domain); another is not (cross-domain).

Half of what is kept is tested; the other half teaches the noise levels' weights
(`ilk.diffusion.by_weighting`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.by_weighting import Settings, apart, interval, judged_by
from ilk.diffusion.contract import Denoises
from ilk.errors import InputError
from ilk.maths.folds import stratified
from ilk.progress import Progress, silent
from ilk.training.chance import mixed

Judge = Callable[[Tensor], Tensor]
"""Probabilities `[n, k]` of images `[n, c, h, w]` in [-1, 1]; a supervised classifier, say."""


def self_bench(
    generator: Denoises,
    judges: Mapping[str, Denoises],
    keeps: Judge,
    settings: Settings = Settings(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> dict[str, Any]:
    """Draw from `generator`, keep what shows its class, and let `judges` name it; plain JSON.

    Args:
        generator: Draws; knows classes.
        judges: Networks of the same shape and classes by name; the generator is one of them.
        keeps: An image is kept when its likeliest class is the one that was asked for.
        settings: How.
        progress: Told of the calls.

    Raises:
        InputError: The generator is no judge, networks do not go together, or fewer than 2 images
            are kept.
    """
    home = at_home(generator, judges)
    x, y = drawn(generator, settings, progress)
    right = keeps(x).argmax(1).cpu() == y
    if int(right.sum()) < 2:
        raise InputError(
            f"{int(right.sum())} of the {len(y)} images drawn show their class, too few to test "
            "with; draw more, or train the generator for longer"
        )
    x, y, asked = x[right], y[right], y
    held = torch.from_numpy(stratified(y.numpy(), 2, settings.seed) == 0)
    judged = {
        name: judged_by(each, x, y, held, settings, progress) for name, each in judges.items()
    }
    told: dict[str, Any] = {
        "settings": asdict(settings),
        "generation": interval(right),
        "classes": {name: interval(right[asked == c]) for c, name in enumerate(generator.classes)},
        "fitted on": int((~held).sum()),
        "tested on": int(held.sum()),
        "judges": {},
        "gap": {},
    }
    for name, (accurate, known) in judged.items():
        told["judges"][name] = {"domain": "in" if name == home else "cross", **known}
        told["judges"][name]["accuracy"] = {rule: interval(hit) for rule, hit in accurate.items()}
        if name != home:
            own = judged[home][0]
            told["gap"][name] = {rule: apart(own[rule], hit) for rule, hit in accurate.items()}
    return told


def drawn(generator: Denoises, settings: Settings, progress: Progress) -> tuple[Tensor, Tensor]:
    """`each` images of every class, `[k * each, c, h, w]`, and what was asked for."""
    parts, k = [], len(generator.classes)
    with progress("drawing", k * settings.each) as advance:
        for c in range(k):  # a class's images do not hang on how many classes there are
            sampler = replace(settings.sampler, seed=mixed(settings.sampler.seed, c))
            asked = torch.full((settings.each,), c)
            parts.append(sampler.draw(generator, asked, settings.measure.device).cpu())
            advance(settings.each)
    return torch.cat(parts), torch.arange(k).repeat_interleave(settings.each)


def at_home(generator: Denoises, judges: Mapping[str, Denoises]) -> str:
    """The name under which the generator judges.

    Raises:
        InputError: It is none of the judges, or one of them does not go with it.
    """
    if not generator.classes:
        raise InputError("this network was trained without classes, so it cannot draw a test")
    for name, each in judges.items():
        if each.shape != generator.shape or each.classes != generator.classes:
            raise InputError(
                f"judge {name!r} takes {each.shape} of {len(each.classes)} classes and the "
                f"generator draws {generator.shape} of {len(generator.classes)}; they must agree"
            )
    for name, each in judges.items():
        if each is generator:
            return name
    raise InputError(
        f"the generator is none of the judges ({', '.join(judges)}), so nothing is in-domain; "
        "give it as one of them"
    )


def domain_gap(benches: Mapping[str, Mapping[str, Any]], rule: str = "uniform") -> dict[str, Any]:
    """Each judge's accuracy on its own images less that on the others' (the paper's figure 4).

    Args:
        benches: What `self_bench` gave for each generator, by the name it judges under.
        rule: `uniform`, `exp(-7t)` or `learned`.

    Raises:
        InputError: There are fewer than 2, or a generator is missing among the judges of another.
    """
    if len(benches) < 2 or any(set(benches) - set(b["judges"]) for b in benches.values()):
        raise InputError(
            "a gap between domains needs 2 generators or more, each a judge of every one's images"
        )
    told = {}
    for name in benches:
        share = {of: b["judges"][name]["accuracy"][rule]["value"] for of, b in benches.items()}
        own, others = share.pop(name), list(share.values())
        told[name] = {"in-domain": own, "cross-domain": sum(others) / len(others),
                      "gap": own - sum(others) / len(others)}  # fmt: skip
    return told
