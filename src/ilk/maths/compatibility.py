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
from ilk.maths.retrieval import mean_known, score_similarities

Matrix = NDArray[np.float64]
BLOCK = 512  # queries at a time


def measure_retrieval(query: Features, gallery: Features, y: Labels) -> Matrix:
    """Return the average precision at R of each image, `[n]`; nan where its class has one image.

    It is that of `ilk.maths.retrieval`, by cosine similarity, with the image itself left out.

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
    out = np.empty(len(y))
    for start in range(0, len(y), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(y)))
        similarity, relevant = left[rows] @ right.T, y[rows, None] == y
        similarity[np.arange(len(rows)), rows] = -np.inf
        relevant[np.arange(len(rows)), rows] = False
        out[rows] = score_similarities(similarity, relevant).ap_at_r
    return out


def measure_compatibility(versions: Sequence[Features], y: Labels) -> Matrix:
    """Return C `[v, v]`: mean average precision at R of version i's queries in version j's index.

    Args:
        versions: Embeddings of the same images by each version, `[n, e]` each.
        y: Classes, `[n]`.
    """
    return np.array(
        [
            [mean_known(measure_retrieval(query, gallery, y)) for gallery in versions]
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
