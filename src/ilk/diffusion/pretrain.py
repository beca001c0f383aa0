"""Pretraining from images to a folder that holds a denoiser, taken up again after any stop."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ilk.diffusion import saved
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.noise import LogNormal
from ilk.diffusion.objective import Denoising, Shift, flip, spread_of, unit
from ilk.diffusion.pictures import picture
from ilk.diffusion.sample import Sampler, sheet
from ilk.errors import InputError, OutputError
from ilk.progress import Progress, silent
from ilk.training import ranks
from ilk.training.loop import Batch, Machine, Recipe, Tweak, Watch, train, tweaked

STATE, SAMPLES, LOG = "state.safetensors", "samples.png", "log.jsonl"
ROWS, COLUMNS = 4, 10  # of the picture of samples


@dataclass(frozen=True)
class Plan:
    """What to pretrain, and how.

    Attributes:
        recipe: Steps, batch, learning rate, seed.
        network: `unet` or `dit`.
        options: The network's own, such as `{"width": 48}`.
        noise: Where training noise levels come from.
        drop: Share of labels hidden in training.
        flips: Mirror half of the images. Wrong for digits, letters and anything handed.
        shift: Move images by up to so many pixels.
        every: Updates between keeping the state and drawing samples; 0 takes a twentieth of all,
            and at least 100.
    """

    recipe: Recipe
    network: str = "unet"
    options: dict[str, Any] = field(default_factory=dict)
    noise: LogNormal = field(default_factory=LogNormal)
    drop: float = 0.1
    flips: bool = False
    shift: int = 0
    every: int = 0

    def tweaks(self) -> list[Tweak]:
        """What is done to a batch before noise is added."""
        found: list[Tweak] = [flip] if self.flips else []
        if self.shift:
            found.append(Shift(self.shift))
        return [*found, unit]


def pretrain(
    data: Batch,
    classes: tuple[str, ...],
    plan: Plan,
    folder: Path,
    machine: Machine = Machine(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Denoiser:
    """Train a denoiser on `data`, leave it in `folder`, and hand it back.

    The folder can be loaded from the first keeping on. When it holds an unfinished run of the same
    plan, that run goes on; a finished one is handed back as it is.

    Args:
        data: 8-bit images `[n, c, h, w]`, and class indices, -1 where unknown.
        classes: Names; empty for a network that takes no class.
        plan: What to train.
        folder: Where it goes.
        machine: Device and precision.
        progress: Told of every update.

    Raises:
        InputError: The images cannot be learned from, or `folder` holds a run of another plan.
        Diverged: Training left the finite numbers.
        OutputError: `folder` cannot be written.
    """
    build = planned(data, classes, plan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.recipe.seed)
        denoiser = build.make()
    same_plan(build, folder)
    objective = tweaked(Denoising(denoiser, plan.noise, plan.drop), *plan.tweaks())
    every = plan.every or max(min(100, plan.recipe.steps), plan.recipe.steps // 20)
    watch = Watch(folder / STATE, every, looking(build, folder, machine.device), progress)
    average = train(denoiser, data, objective, plan.recipe, machine, watch)
    assert isinstance(average, Denoiser)
    return average.cpu()


def planned(data: Batch, classes: tuple[str, ...], plan: Plan) -> saved.Build:
    """How the denoiser for these images is built.

    Raises:
        InputError: There are none, they are no 8-bit images, or a label is of no class.
    """
    if not len(data):
        raise InputError("there is no image to pretrain on")
    if data.x.dtype != torch.uint8 or data.x.dim() != 4:
        raise InputError(
            f"images are {data.x.dtype} {tuple(data.x.shape)}; give uint8 [n, c, h, w]"
        )
    if int(data.y.max()) >= len(classes):
        raise InputError(
            f"label {int(data.y.max())} belongs to none of the {len(classes)} classes; "
            "name every class, or set labels to -1 to pretrain without them"
        )
    _, c, h, w = data.x.shape
    content = hashlib.sha256(np.ascontiguousarray(data.x.numpy()).data)  # no copy of the images
    content.update(data.y.numpy().tobytes())
    told = {
        "plan": json.loads(json.dumps(asdict(plan))),
        "images": len(data),
        "content": content.hexdigest(),
    }
    return saved.Build(
        (c, h, w), classes, spread_of(data.x), plan.noise.sigmas, plan.network, plan.options, told
    )


def same_plan(build: saved.Build, folder: Path) -> None:
    """Refuse to go on with a run of another plan.

    Raises:
        InputError: `folder` holds one.
    """
    if not (folder / saved.JSON).exists():
        return
    before, now = recast(saved.read(folder)), recast(build)
    if "content" not in before["told"]:  # it was not written down at first
        now["told"].pop("content")
    if before != now:
        raise InputError(
            f"{folder} holds a diffusion model of another plan, or of other images or labels; "
            "give the same settings to go on, or another folder to begin anew"
        )


def recast(build: saved.Build) -> Any:
    """`build` as plain JSON, but for what a run may change on its way."""
    made = json.loads(json.dumps(asdict(build)))
    made["told"].pop("updates", None)
    for name in ("lr", "clip"):
        made["told"]["plan"]["recipe"].pop(name)
    made["told"]["plan"].pop("every")
    return made


def looking(
    build: saved.Build, folder: Path, device: str
) -> Callable[[int, float, nn.Module], None]:
    """What to do on the way: leave the denoiser, a line of the log and a picture in `folder`."""
    began = time.monotonic()

    def look(step: int, loss: float, average: nn.Module) -> None:
        assert isinstance(average, Denoiser)
        told = {**build.told, "updates": step}
        saved.save(average, saved.Build(**{**vars(build), "told": told}), folder)
        line = {
            "updates": step,
            "loss": loss,
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(time.process_time(), 1),
        }
        k = len(build.classes)
        asked = torch.arange(ROWS * COLUMNS) % k if k else torch.full((ROWS * COLUMNS,), -1)
        drawn = picture(sheet(Sampler().draw(average, asked, device), COLUMNS))
        try:
            with (folder / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            drawn.save(folder / SAMPLES)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}") from error

    return look if ranks.first() else (lambda _step, _loss, _average: None)
