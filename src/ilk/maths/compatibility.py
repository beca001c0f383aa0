"""Compatibility of embeddings: can a newer version query an index of an older one?

Yantao Shen and others, 2020, Towards Backward-Compatible Representation Learning, arXiv 2003.11942.
C_ij is the retrieval accuracy of queries by version i in a gallery by version j, an image itself
left out. Version i is compatible with j < i if C_ij >= C_jj: new queries find at least as much in
the old index as old ones did.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.core.linear_models import normalize_rows

Matrix = NDArray[np.float64]
BLOCK = 512  # queries at a time


def measure_retrieval(query: Features, gallery: Features, y: Labels) -> Matrix:
    """Return the average precision at R of each image, `[n]`; nan where its class has one image.

    With R the number of other images of its class, the mean over ranks 1 to R of the precision at
    the rank where the image there is of its class, and of 0 elsewhere, by cosine similarity.

    Args:
        query: Embeddings of the images, as queries, `[n, e]`.
        gallery: Embeddings of the same images, as the gallery, `[n, e]`.
        y: Classes, `[n]`.

    Raises:
        InputError: If the shapes differ.
    """
    if np.shape(query) != np.shape(gallery) or len(query) != len(y):
        raise InputError(
            f"embeddings have shapes {np.shape(query)} and {np.shape(gallery)}, labels {len(y)}; "
            "give the same images to both versions, which must have the same width"
        )
    left, right = normalize_rows(query), normalize_rows(gallery)
    relevant = np.bincount(y)[y] - 1
    out = np.full(len(y), np.nan)
    top = int(relevant.max(initial=0))
    if top < 1:
        return out
    for start in range(0, len(y), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(y)))
        similarity = left[rows] @ right.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        found = np.argpartition(-similarity, top - 1, axis=1)[:, :top]
        order = np.argsort(-np.take_along_axis(similarity, found, 1), axis=1, kind="stable")
        hit = y[np.take_along_axis(found, order, 1)] == y[rows, None]
        rank = np.arange(1, top + 1)
        counted = hit & (rank <= relevant[rows, None])
        precision = np.cumsum(hit, 1) / rank
        with np.errstate(invalid="ignore"):
            out[rows] = (precision * counted).sum(1) / np.where(relevant > 0, relevant, np.nan)[
                rows
            ]
    return out


def measure_compatibility(versions: Sequence[Features], y: Labels) -> Matrix:
    """Return C `[v, v]`: mean average precision at R of version i's queries in version j's index.

    Args:
        versions: Embeddings of the same images by each version, `[n, e]` each.
        y: Classes, `[n]`.
    """
    return np.array(
        [
            [np.nanmean(measure_retrieval(query, gallery, y)) for gallery in versions]
            for query in versions
        ]
    )


def fit_rotation(new: Features, old: Features) -> Matrix:
    """Return the orthogonal `[e, e]` that brings unit rows `new [n, e]` nearest to `old [n, e]`.

    Peter Schönemann, 1966, A generalized solution of the orthogonal Procrustes problem,
    doi:10.1007/BF02289451.
    """
    left, _, right = np.linalg.svd(normalize_rows(new).T @ normalize_rows(old))
    return np.asarray(left @ right)
