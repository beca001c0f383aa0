"""Sentences as word numbers: a pool of definitions and film reviews, a target of reviews.

Definitions are the glosses of WordNet, reviews the sentences of rt_polarity.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared_files import read_bytes

UNKNOWN, END = 0, 1  # words outside the vocabulary; begin and end of a sentence
MAX_WORDS = 20
Sentence = NDArray[np.int64]  # word numbers, END at both ends


@dataclass(frozen=True, eq=False)
class TextTask:
    """One draw of the data.

    Attributes:
        pool: Sentences to select from.
        is_review: Which of them are reviews, `[n]`.
        guide: Reviews that say what the target is.
        test: Reviews that losses are measured on.
        n_words: Size of the vocabulary, the two special words included.
    """

    pool: list[Sentence]
    is_review: NDArray[np.bool_]
    guide: list[Sentence]
    test: list[Sentence]
    n_words: int


@cache
def read_sentences() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return definitions and reviews, in the order of their files, each once."""
    text = gzip.decompress(read_bytes("wordnet_text", "imagenet_synset_to_definition.txt.gz"))
    lines = text.decode("utf-8", "replace").splitlines()
    glosses = [line.split(maxsplit=1)[1] for line in lines if len(line.split(maxsplit=1)) == 2]
    reviews = [
        line
        for part in ("rt-polarity.neg", "rt-polarity.pos")
        for line in read_bytes("rt_polarity", part).decode("latin-1").splitlines()
    ]
    return tuple(dict.fromkeys(glosses)), tuple(dict.fromkeys(reviews))


def draw_task(seed: int, sizes: tuple[int, int, int, int], n_words: int) -> TextTask:
    """Draw a task.

    Args:
        seed: Seed of the draw.
        sizes: Definitions and reviews of the pool, reviews of the guide, reviews of the test.
        n_words: Size of the vocabulary, which is that of the pool's most frequent words.
    """
    rng = np.random.default_rng(seed)
    glosses, reviews = read_sentences()
    n_glosses, n_reviews, n_guide, n_test = sizes
    places = rng.permutation(len(reviews))[: n_reviews + n_guide + n_test]
    own = [reviews[i] for i in places]
    pool = [glosses[i] for i in rng.permutation(len(glosses))[:n_glosses]] + own[:n_reviews]
    order = rng.permutation(len(pool))
    counts = Counter(word for text in pool for word in split_words(text))
    words = [word for word, _ in sorted(counts.items(), key=lambda p: (-p[1], p[0]))]
    number = {word: i + 2 for i, word in enumerate(words[: n_words - 2])}

    def encode(texts: Sequence[str]) -> list[Sentence]:
        return [
            np.array([END, *(number.get(w, UNKNOWN) for w in split_words(t)), END]) for t in texts
        ]

    encoded = encode(pool)
    return TextTask(
        [encoded[i] for i in order],
        order >= n_glosses,
        encode(own[n_reviews : n_reviews + n_guide]),
        encode(own[n_reviews + n_guide :]),
        n_words,
    )


def split_words(text: str) -> list[str]:
    """Return the first `MAX_WORDS` words of a sentence, in lower case, without punctuation."""
    return re.findall(r"[a-z]+", text.lower())[:MAX_WORDS]
