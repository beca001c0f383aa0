"""The data sets of the benchmark: features and classes."""

from __future__ import annotations

import tarfile

import numpy as np

from benchmarks.runner import shared_path
from ilk.core.data import Features, Labels

CHARACTERS = 50  # of Omniglot


def read_digits() -> tuple[Features, Labels]:
    """Read 1,797 digits as 64 pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


def embed_photos(per_class: int = 200) -> tuple[Features, Labels]:
    """Return 1,280 features of the first test images of each class of cifar10_jpeg."""
    from ilk.encoders import resolve_encoder
    from ilk.images import decode

    encoder = resolve_encoder(f"local-dir:{shared_path('weights', 'mobilenetv2_100.imagenet')}")
    encoder.load()
    names: list[str] = []
    features, batch = [], []
    with tarfile.open(shared_path("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz")) as archive:
        for member in archive:
            part, _, rest = member.name.partition("/")
            name = rest.partition("/")[0]
            if part != "test" or not member.isfile() or names.count(name) >= per_class:
                continue
            file = archive.extractfile(member)
            assert file is not None  # a plain file always opens
            names.append(name)
            batch.append(encoder.prepare(decode(file.read())))
            if len(batch) == encoder.batch_size:
                features.append(encoder.embed(np.stack(batch)))
                batch = []
    if batch:
        features.append(encoder.embed(np.stack(batch)))
    return np.concatenate(features), np.unique(names, return_inverse=True)[1]


def embed_drawings() -> tuple[Features, Labels]:
    """Return 1,280 features of the drawings of `CHARACTERS` random characters of Omniglot."""
    import zipfile

    from ilk.encoders import resolve_encoder
    from ilk.images import decode

    path = shared_path("data", "omniglot_small", "images_background_small2.zip")
    encoder = resolve_encoder("efficientnet-lite0")
    encoder.load()
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png") and "MACOSX" not in n)
        characters = np.array([n.rpartition("/")[0] for n in names])
        kept = np.random.default_rng(0).permutation(np.unique(characters))[:CHARACTERS]
        chosen = [n for n, c in zip(names, characters, strict=True) if c in kept]
        images = [encoder.prepare(decode(archive.read(n))) for n in chosen]
    step = encoder.batch_size
    x = [encoder.embed(np.stack(images[i : i + step])) for i in range(0, len(images), step)]
    of = np.array([n.rpartition("/")[0] for n in chosen])
    return np.concatenate(x), np.unique(of, return_inverse=True)[1]
