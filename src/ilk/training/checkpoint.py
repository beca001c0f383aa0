"""The state of a training run in one safetensors file, replaced whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ilk.errors import ArtefactError, IlkError, InputError, OutputError
from ilk.training import ranks

MAY_CHANGE = ("lr", "clip")  # what rescues a run that diverged, so it may differ when taken up


class Diverged(IlkError):
    """Training left the finite numbers."""


@dataclass(eq=False)
class State:
    """All that a run needs to go on: two networks, an optimiser, and how it was set up."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    recipe: dict[str, Any]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every array by its name in the file."""
        for name, module in (("network", self.network), ("average", self.average)):
            for key, value in module.state_dict().items():
                yield f"{name}/{key}", value
        for i, kept in self.optimiser.state_dict()["state"].items():
            for key, value in kept.items():
                yield f"optimiser/{i}/{key}", value

    def keep(self, path: Path | None, step: int) -> None:
        """Write the state after `step` updates; the first process does, for all.

        Raises:
            OutputError: It cannot be written. What was kept before is still there.
        """
        if path is None or not ranks.first():
            return
        told = {"step": str(step), "recipe": json.dumps(self.recipe, sort_keys=True)}
        save(dict(self.tensors()), path, told)

    def take_up(self, path: Path | None) -> int:
        """Load what `path` holds, and say how many updates were made; 0 when nothing is there.

        Raises:
            InputError: It is of a run that was set up otherwise.
            ArtefactError: It is no state of a run.
        """
        if path is None:
            return 0
        if not path.exists():
            self.keep(path, 0)  # a folder that cannot be written is known now, not in an hour
            return 0
        tensors, told = load(path)
        try:
            step, recipe = int(told["step"]), json.loads(told["recipe"])
        except (KeyError, ValueError):
            raise ArtefactError(f"{path} is not the state of a training run of ilk") from None
        self._same(recipe, path)
        self._fill(tensors, path)
        return step

    def _same(self, recipe: dict[str, Any], path: Path) -> None:
        other = [
            f"{key} was {recipe.get(key)}, now {self.recipe.get(key)}"
            for key in sorted(recipe.keys() | self.recipe.keys())
            if recipe.get(key) != self.recipe.get(key) and key not in MAY_CHANGE
        ]
        if other:
            raise InputError(
                f"{path} holds a run that was set up otherwise ({'; '.join(other)}); "
                "give the same settings to go on, or another folder to begin anew"
            )

    def _fill(self, tensors: dict[str, Tensor], path: Path) -> None:
        for name, module in (("network", self.network), ("average", self.average)):
            held = module.state_dict()
            for key, value in held.items():
                found = tensors.get(f"{name}/{key}")
                if found is None or found.shape != value.shape:
                    raise InputError(
                        f"{path} holds a network of another build ({key} differs); "
                        "give the same settings to go on, or another folder to begin anew"
                    )
                value.copy_(found)
        groups = self.optimiser.state_dict()["param_groups"]
        moments: dict[int, dict[str, Tensor]] = {}
        for full, value in tensors.items():
            if full.startswith("optimiser/"):
                _, i, key = full.split("/")
                moments.setdefault(int(i), {})[key] = value
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def diverged(self, step: int, loss: float, path: Path | None) -> Diverged:
        """What to say when update `step` cannot be made."""
        lr = self.recipe["lr"]
        kept = "nothing was kept"
        if path is not None and path.exists():
            at = load(path)[1]["step"]
            kept = f"the state after update {at} is kept in {path}, and running again goes on there"
        return Diverged(
            f"training stopped at update {step + 1}: a gradient is not finite (loss {loss:.4g}); "
            f"{kept}; lower the learning rate, such as {lr / 3:.2g} for {lr:.2g}, "
            "or take precision float32, and look for images that are not finite"
        )


def save(tensors: dict[str, Tensor], path: Path, told: dict[str, str]) -> None:
    """Write a safetensors file, in place of the one before only when all of it is on disk.

    Raises:
        OutputError: The disk is full, or the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, told)
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            part.unlink()
        raise OutputError(
            f"{path} cannot be written: {error}; free some space or name another folder"
        ) from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays of a safetensors file, and what is told beside them.

    Raises:
        ArtefactError: It is missing, cut short or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata() or {})
            return {key: file.get_tensor(key) for key in file.keys()}, told  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}") from error
