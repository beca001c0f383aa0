"""Read class names as sets of ImageNet's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.vocabulary.wordnet import N_CLASSES, load_vocabulary

OUTSIDE = -1
MAX_SIMILAR = 2
SIMILARITY = 0.75  # of spellings, in [0, 1], for a name to be proposed


class UnknownClassNames(InputError):
    """Class names that are neither ImageNet's nor above one of them in WordNet.

    Attributes:
        names: The names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        described = " and ".join(map(_describe_unknown, names))
        super().__init__(
            f"{described} {'is' if len(names) == 1 else 'are'} neither among ImageNet's 1,000 "
            "classes nor above one of them in WordNet, so an image network cannot know "
            f"{'it' if len(names) == 1 else 'them'} by name"
        )


@dataclass(frozen=True)
class ClassNames:
    """Class names, and which class each ImageNet class counts for.

    Attributes:
        names: The class names.
        synsets: Ids of the synsets that each name stands for.
        class_of: Index into `names` for each ImageNet class, `[1000]`; -1 for none of them.
    """

    names: tuple[str, ...]
    synsets: tuple[tuple[str, ...], ...]
    class_of: Labels

    def describe_senses(self) -> list[str]:
        """Return a sentence for each name that was not, or not only, read in its usual sense."""
        sentences = (
            _describe_senses(name, ids) for name, ids in zip(self.names, self.synsets, strict=True)
        )
        return [sentence for sentence in sentences if sentence]


def read_class_names(names: Sequence[str]) -> ClassNames:
    """Return the ImageNet classes that `names` stand for.

    A name is one of the words of an ImageNet class or of a synset above some, see
    `Vocabulary.find`; with several senses it stands for all of them. An ImageNet class under
    several names counts for the name with the fewest ImageNet classes.

    Raises:
        UnknownClassNames: Names are not in the vocabulary.
        InputError: A name is empty, two names stand for the same ImageNet classes, or other names
            leave none to a name.
    """
    vocabulary = load_vocabulary()
    for name in names:
        if not name.strip():
            raise InputError("a class name is empty; write a word, such as cat")
    synsets = tuple(vocabulary.find(name) for name in names)
    if unknown := [name for name, ids in zip(names, synsets, strict=True) if not ids]:
        raise UnknownClassNames(unknown)
    leaves = [frozenset().union(*(vocabulary.leaves[i] for i in ids)) for ids in synsets]
    _check_distinct(names, leaves)
    class_of = np.full(N_CLASSES, OUTSIDE)
    for c in sorted(range(len(names)), key=lambda c: -len(leaves[c])):  # the specific ones last
        class_of[list(leaves[c])] = c
    for c, name in enumerate(names):
        if not (class_of == c).any():
            others = [names[i] for i in sorted(set(class_of[list(leaves[c])].tolist()))]
            raise InputError(
                f"every ImageNet class under {name} also counts for {' or '.join(others)}; leave "
                f"out {name}"
            )
    return ClassNames(tuple(names), synsets, class_of.astype(np.int64))


def _check_distinct(names: Sequence[str], leaves: Sequence[frozenset[int]]) -> None:
    first_names: dict[frozenset[int], str] = {}
    for name, indices in zip(names, leaves, strict=True):
        if (first := first_names.setdefault(indices, name)) is not name:
            raise InputError(
                f"{first} and {name} stand for the same ImageNet classes; give one of the two names"
            )


def _describe_senses(name: str, ids: Sequence[str]) -> str:
    """Return which senses of a name are meant, or "" for its usual sense alone."""
    vocabulary = load_vocabulary()
    labels = [vocabulary.format_name(i) for i in ids]
    if len(ids) > 1:
        text = f"{name} stands for {' and '.join(labels)}"
        choices = [label for label in labels if vocabulary.find(label) != tuple(ids)]
        return f"{text}; write {' or '.join(choices)} for one of them" if choices else text
    synset = vocabulary.synsets[ids[0]]
    if ids[0] == name.strip() or "(" in name or synset.sense_of(name) == 1:
        return ""
    above = vocabulary.synsets[synset.parents[0]].words[0] if synset.parents else "thing"
    also = f" ({', '.join(synset.words[1:3])})" if len(synset.words) > 1 else ""
    return f"{name} is read as {synset.words[0]}{also}, a kind of {above}"


def _describe_unknown(name: str) -> str:
    words = {
        word.casefold(): word
        for synset in load_vocabulary().synsets.values()
        for word in synset.words
    }
    similar = get_close_matches(name.strip().casefold(), words, MAX_SIMILAR, SIMILARITY)
    hint = f" (similar: {', '.join(words[word] for word in similar)})" if similar else ""
    return f"{name}{hint}"
