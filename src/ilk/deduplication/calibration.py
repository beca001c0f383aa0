"""Learn on the pictures of a folder what copies look like there, and what different pictures do.

Copies are made of a sample of its pictures (`ilk.deduplication.copies`): each with its original is
a pair of the same picture. Pairs of different pictures are the hard ones: a copy, or a picture,
with the pictures whose features are most similar besides its own. Logistic regression of the
measures of a pair (`ilk.deduplication.judge`) gives the score, a logarithm of odds.

Some of the neighbours may be copies that the folder holds already. Those that are more likely
copies are taken out and the regression is fitted again; the threshold does not rest on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds
from ilk.core.progress import Advance
from ilk.deduplication.alignment import align
from ilk.deduplication.copies import COPIES, make_copy
from ilk.deduplication.judge import Judge, Measures, measure
from ilk.deduplication.picture import FINE_SIDE, Picture, reduce_picture
from ilk.deduplication.score import fit_score
from ilk.maths.nearest_rows import find_nearest_rows, to_unit

N_ORIGINALS = 60
N_NEIGHBOURS = 2  # different pictures per copy and per picture
MISSED = 0.02  # share of copies whose features may be less similar than those of any candidate
N_ROUNDS = 5
N_RANDOM = 200_000  # random pairs


@dataclass(frozen=True, eq=False)
class Calibration:
    """What copies and different pictures look like in a folder.

    Attributes:
        centre: Of the measures, `[5]`.
        scale: Of the measures, `[5]`.
        weight: Of the standardized measures, `[5]`.
        bias: Of the score.
        kinds: Kind of each made copy, `[c]`.
        copies: Scores of the copies with their originals, `[c]`.
        cosines: Similarity of their features, `[c]`.
        ranks: Number of pictures with features more similar to a copy's than its original's, `[c]`.
        different: Scores of pairs of different pictures, `[m]`.
        min_cosine: Similarity of features from which on a pair is looked at.
        per_million: Random pairs in a million that are at least as similar.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: float
    kinds: tuple[str, ...]
    copies: NDArray[np.float64]
    cosines: NDArray[np.float64]
    ranks: NDArray[np.int64]
    different: NDArray[np.float64]
    min_cosine: float
    per_million: float

    def score(self, measures: Measures) -> NDArray[np.float64]:
        """Return the logarithm of the odds that pairs `[m, 5]` are copies, `[m]`."""
        return np.asarray((measures - self.centre) / self.scale @ self.weight + self.bias)


def count_copies(n: int) -> int:
    """Return the number of copies that are made of `n` pictures."""
    return min(n, N_ORIGINALS) * len(COPIES)


def calibrate(
    judge: Judge, encoder: Embeds, rng: np.random.Generator, advance: Advance = lambda _n: None
) -> Calibration | None:
    """Return what copies look like; None if no picture can be read.

    Args:
        judge: The pictures.
        encoder: Of their features.
        rng: Random numbers.
        advance: Called with the number of copies that are done.
    """
    n = len(judge.rows)
    originals = np.sort(rng.permutation(n)[:N_ORIGINALS])
    owner, kinds, reduced, x = _make_copies(judge, encoder, originals, rng, advance)
    if not len(owner):
        return None
    own = np.einsum("ij,ij->i", x, judge.x[owner]).astype(np.float64)
    found, similarity = find_nearest_rows(x, judge.x, min(n, N_NEIGHBOURS + 1))
    ranks = _count_nearer(x, judge.x, own)
    judge.load([*owner.tolist(), *found[found >= 0].tolist()])
    copies = measure(
        [
            align(picture, _get(judge, i))
            for picture, i in zip(reduced, owner.tolist(), strict=True)
        ],
        own.astype(np.float32),
    )
    queries, others, cosines = [], [], []
    for c in range(len(owner)):
        rivals = [k for k in range(found.shape[1]) if found[c, k] not in (-1, owner[c])]
        for k in rivals[: c % 2]:  # of every other copy, the nearest
            queries.append(reduced[c])
            others.append(int(found[c, k]))
            cosines.append(similarity[c, k])
    different = measure(
        [align(q, _get(judge, j)) for q, j in zip(queries, others, strict=True)],
        np.array(cosines, np.float32),
    )
    plain = _list_neighbours(judge, originals)
    judge.load(plain.ravel().tolist())
    different = np.concatenate([different, judge.compare(plain)[1]])
    if not len(different):  # a single picture
        different = copies - 4 * copies.std(0) - 1
    centre, scale, weight, bias, kept = _fit(copies, different)
    min_cosine = float(np.quantile(own, MISSED))
    draws = rng.integers(n, size=(N_RANDOM if n > 1 else 0, 2))
    draws = draws[draws[:, 0] != draws[:, 1]]
    random = _multiply(judge.x, draws)
    return Calibration(
        centre,
        scale,
        weight,
        bias,
        kinds,
        (copies - centre) / scale @ weight + bias,
        own,
        ranks,
        (different[kept] - centre) / scale @ weight + bias,
        min_cosine,
        1e6 * float(np.mean(random >= min_cosine)) if len(random) else 0.0,
    )


