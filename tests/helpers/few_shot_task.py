"""A small few-shot task of Gaussian classes, for the transductive methods."""

import numpy as np

from ilk.core.data import Data


def task(seed=0, d=6, k=6, shots=4, present=(0, 1), queries=60, apart=1.6):
    """Some labelled rows of each class, and queries of a few classes: what to learn from, truth."""
    rng = np.random.default_rng(seed)
    means = apart * rng.standard_normal((k, d)) * np.sqrt(6 / d)
    y = np.repeat(np.arange(k), shots)
    truth = rng.choice(present, queries)
    x = means[np.append(y, truth)] + rng.standard_normal((len(y) + queries, d)) * np.sqrt(6 / d)
    names = tuple(f"kind {c}" for c in range(k))
    order = rng.permutation(len(x))
    told = np.append(y, np.full(queries, -1))
    whole = np.append(y, truth)[order]
    data = Data(x[order].astype(np.float32), told[order], names)
    return data, whole[data.y < 0]
