"""Real sets as features, for the benchmarks of methods that read features.

Photographs go through the ImageNet MobileNetV2 of the shared weights at 96 x 96 pixels (1,280
features; digits and letters stay pixels). Features are made once and kept in the folder of trials.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.bench import shared
from ilk.bench._diffusion import trials
from ilk.data import Data, Features, Labels
from ilk.errors import Unavailable

SIDE = 96  # pixels that photographs are shown to the network at
CHUNK = 64
TEN = tuple(map(str, range(10)))
Pixels = NDArray[np.uint8]


def digits() -> Data:
    """scikit-learn's 1,797 digits, 64 pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Data((x / 16).astype(np.float32), y, TEN)


def letters() -> Data:
    """UCI letter recognition: 20,000 rows of 16 numbers (shape statistics of printed letters)."""
    text = shared("data", "uci_tabular", "letter-recognition.data").read_text().splitlines()[1:]
    rows = [line.split(",") for line in text if line.strip()]
    names = tuple(sorted({row[0] for row in rows}))
    y = np.array([names.index(row[0]) for row in rows])
    return Data(np.array([row[1:] for row in rows], np.float32) / 15, y, names)


def pendigits() -> tuple[Data, Data]:
    """UCI pendigits: 7,494 rows to learn from and 3,498 of other writers, 16 pen coordinates."""
    return _table("pendigits.tra"), _table("pendigits.tes")


def _table(name: str) -> Data:
    rows = np.loadtxt(shared("data", "uci_tabular", name), delimiter=",")
    return Data((rows[:, :-1] / 100).astype(np.float32), rows[:, -1].astype(np.int64), TEN)


def mnist(part: str = "train") -> Data:
    """MNIST: 20,000 images to learn from or the official 10,000, 784 pixels in [0, 1]."""
    x, y = _kept(f"mnist-{part}", _mnist_train if part == "train" else _mnist_test)
    return Data(_flat(x), y, TEN)


def usps(part: str = "train") -> Data:
    """USPS digits brought to 28 x 28, 784 pixels in [0, 1]; needs the package h5py."""
    x, y = _kept(f"usps-{part}", lambda: _usps(part))
    return Data(_flat(x), y, TEN)


def mnist_m() -> Data:
    """2,000 coloured digits on photographs, as grey 28 x 28, 784 pixels in [0, 1]."""
    x, y = _kept("mnist-m", _mnist_m)
    return Data(_flat(x), y, TEN)


def notmnist() -> Data:
    """10,000 letters A to J in many typefaces, 784 pixels in [0, 1]."""
    x = _idx(gzip.decompress(_bytes("notmnist_10k", "t10k-images-idx3-ubyte.gz")))
    y = _idx(gzip.decompress(_bytes("notmnist_10k", "t10k-labels-idx1-ubyte.gz")))
    return Data(_flat(x), y.astype(np.int64), tuple("ABCDEFGHIJ"))


def fashion(part: str = "train") -> Data:
    """Fashion-MNIST: 60,000 to learn from or 10,000 to test, 784 pixels in [0, 1]."""
    x, y = _fashion()[part]
    return Data(_flat(x), y, TEN)


def cifar(part: str = "train") -> Data:
    """CIFAR-10 recompressed as JPEG through MobileNetV2: 50,000 or 10,000 rows of 1,280.

    Rows stand class after class; within a class in the order of the canonical set (`canonical`).
    """
    x, y = _kept(f"cifar-{part}-mobilenetv2", lambda: _cifar(part))
    return Data(x, y, CIFAR)


CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def human_labels(kind: str = "worse_label") -> Labels:
    """CIFAR-10N's labels of the rows of `cifar("train")`: what people said, `[50000]`.

    `kind`: aggre_label (9 % wrong), random_label1 … 3 (18 %), worse_label (40 %), clean_label.
    """
    held = np.load(shared("data", "cifar10n", "cifar10n_labels_derived.npz"))
    return held[kind].astype(np.int64)[canonical(held["clean_label"])]  # type: ignore[no-any-return]


