"""Shared by the benchmarks of diffusion models: data sets, splits, pretrained networks.

Pretrained networks and finished parts are cached in a folder (`ILK_TRIALS`, else `.ilk-trials`), so
that a stopped benchmark resumes from there. Delete the folder to measure anew.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from benchmarks.runner import shared_path
from ilk.core.atomic_write import write_atomically
from ilk.core.cores import count_cores
from ilk.core.errors import Unavailable
from ilk.core.plain_json import encode_json
from ilk.core.progress import terminal_progress
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.denoiser.noise_levels import LogNormal
from ilk.diffusion.denoiser.protocol import normalize_images
from ilk.diffusion.pretraining.presets import choose_options
from ilk.diffusion.pretraining.pretrain import PretrainConfig, make_spec, pretrain
from ilk.training.trainer import Batch, DeviceConfig, Recipe

N_HELD_OUT = 2_000  # validation images of Fashion-MNIST and CIFAR-10
WEIGHTS_DIR = (
    Path(__file__).parent / "weights"
)  # bfloat16 weights of networks that take hours to train
TEST_PER_CLASS = 100  # test files per class, the first by name
FASHION_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """A data set and its splits.

    Attributes:
        train: Training images.
        validation: Training images that no network is trained on; every choice is made on them.
        test: Scored once.
    """

    name: str
    classes: tuple[str, ...]
    train: Batch
    validation: Batch
    test: Batch


def load_digit_images(seed: int, validation_fraction: float = 0.0) -> ImageDataset:
    """Load scikit-learn's digits, 70/30; `validation_fraction` of the 70 is the validation part."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    rows = np.arange(len(x))
    train, test = train_test_split(rows, test_size=0.3, random_state=seed, stratify=bunch.target)
    validation = train[:0]
    if validation_fraction:
        train, validation = train_test_split(
            train, test_size=validation_fraction, random_state=seed, stratify=bunch.target[train]
        )

    def select(at: Any) -> Batch:
        return Batch(torch.from_numpy(x[at]), torch.from_numpy(bunch.target[at].astype(np.int64)))

    return ImageDataset(
        "digits", tuple(map(str, range(10))), select(train), select(validation), select(test)
    )


def load_fashion_images(first_test: int = 0) -> ImageDataset:
    """Load Fashion-MNIST: 58,000 training, 2,000 validation and 1,000 fixed test images.

    `first_test` is the number of the first test file of each class; 100 gives 1,000 other images.
    """
    archive = shared_path("data", "fashion_mnist", "fashion_mnist_png.tar.gz")
    return _split_files("fashion", FASHION_CLASSES, read_archive(archive, "L"), first_test)


def load_usps_images() -> ImageDataset:
    """Load USPS, 16 x 16: 6,291 training, 1,000 validation and 2,007 test images.

    Raises:
        Unavailable: The files or the package h5py are missing.
    """
    try:
        import h5py
    except ImportError:
        raise Unavailable("USPS is stored as HDF5; install h5py to read it") from None
    parts = {}
    with h5py.File(shared_path("data", "usps", "usps.h5")) as file:
        for name in ("train", "test"):
            x, y = np.asarray(file[name]["data"]), np.asarray(file[name]["target"])
            pixels = (x.reshape(-1, 1, 16, 16) * 255).round().clip(0, 255).astype(np.uint8)
            parts[name] = torch.from_numpy(pixels), torch.from_numpy(y.astype(np.int64))
    images, labels = parts["train"]
    order = np.random.RandomState(0).permutation(len(labels))
    train, validation = (Batch(images[r], labels[r]) for r in (order[1000:], order[:1000]))
    return ImageDataset(
        "usps", tuple(map(str, range(10))), train, validation, Batch(*parts["test"])
    )


def load_cifar_images() -> ImageDataset:
    """Load CIFAR-10, recompressed as JPEG: 48,000 training, 2,000 validation, 1,000 test images."""
    files = read_archive(shared_path("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz"), "RGB")
    return _split_files("cifar", tuple(sorted({c for _, c, _ in files})), files)


def read_archive(path: Path, mode: str) -> list[tuple[str, str, Pixels]]:
    """Return name, class and pixels `[c, h, w]` of every image, sorted by name."""
    cache_path = get_cache_dir() / f"{path.name.partition('.')[0]}.npz"
    if not cache_path.exists():
        cache_path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as tar:
            files = sorted((m for m in tar if m.isfile()), key=lambda m: m.name)
            image_files = [m for m in files if m.name.endswith((".png", ".jpg"))]
            pixels = [np.asarray(_open_member(tar, m).convert(mode)) for m in image_files]
        buffer = io.BytesIO()
        np.savez(buffer, names=[m.name for m in image_files], x=np.stack(pixels))
        write_atomically(cache_path, buffer.getvalue())
    arrays = np.load(cache_path)
    x = arrays["x"][:, None] if mode == "L" else arrays["x"].transpose(0, 3, 1, 2)
    return [(n, n.split("/")[-2], p) for n, p in zip(arrays["names"].tolist(), x, strict=True)]


