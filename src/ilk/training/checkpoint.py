"""Checkpoints of a training run: one safetensors file, replaced atomically, with a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from ilk.core.atomic_write import replace_atomically
from ilk.core.errors import ArtifactError, IlkError, InputError, OutputError
from ilk.core.regular_file import check_regular_file
from ilk.core.typed_values import check_type
from ilk.training import distributed as ranks

DIGEST_KEY, METADATA_KEY = "digest", "ilk"
MUTABLE_FIELDS = (
    "lr",
    "max_grad_norm",
)  # what rescues a run that diverged, so it may differ when taken up


class DivergenceError(IlkError):
    """A gradient is not finite."""


@dataclass(eq=False)
class TrainState:
    """The state of a training run.

    Attributes:
        network: The network being trained.
        ema: Its average.
        objective: The objective; its parameters and buffers are saved.
        optimizer: The optimizer; its state per parameter is saved.
        recipe: Settings of the run, as JSON.
        best: The best state by a validation, if there is one.
    """

    network: nn.Module
    ema: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: dict[str, Any]
    best: nn.Module | None = None
    saved_step: int = field(default=0, init=False)

    def iter_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the name in the file and the value `[...]` of each saved tensor."""
        for name, module in self._modules():
            for key, value in module.state_dict().items():
                yield f"{name}/{key}", value
        for i, buffers in self.optimizer.state_dict()["state"].items():
            for key, value in buffers.items():
                yield f"optimizer/{i}/{key}", value

    def _modules(self) -> tuple[tuple[str, nn.Module], ...]:
        modules = ("network", self.network), ("average", self.ema), ("objective", self.objective)
        return modules if self.best is None else (*modules, ("best", self.best))

    def save(self, path: Path | None, step: int) -> None:
        """Write the state after `step` updates, in the main process.

        Raises:
            OutputError: The file cannot be written; the previous checkpoint is intact.
        """
        if path is None or not ranks.is_main_process():
            return
        metadata = {"step": str(step), "recipe": json.dumps(self.recipe, sort_keys=True)}
        try:
            save(dict(self.iter_tensors()), path, metadata)
        except OutputError as error:
            if not step:
                raise
            raise OutputError(
                f"{error}; the state after update {self.saved_step} of {self.recipe['steps']} is "
                "still there, and running again resumes from it"
            ) from error
        self.saved_step = step

    def resume(self, path: Path | None) -> int:
        """Load the checkpoint at `path`, if there is one; return the number of updates made.

        Raises:
            InputError: The checkpoint is of a run with other settings.
            ArtifactError: The file is not a checkpoint.
        """
        if path is None:
            return 0
        if not path.exists():
            self.save(path, 0)  # so that a folder that cannot be written fails now, not later
            return 0
        tensors, metadata = load(path)
        try:
            step, recipe = int(metadata["step"]), json.loads(metadata["recipe"])
            check_type(recipe, dict[str, Any], "recipe")
        except (KeyError, ValueError, TypeError, RecursionError):
            raise ArtifactError(f"{path} is not a checkpoint of an ilk training run") from None
        self._check_recipe(recipe, path)
        self._load_tensors(tensors, path)
        self.saved_step = step
        return step

    def _check_recipe(self, recipe: dict[str, Any], path: Path) -> None:
        differences = [
            f"{key} was {recipe.get(key)}, now {self.recipe.get(key)}"
            for key in sorted(recipe.keys() | self.recipe.keys())
            if recipe.get(key) != self.recipe.get(key) and key not in MUTABLE_FIELDS
        ]
        if differences:
            raise InputError(
                f"{path} holds a run with different settings ({'; '.join(differences)}); "
                "use the same settings to resume it, or another folder to start a new run"
            )

    def _load_tensors(self, tensors: dict[str, Tensor], path: Path) -> None:
        for name, module in self._modules():
            state_dict = module.state_dict()
            for key, value in state_dict.items():
                saved = tensors.get(f"{name}/{key}")
                if saved is None or saved.shape != value.shape:
                    raise InputError(
                        f"{path} holds another network ({key} differs); "
                        "use the same settings to resume it, or another folder to start a new run"
                    )
                value.copy_(saved)
        groups = self.optimizer.state_dict()["param_groups"]
        moments: dict[int, dict[str, Tensor]] = {}
        try:
            for full_key, value in tensors.items():
                if full_key.startswith("optimizer/"):
                    _, i, key = full_key.split("/")
                    moments.setdefault(int(i), {})[key] = value
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        except (ValueError, KeyError, TypeError, RuntimeError):
            raise ArtifactError(f"{path} holds another optimizer; train again") from None

    def make_divergence_error(self, step: int, loss: float, path: Path | None) -> DivergenceError:
        """Return the error for update `step` (from 0), whose gradient is not finite."""
        lr = self.recipe["lr"]
        hint = "nothing was saved"
        if path is not None and path.exists():
            saved_step = load(path)[1]["step"]
            hint = (
                f"the state after update {saved_step} is saved in {path}, "
                "and running again resumes there"
            )
        return DivergenceError(
            f"training stopped at update {step + 1}: a gradient is not finite (loss {loss:.4g}); "
            f"{hint}; lower the learning rate, such as {lr / 3:.2g} for {lr:.2g}, "
            "or use precision float32, and check that all images are finite"
        )


def save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file of arrays `[...]` with a digest, atomically.

    Raises:
        OutputError: The disk is full, or the folder cannot be written (OSError).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose another folder"
        ) from error
    write, _ = prepare_arrays(tensors, metadata)
    replace_atomically(path, write)


def prepare_arrays(
    tensors: dict[str, Tensor], metadata: dict[str, str]
) -> tuple[Callable[[Path], None], str]:
    """Return a function that writes arrays `[...]` to a safetensors file, and their digest.

    Raises:
        OSError: Not here but by the function, where the file cannot be written.
    """
    arrays = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    digest = compute_digest(arrays, metadata)

    def write(path: Path) -> None:
        try:
            # One entry: safetensors writes several in random order, and equal files shall be equal.
            entry = json.dumps({**metadata, DIGEST_KEY: digest}, sort_keys=True)
            # Not `save_file`, whose temporary file would stay where the process is killed.
            path.write_bytes(serialize(arrays, {METADATA_KEY: entry}))
        except SafetensorError as error:
            raise OSError(str(error)) from error

    return write, digest


def compute_digest(arrays: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of metadata and of names, types, shapes and values of arrays `[...]`."""
    total = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        total.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        if array.numel():
            total.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the arrays `[...]` and the metadata of a safetensors file that `save` wrote.

    Raises:
        ArtifactError: The file is missing, damaged or not a safetensors file of ilk.
    """
    try:
        check_regular_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    except RecursionError:
        raise ArtifactError(f"{path} cannot be read: its metadata are nested too deeply") from None
    is_text = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    digest = metadata.pop(DIGEST_KEY, None) if is_text else None
    if digest is None or digest != compute_digest(arrays, metadata):
        raise ArtifactError(
            f"{path} was altered after it was saved, is damaged, or is of another version of ilk"
        )
    if not all(torch.isfinite(a).all() for a in arrays.values() if a.is_floating_point()):
        raise ArtifactError(f"{path} holds values that are not finite")
    return arrays, {**metadata, DIGEST_KEY: digest}