def canonical(labels: NDArray[Any]) -> Labels:
    """Where row i of a set that stands class after class lies in canonical order, `[n]`."""
    return np.argsort(labels, kind="stable").astype(np.int64)


def verdicts() -> tuple[Labels, Labels]:
    """Rows of `cifar("test")` that people looked at as suspected label errors, and what they found.

    Returns:
        rows `[275]`, and 1 where more of five people chose another label or none than the given one
        or both, else 0: 37. (The published count of errors, 54, is of those whose label fewer than
        three people kept.)
    """
    held = shared("data", "cleanlab_label_errors", "cifar10_test_set_original_labels.npy")
    place = np.argsort(canonical(np.load(held)))  # canonical index -> row
    told = json.loads(_bytes("cleanlab_label_errors", "cifar10_mturk.json"))
    votes = [suspect["mturk"] for suspect in told]
    wrong = [v["guessed"] + v["neither"] > v["given"] + v["both"] for v in votes]
    return place[[suspect["id"] for suspect in told]], np.array(wrong, np.int64)


def pacs() -> Data:
    """PACS, 30 images of each of 7 classes in 4 styles, through MobileNetV2; domain is the style.

    Styles by number: 0 art painting, 1 cartoon, 2 photo, 3 sketch.
    """
    held = _kept("pacs-mobilenetv2", _pacs)
    return Data(held[0], held[1], PACS, domain=held[2])


PACS = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
STYLES = ("art_painting", "cartoon", "photo", "sketch")


def omniglot(part: int = 1) -> Data:
    """Handwritten characters of small set 1 (136) or 2 (156), 20 drawings each, 28 x 28 pixels.

    Ink is 1, paper 0; `domain` is the alphabet.
    """
    x, y, alphabet = _kept(f"omniglot-{part}", lambda: _omniglot(part))
    return Data(_flat(x), y, tuple(f"character {c}" for c in range(y.max() + 1)), domain=alphabet)


def features(images: Sequence[Image.Image] | Pixels, side: int = SIDE) -> Features:
    """Images (or `[n, h, w]`, `[n, h, w, 3]`) through MobileNetV2 at `side` pixels, `[n, 1280]`."""
    import torch

    network = _mobilenet()
    rows = []
    for at in range(0, len(images), CHUNK):
        part = [_picture(image, side) for image in images[at : at + CHUNK]]
        batch = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            rows.append(network(batch.div(127.5).sub(1)).numpy())
    return np.concatenate(rows)


