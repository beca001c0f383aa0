"""Pretraining from end to end: the network of all images, those that each left a part out, and what
is learnt from how they judge the images that they did not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ilk.diffusion import found, seen, trial
from ilk.diffusion.cheap import Cheap
from ilk.diffusion.classify import Measure, errors
from ilk.diffusion.contract import Denoises, unit
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.levels import Levels
from ilk.diffusion.places import folder
from ilk.diffusion.pretrain import Plan, pretrain
from ilk.diffusion.search import search
from ilk.diffusion.trial import Trial
from ilk.errors import InputError
from ilk.progress import Progress, silent
from ilk.training import ranks
from ilk.training.loop import Batch, Machine

SMALL = 5_000  # labelled images up to which networks that leave a part out cost little
FEW = 20  # labelled images that must be left before any is kept out
FOLDS = 3  # for so few
KEPT_OUT = 0.1  # of more, that the one network does not learn from
LEVELS, IMAGES, CALLS = 32, 400, 150_000  # for tuning: levels; images and calls at most


@dataclass(frozen=True, eq=False)
class Material:
    """What a pretraining learns from.

    Attributes:
        data: Images `[n, c, h, w]` uint8 and class indices, -1 where unknown.
        digests: SHA-256 of their files, hexadecimal.
        classes: Names; empty for a network that takes no class.
    """

    data: Batch
    digests: Sequence[str]
    classes: tuple[str, ...]

    def rows(self, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Material:
        """The images that `keep` marks."""
        at = torch.from_numpy(np.flatnonzero(keep))
        kept = [d for d, k in zip(self.digests, keep, strict=True) if k]
        return Material(Batch(self.data.x[at], self.data.y[at]), kept, self.classes)


def school(
    material: Material,
    plan: Plan,
    home: Path,
    folds: int = -1,
    machine: Machine = Machine(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Denoiser:
    """Pretrain, and where there are labels, leave behind what a fair judgement needs.

    Args:
        material: Images, files and classes.
        plan: Of the network of all; those that leave a part out follow the same.
        home: Folder of the model.
        folds: Networks that each leave a part out; 0 for none, and then a tenth of the images is
            kept out of the one there is; -1 chooses by the number of images.
        machine: Where to train.
        progress: Told of the work.

    Raises:
        InputError, Diverged, OutputError: As `pretrain` says.
    """
    known = (material.data.y >= 0).numpy()
    if not (material.classes and known.any()):
        return pretrain(material.data, material.classes, plan, home, machine, progress)
    marks = seen.marks(material.data.x.numpy())
    folds = parts(folds, int(known.sum()), marks)
    part = seen.part_of(marks, folds or round(1 / KEPT_OUT))
    kept = (part >= 0) if folds or (part[known] > 0).sum() < FEW else part > 0
    learnt = material.rows(kept)
    if ranks.first():  # before any training: a run that is cut off is not taken for fair
        told = material.rows(kept & known)
        seen.Seen.of(told.data.x.numpy(), told.digests, folds).save(home)
    whole = pretrain(learnt.data, material.classes, plan, home, machine, progress)
    judged: list[tuple[Denoises, Material]] = []
    own: list[tuple[Denoiser, Material, int]] = []
    for p in (p for p in range(folds) if (part == p).any()):
        rest, at = material.rows(part != p), folder(home, p)
        quiet = replace(plan, every=plan.recipe.steps)  # no pictures on the way: they cost as much
        network = pretrain(rest.data, material.classes, quiet, at, machine, progress)
        judged.append((network, material.rows(part == p)))
        own.append((network, rest, p))
    if not folds:
        judged = [(whole, material.rows(~kept))]
    if ranks.first():
        settle(home, whole, learnt.data, judged, machine, progress)
        heads(home, [(whole, learnt, -1), *own], machine)
    return whole


def heads(home: Path, networks: Sequence[tuple[Denoiser, Material, int]], machine: Machine) -> None:
    """Leave beside each network a cheap head, learnt from what it learnt from."""
    place = found.known(home)
    if place is None:
        return
    for network, material, part in networks:
        on = network.to(machine.device)
        Cheap.fit(on, material.data.x, material.data.y, place).save(folder(home, part))


def parts(folds: int, labelled: int, marks: seen.Marks) -> int:
    """How many networks leave a part out: what is asked (-1 chooses), as far as images allow.

    Raises:
        InputError: One part would leave nothing to learn from.
    """
    if folds == 1:
        raise InputError("1 part leaves nothing to learn from; give --folds 0, or 2 or more")
    folds = folds if folds >= 0 else FOLDS if labelled <= SMALL else 0
    return folds if folds and len(np.unique(seen.part_of(marks, folds))) > 1 else 0


def settle(
    home: Path,
    whole: Denoiser,
    data: Batch,
    judged: Sequence[tuple[Denoises, Material]],
    machine: Machine,
    progress: Progress = silent,
) -> None:
    """Leave in `home` where features are best read, and what is learnt of the noise levels.

    Nothing is, where too few images are labelled to compare anything; what was learnt from more
    images before is kept.
    """
    counts = torch.bincount(data.y[data.y >= 0])
    wiser = not (home / found.FILE).exists() or found.read(home).images <= int(counts.sum())
    if wiser and int((counts > 0).sum()) > 1 and int(counts.max()) > 1:
        on = whole.to(machine.device)
        found.write(search(on, data.x, data.y.numpy(), progress=progress), home)
    images = sum(int((material.data.y >= 0).sum()) for _, material in judged)
    before = trial.load(home)
    if images and (before is None or len(before.y) <= min(IMAGES, images)):
        tune(judged, machine=machine, progress=progress).save(home)


def tune(
    judged: Sequence[tuple[Denoises, Material]],
    seed: int = 0,
    machine: Machine = Machine(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Trial:
    """Denoising errors of labelled images under networks that did not see them, as each class.

    Up to 400 images, drawn at random, or what 150,000 calls of the network allow.
    """
    levels = Levels.even(judged[0][0], LEVELS)
    told: list[tuple[Tensor, Tensor]] = []
    most = min(IMAGES, max(1, CALLS // (LEVELS * len(judged[0][0].classes))))
    chance = torch.Generator().manual_seed(seed)
    for network, material in judged:
        known = torch.nonzero(material.data.y >= 0).flatten()
        order = known[torch.randperm(len(known), generator=chance)]
        at = order[: most // len(judged)]
        x = unit(material.data.x[at])
        measure = Measure(batch=512, precision=machine.precision, device=machine.device)
        on = network.to(machine.device) if isinstance(network, Denoiser) else network
        made = errors(on, x, torch.tensor(levels.sigmas), levels.noise(on), measure, progress)
        told.append((made, material.data.y[at]))
    return Trial(torch.cat([e for e, _ in told]), torch.cat([y for _, y in told]), levels)