def _open_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Image.Image:
    file = tar.extractfile(member)
    assert file is not None, "a file of the archive"
    return Image.open(io.BytesIO(file.read()))


def _split_files(
    name: str,
    classes: tuple[str, ...],
    files: list[tuple[str, str, Pixels]],
    first_test: int = 0,
) -> ImageDataset:
    class_index = {c: i for i, c in enumerate(sorted({c for _, c, _ in files}))}
    train = [row for row in files if "train/" in row[0]]
    numbers = range(first_test, first_test + TEST_PER_CLASS)
    test = [r for r in files if "test/" in r[0] and int(Path(r[0]).stem) in numbers]
    order = np.random.RandomState(0).permutation(len(train))

    def select(rows: Sequence[tuple[str, str, Pixels]]) -> Batch:
        x = torch.from_numpy(np.stack([r[2] for r in rows]))
        return Batch(x, torch.tensor([class_index[r[1]] for r in rows], dtype=torch.int64))

    validation, fitted = (
        [train[i] for i in rows] for rows in (order[:N_HELD_OUT], order[N_HELD_OUT:])
    )
    return ImageDataset(name, classes, select(fitted), select(validation), select(test))


def get_cache_dir() -> Path:
    """Return the folder where benchmarks cache networks and finished parts."""
    return Path(os.environ.get("ILK_TRIALS", ".ilk-trials"))


def load_or_compute(name: str, compute: Callable[[], Any]) -> Any:
    """Return the result of `compute`, from the cache if it is there."""
    path = get_cache_dir() / f"{name}.json"
    if not path.exists():
        result = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, encode_json(result))
    return json.loads(path.read_text("utf-8"))


def select_machine() -> DeviceConfig:
    """Return the GPU if there is one, else the CPU; networks compute in bfloat16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return DeviceConfig(device, "bfloat16")


def make_digits_config(seed: int, steps: int = 300) -> PretrainConfig:
    """Return a configuration with 0.41 million weights and 30 epochs over the digits."""
    return PretrainConfig(Recipe(steps, 128, 4e-3, seed=seed), options=choose_options("unet", 8))


def make_fashion_config(seed: int, steps: int = 12_000) -> PretrainConfig:
    """Return a configuration with 2.41 million weights on patches of 4 x 4 and 26 epochs."""
    return PretrainConfig(
        Recipe(steps, 128, 4e-3, warmup=200, seed=seed),
        options={"width": 128, "levels": [1], "blocks": 1, "patch": 4},
        noise=LogNormal(0.3, 1.0),
        checkpoint_every=250,
    )


def make_unlabelled_config(seed: int = 0, steps: int = 1_600) -> PretrainConfig:
    """Return a configuration with 0.80 million weights on patches of 4 x 4 and 3.5 epochs."""
    config = make_fashion_config(seed, steps)
    return replace(config, options={**config.options, "width": 64})


def make_usps_config(seed: int, steps: int = 300) -> PretrainConfig:
    """Return a configuration with 0.84 million weights on patches of 4 x 4 and 6 epochs."""
    return PretrainConfig(
        Recipe(steps, 128, 4e-3, warmup=30, seed=seed),
        options={"width": 72, "levels": [1], "blocks": 1, "patch": 4},
    )


def load_pretrained(dataset: ImageDataset, config: PretrainConfig, name: str) -> Denoiser:
    """Return the network of `config`: from `benchmarks/weights`, from the cache, or trained now."""
    if (WEIGHTS_DIR / name / saved.JSON).exists():
        return saved.load(WEIGHTS_DIR / name)
    torch.set_num_threads(count_cores())
    folder = get_cache_dir() / name
    return pretrain(
        dataset.train,
        dataset.classes,
        config,
        folder,
        select_machine(),
        terminal_progress(interval=60),
    )


def make_untrained(dataset: ImageDataset, config: PretrainConfig) -> Denoiser:
    """Return the network of `config` with random weights.

    Weights that are initialised to zero are random too: the network would otherwise be close to the
    identity.
    """
    network = make_spec(dataset.train, dataset.classes, config).build().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not bool(module.weight.any()):
            module.reset_parameters()
    return network


def scale_images(batch: Batch) -> torch.Tensor:
    """Scale images to [-1, 1]."""
    return normalize_images(batch.x)


def accuracy(scores: Any, y: torch.Tensor) -> float:
    """Return the fraction of rows whose largest score in `[n, k]` is that of their label."""
    return float((torch.as_tensor(scores).argmax(1) == y).double().mean())


def take_balanced(batch: Batch, n: int) -> Batch:
    """Return the first `n` images with the classes as balanced as possible."""
    rows = balanced_rows(batch, n)
    return Batch(batch.x[rows], batch.y[rows])


def draw_balanced(batch: Batch, n: int, seed: int) -> Batch:
    """Return `n` random images with the classes as balanced as possible, class after class."""
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    return take_balanced(Batch(batch.x[order], batch.y[order]), n)


def balanced_rows(batch: Batch, n: int) -> torch.Tensor:
    """Return the positions of these images."""
    return torch.cat([torch.nonzero(batch.y == c).flatten()[: -(-n // 10)] for c in range(10)])