def _picture(image: Image.Image | Pixels, side: int) -> Pixels:
    made = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.asarray(made.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


@cache
def _mobilenet() -> Any:
    """The network as timm builds it; its statistics are 0.5 and 0.5, as its config says."""
    from ilk.encoders.timm_family import open_folder

    held = open_folder(str(shared("weights", "mobilenetv2_100.imagenet")))
    assert held.preprocess.mean == (0.5, 0.5, 0.5) == held.preprocess.std, "as `features` scales"
    return held.network().eval()


def _kept(name: str, made: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    path = trials() / "sets" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, *made())
    held = np.load(path)
    return tuple(held[f"arr_{i}"] for i in range(len(held.files)))


def _flat(x: Pixels) -> Features:
    return (x.reshape(len(x), -1) / np.float32(255)).astype(np.float32)


def _bytes(*parts: str) -> bytes:
    return shared("data", *parts).read_bytes()


def _idx(raw: bytes) -> Pixels:
    """An array in MNIST's own format: bytes, after a head that tells its shape."""
    axes = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _members(*parts: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file of an archive, by name."""
    with tarfile.open(shared("data", *parts)) as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            file = archive.extractfile(member)
            assert file is not None, "a plain file always opens"
            yield member.name, file.read()


def _open(raw: bytes, mode: str) -> Image.Image:
    return Image.open(io.BytesIO(raw)).convert(mode)


def _mnist_train() -> tuple[Pixels, Labels]:
    found = [
        (np.asarray(_open(raw, "L")), int(name.split("/")[1]))
        for name, raw in _members("mnist", "mnist_train_20k_png.tar.gz")
        if name.endswith(".png")
    ]
    return np.stack([x for x, _ in found]), np.array([y for _, y in found])


def _mnist_test() -> tuple[Pixels, Labels]:
    x = _idx(gzip.decompress(_bytes("mnist", "t10k-images-idx3-ubyte.gz")))
    return x, _idx(_bytes("mnist", "t10k-labels-idx1-ubyte")).astype(np.int64)


def _usps(part: str) -> tuple[Pixels, Labels]:
    try:
        import h5py
    except ImportError:
        raise Unavailable("USPS is stored as HDF5; install h5py to read it") from None
    with h5py.File(shared("data", "usps", "usps.h5")) as held:
        x, y = np.asarray(held[part]["data"]), np.asarray(held[part]["target"])
    grey = (x.reshape(-1, 16, 16) * 255).round().astype(np.uint8)
    grown = [
        np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR))
        for image in grey
    ]
    return np.stack(grown), y.astype(np.int64)


def _mnist_m() -> tuple[Pixels, Labels]:
    images, labels = {}, {}
    for name, raw in _members("mnist_m_2k", "mnist_m_2k.tar.gz"):
        if name.endswith(".png"):
            images[name.rpartition("/")[2]] = np.asarray(_open(raw, "L").resize((28, 28)))
        elif name.endswith(".txt"):
            labels = dict(line.split() for line in raw.decode().splitlines() if line.strip())
    both = [name for name in images if name in labels]
    return np.stack([images[n] for n in both]), np.array([int(labels[n]) for n in both])


@cache
def _fashion() -> dict[str, tuple[Pixels, Labels]]:
    held = _kept("fashion", _fashion_read)
    return {"train": (held[0], held[1]), "test": (held[2], held[3])}


def _fashion_read() -> tuple[NDArray[Any], ...]:
    rows: dict[str, list[tuple[Pixels, int]]] = {"train": [], "test": []}
    for name, raw in _members("fashion_mnist", "fashion_mnist_png.tar.gz"):
        if name.endswith(".png"):
            part, label = name.split("/")[-3:-1]
            rows[part].append((np.asarray(_open(raw, "L")), int(label)))
    parts = (rows["train"], rows["test"])
    return tuple(np.array([row[i] for row in part]) for part in parts for i in (0, 1))


def _cifar(part: str) -> tuple[Features, Labels]:
    names, images = [], []
    for name, raw in _members("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg") and f"{part}/" in name:
            names.append(CIFAR.index(name.split("/")[-2]))
            images.append(np.asarray(_open(raw, "RGB")))
    return features(np.stack(images)), np.array(names)


def _pacs() -> tuple[Features, Labels, Labels]:
    rows = [
        (STYLES.index(name.split("/")[-3]), PACS.index(name.split("/")[-2]), _open(raw, "RGB"))
        for name, raw in _members("pacs_subset", "pacs_subset.tar.gz")
        if name.endswith((".jpg", ".png"))
    ]
    x = features([image for _, _, image in rows], side=224)
    return x, np.array([y for _, y, _ in rows]), np.array([d for d, _, _ in rows])


def _omniglot(part: int) -> tuple[Pixels, Labels, Labels]:
    path = shared("data", "omniglot_small", f"images_background_small{part}.zip")
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        x = [255 - np.asarray(_open(archive.read(n), "L").resize((28, 28))) for n in names]
    characters, alphabets = ([n.split("/")[i] for n in names] for i in (2, 1))
    whole = [f"{a}/{c}" for a, c in zip(alphabets, characters, strict=True)]
    y, domain = (np.unique(v, return_inverse=True)[1] for v in (whole, alphabets))
    return np.stack(x), y.astype(np.int64), domain.astype(np.int64)
