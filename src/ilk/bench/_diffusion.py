"""What the benchmarks of diffusion models share: pictures, splits, pretrained networks, figures.

Pretrained networks and finished parts are kept in a folder (`ILK_TRIALS`, else `.ilk-trials`), so
that a benchmark that was stopped goes on from there. To measure anew, throw the folder away.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ilk.artefact import json_bytes, write_file
from ilk.bench import shared
from ilk.diffusion import saved
from ilk.diffusion.contract import unit
from ilk.diffusion.denoiser import Denoiser
from ilk.diffusion.noise import LogNormal
from ilk.diffusion.plans import options
from ilk.diffusion.pretrain import Plan, planned, pretrain
from ilk.encode import cores
from ilk.progress import told
from ilk.training.loop import Batch, Machine, Recipe

HELD = 2_000  # Fashion-MNIST and CIFAR training images kept out, for choices
WEIGHTS = Path("bench", "weights")  # in bfloat16, of networks that took hours
TEST = 100  # test files of each class, the first by name
SHOES = (
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
class Pictures:
    """A data set in its parts.

    Attributes:
        train: What is learnt from.
        held: Training images that no network learns from; every choice is made on them.
        test: Scored once.
    """

    name: str
    classes: tuple[str, ...]
    train: Batch
    held: Batch
    test: Batch


def digits(seed: int, held: float = 0.0) -> Pictures:
    """scikit-learn's digits, 70/30; a share `held` of the 70 is kept for choices."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    told_ = load_digits()
    x = np.round(told_.images * (255 / 16)).astype(np.uint8)[:, None]
    rows = np.arange(len(x))
    train, test = train_test_split(rows, test_size=0.3, random_state=seed, stratify=told_.target)
    kept = train[:0]
    if held:
        train, kept = train_test_split(
            train, test_size=held, random_state=seed, stratify=told_.target[train]
        )

    def part(at: Any) -> Batch:
        return Batch(torch.from_numpy(x[at]), torch.from_numpy(told_.target[at].astype(np.int64)))

    return Pictures("digits", tuple(map(str, range(10))), part(train), part(kept), part(test))


def fashion() -> Pictures:
    """Fashion-MNIST: 58,000 to learn from, 2,000 for choices, 1,000 fixed test images."""
    archive = shared("data", "fashion_mnist", "fashion_mnist_png.tar.gz")
    return _split("fashion", SHOES, _archive(archive, "L"))


def cifar() -> Pictures:
    """CIFAR-10 recompressed as JPEG: 48,000 to learn from, 2,000 for choices, 1,000 to test."""
    found = _archive(shared("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz"), "RGB")
    return _split("cifar", tuple(sorted({c for _, c, _ in found})), found)


def _archive(path: Path, mode: str) -> list[tuple[str, str, Pixels]]:
    """Name, class and pixels `[c, h, w]` of every picture, by name."""
    kept = trials() / f"{path.name.partition('.')[0]}.npz"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path) as tar:
            files = sorted((m for m in tar if m.isfile()), key=lambda m: m.name)
            pictures = [m for m in files if m.name.endswith((".png", ".jpg"))]
            read = [np.asarray(_open(tar, m).convert(mode)) for m in pictures]
        np.savez(kept, names=[m.name for m in pictures], x=np.stack(read))
    held = np.load(kept)
    x = held["x"][:, None] if mode == "L" else held["x"].transpose(0, 3, 1, 2)
    return [(n, n.split("/")[-2], p) for n, p in zip(held["names"].tolist(), x, strict=True)]


def _open(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Image.Image:
    file = tar.extractfile(member)
    assert file is not None, "a file of the archive"
    return Image.open(io.BytesIO(file.read()))


def _split(name: str, classes: tuple[str, ...], found: list[tuple[str, str, Pixels]]) -> Pictures:
    at = {c: i for i, c in enumerate(sorted({c for _, c, _ in found}))}
    train = [row for row in found if "train/" in row[0]]
    test = [r for r in found if "test/" in r[0] and int(Path(r[0]).stem) < TEST]
    order = np.random.RandomState(0).permutation(len(train))

    def part(rows: Sequence[tuple[str, str, Pixels]]) -> Batch:
        x = torch.from_numpy(np.stack([r[2] for r in rows]))
        return Batch(x, torch.tensor([at[r[1]] for r in rows], dtype=torch.int64))

    kept, learnt = ([train[i] for i in rows] for rows in (order[:HELD], order[HELD:]))
    return Pictures(name, classes, part(learnt), part(kept), part(test))


def trials() -> Path:
    """Where pretrained networks of benchmarks are kept."""
    return Path(os.environ.get("ILK_TRIALS", ".ilk-trials"))


def kept(name: str, made: Callable[[], Any]) -> Any:
    """What `made` gives, from the folder of trials where it was made before."""
    path = trials() / f"{name}.json"
    if not path.exists():
        found = made()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json_bytes(found))
    return json.loads(path.read_text("utf-8"))


def machine() -> Machine:
    """The GPU where there is one, else the CPU; networks compute in bfloat16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Machine(device, "bfloat16")


def digits_plan(seed: int, steps: int = 300) -> Plan:
    """0.41 million weights, and 30 passes over the digits."""
    return Plan(Recipe(steps, 128, 4e-3, seed=seed), options=options("unet", 8))


def fashion_plan(seed: int, steps: int = 12_000) -> Plan:
    """2.41 million weights on patches of 4 x 4, and 26 passes."""
    return Plan(
        Recipe(steps, 128, 4e-3, warmup=200, seed=seed),
        options={"width": 128, "levels": [1], "blocks": 1, "patch": 4},
        noise=LogNormal(0.3, 1.0),
        every=250,
    )


def pretrained(pictures: Pictures, plan: Plan, name: str) -> Denoiser:
    """The network of `plan`: from `bench/weights`, where it was kept, or from the folder of trials;
    trained now where it is in neither."""
    if (WEIGHTS / name / saved.JSON).exists():
        return saved.load(WEIGHTS / name)
    torch.set_num_threads(cores())
    folder = trials() / name
    return pretrain(pictures.train, pictures.classes, plan, folder, machine(), told(every=60))


def untrained(pictures: Pictures, plan: Plan) -> Denoiser:
    """The network of `plan` with random weights, and none that start at zero: those would hand
    pictures through nearly as they are."""
    made = planned(pictures.train, pictures.classes, plan).make().eval()
    for module in made.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not bool(module.weight.any()):
            module.reset_parameters()
    return made


def clean(batch: Batch) -> torch.Tensor:
    """Images in [-1, 1]."""
    return unit(batch.x)


def accuracy(scores: Any, y: torch.Tensor) -> float:
    """Share of rows whose greatest score `[n, k]` is that of their label."""
    return float((torch.as_tensor(scores).argmax(1) == y).double().mean())


def first(batch: Batch, n: int) -> Batch:
    """`n` images, as many of each class as can be, by their order."""
    at = first_rows(batch, n)
    return Batch(batch.x[at], batch.y[at])


def first_rows(batch: Batch, n: int) -> torch.Tensor:
    """Where they stand."""
    return torch.cat([torch.nonzero(batch.y == c).flatten()[: -(-n // 10)] for c in range(10)])
