"""One small saved model of each kind, and what it answers, before and after damage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.inputs import SHAPES, draw_picture, write_folder, write_table
from ilk.artifacts import detector
from ilk.artifacts.loading import load
from ilk.core.digested_json import compute_digest
from ilk.store import Store

N_PROBES = 6


@dataclass(frozen=True)
class SavedThing:
    """A saved model and how it is used.

    Attributes:
        name: What it is.
        folder: Its folder.
        description: Name of its JSON file.
        weights: Name of its safetensors file.
        answer: Opens the thing in a folder and returns all it says about the probe images.
        sign: Returns the content of the weights with changed arrays, as a program would write them.
    """

    name: str
    folder: Path
    description: str
    weights: str
    answer: Callable[[Path], Any]
    replace_arrays: Callable[[Path, Callable[[str, Any], Any]], None]


def make_probes() -> list[Any]:
    """Return images that no model was fitted on."""
    return [np.asarray(draw_picture(SHAPES[i % 3], 500 + i)) for i in range(N_PROBES)]


def make_saved_things(root: Path, seed: int = 0) -> tuple[SavedThing, ...]:
    """Fit and save one model of each kind, on pixels, in folders of `root`.

    Args:
        root: Folder.
        seed: Seed of the pictures that they are fitted on.
    """
    from benchmarks.robustness.commands import call

    images = write_folder(root / "images", 12, first=1000 * seed)
    rows = [
        (f"images/{c}/{i:03}.png", f"{c};even" if i % 2 else c) for c in SHAPES for i in range(12)
    ]
    table = write_table(root / "labels.csv", ("path", "label"), rows)
    commands: Mapping[str, tuple[Any, ...]] = {
        "classifier": ("fit", images, "--encoder", "pixels/8x8x1", "--method", "GDA"),
        "multi-label classifier": (
            *("fit", table, "--multi-label", "--encoder", "pixels/8x8x1", "--method", "Ridge"),
        ),
        "detector": ("detect", "fit", images, "--encoder", "pixels/8x8x1"),
        "diffusion": (
            *("pretrain", images, "--image-size", "8", "--width", "8", "--updates", "4"),
            *("--folds", "2", "--batch-size", "8"),
        ),
    }
    for name, args in commands.items():
        outcome = call(*args, "--out", root / name)
        if outcome.code:
            raise AssertionError(f"{name} cannot be made: {outcome.err}")
    store = Store(root / "probes.sqlite")
    model = ("model.json", "model.safetensors")
    return (
        SavedThing(
            "classifier", root / "classifier", *model, lambda f: _ask(f, store), _write_model_arrays
        ),
        SavedThing(
            "multi-label classifier",
            root / "multi-label classifier",
            *model,
            lambda f: _ask(f, store),
            _write_model_arrays,
        ),
        SavedThing(
            "detector",
            root / "detector",
            *model,
            lambda f: _ask_detector(f, store),
            _write_model_arrays,
        ),
        SavedThing(
            "diffusion",
            root / "diffusion",
            "diffusion.json",
            "diffusion.safetensors",
            _ask_diffusion,
            _write_diffusion_arrays,
        ),
    )


def _ask(folder: Path, store: Store) -> Any:
    model = load(folder)
    return [repr(p) for p in model.predict(make_probes(), store=store)]


def _ask_detector(folder: Path, store: Store) -> Any:
    results = detector.load(folder).detect(make_probes(), store)
    return [(r.score, r.is_anomaly, r.row.status) for r in results]


def _ask_diffusion(folder: Path) -> Any:
    import torch

    from ilk.diffusion.checkpoint.checkpoint import load as load_denoiser
    from ilk.diffusion.checkpoint.training_images import load as load_training_images
    from ilk.diffusion.classification import calibration_errors, nearest_mean_head
    from ilk.diffusion.features import search_result

    denoiser = load_denoiser(folder)
    training = load_training_images(folder)
    x = torch.linspace(-1, 1, int(np.prod(denoiser.shape))).reshape(1, *denoiser.shape)
    with torch.no_grad():
        out = denoiser(x, torch.tensor([0.5]), torch.tensor([0]))
    hashes = [a.tolist() for a in (training.pixel_hashes, training.file_hashes)]
    errors, head = calibration_errors.load(folder), nearest_mean_head.load(folder)
    return [
        *(denoiser.classes, out.flatten().tolist(), training.folds, hashes, denoiser.sigmas),
        None if errors is None else [errors.errors.tolist(), errors.y.tolist()],
        [repr(head.point), head.class_means.tolist()],
        repr(search_result.read(folder)),
    ]


def sign(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description with the digest that it would have been written with."""
    return {**fields, "digest": compute_digest(fields)}


def _write_model_arrays(folder: Path, change: Callable[[str, Any], Any]) -> None:
    """Rewrite the weights of a model with `change` applied to each array, and all digests right."""
    import hashlib

    from safetensors.numpy import load as load_tensors
    from safetensors.numpy import save as save_tensors

    description = json.loads((folder / "model.json").read_bytes())
    arrays = load_tensors((folder / "model.safetensors").read_bytes())
    weights = save_tensors({name: change(name, a) for name, a in arrays.items()}, {"format": "ilk"})
    (folder / "model.safetensors").write_bytes(weights)
    description["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "model.json").write_text(json.dumps(sign(description)))


def _write_diffusion_arrays(folder: Path, change: Callable[[str, Any], Any]) -> None:
    import torch

    from ilk.training import checkpoint

    arrays, metadata = checkpoint.load(folder / "diffusion.safetensors")
    metadata.pop(checkpoint.DIGEST_KEY)
    changed = {
        k: torch.from_numpy(np.array(change(k, v.numpy()), order="C")).clone()
        for k, v in arrays.items()
    }
    write, digest = checkpoint.prepare_arrays(changed, metadata)
    write(folder / "diffusion.safetensors")
    fields = json.loads((folder / "diffusion.json").read_bytes())
    (folder / "diffusion.json").write_text(json.dumps(sign({**fields, "arrays": digest})))