def _get(judge: Judge, position: int) -> Picture:
    picture = judge.get_picture(position)
    return Picture(np.zeros((FINE_SIDE, FINE_SIDE), np.uint8)) if picture is None else picture


def _make_copies(
    judge: Judge,
    encoder: Embeds,
    originals: NDArray[np.int64],
    rng: np.random.Generator,
    advance: Advance,
) -> tuple[NDArray[np.int64], tuple[str, ...], list[Picture], NDArray[np.float32]]:
    """Return owner `[c]`, kind, reduced picture and features `[c, d]` of copies."""
    owner, kinds, reduced, features = [], [], [], []
    for i in originals.tolist():
        image = judge.decode(i)
        if image is None:
            continue
        made = [make_copy(kind, image, rng) for kind in COPIES]
        owner += [i] * len(made)
        kinds += list(COPIES)
        reduced += [Picture(reduce_picture(copy)) for copy in made]
        features.append(encoder.embed(np.stack([encoder.prepare(copy) for copy in made])))
        advance(len(made))
    x = np.concatenate(features) if features else np.zeros((0, judge.x.shape[1]), np.float32)
    return np.array(owner, np.int64), tuple(kinds), reduced, to_unit(x - judge.mean)


def _list_neighbours(judge: Judge, originals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs `[m, 2]` of pictures and those whose features are most similar, each once."""
    found, _ = find_nearest_rows(judge.x[originals], judge.x, N_NEIGHBOURS, own=originals)
    pairs = np.column_stack([np.repeat(originals, N_NEIGHBOURS), found.ravel()])
    return np.unique(np.sort(pairs[pairs[:, 1] >= 0], axis=1), axis=0)


def _count_nearer(
    x: NDArray[np.float32], rows: NDArray[np.float32], own: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many rows are clearly more similar to each of `x` than `own`, `[c]`."""
    count = np.zeros(len(x), np.int64)
    for start in range(0, len(rows), 8192):
        count += (x @ rows[start : start + 8192].T > own[:, None] + 1e-5).sum(1)
    return count


def _multiply(x: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    out = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), 4096):
        i, j = pairs[start : start + 4096].T
        out[start : start + 4096] = np.einsum("ij,ij->i", x[i], x[j])
    return out


def _fit(
    copies: Measures, different: Measures
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, NDArray[np.bool_]]:
    """Return centre, scale, weight and bias of the score, and which different pairs were used."""
    kept = np.ones(len(different), bool)
    both = np.concatenate([copies, different])
    centre, scale = both.mean(0), np.maximum(both.std(0), 1e-6)
    for _ in range(N_ROUNDS):
        weight, bias = fit_score((copies - centre) / scale, (different[kept] - centre) / scale)
        new = (different - centre) / scale @ weight + bias < 0
        if (new == kept).all() or new.sum() < len(kept) / 2:
            break
        kept = new
    return centre, scale, weight, bias, kept
