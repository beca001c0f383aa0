"""The synsets of ImageNet's 1,000 classes and all synsets above them in WordNet 3.0.

Christiane Fellbaum (ed.), 1998, WordNet: An Electronic Lexical Database; Olga Russakovsky et al.,
2015, ImageNet Large Scale Visual Recognition Challenge, arXiv 1409.0575. WordNet's licence is
beside the data, which `tools/vocabulary.py` makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

from ilk.vocabulary.spelling import list_keys, to_key

SYNSETS_FILE = "imagenet_synsets.tsv"
N_CLASSES = 1000


@dataclass(frozen=True)
class Synset:
    """A set of synonyms.

    Attributes:
        id: `n` and the offset in WordNet 3.0, such as n02084071.
        words: The synonyms, the usual one first.
        senses: For each word, the number of this sense among all senses of the word in WordNet, 1
            for the most frequent.
        parents: Ids of the synsets right above.
    """

    id: str
    words: tuple[str, ...]
    senses: tuple[int, ...]
    parents: tuple[str, ...]

    def sense_of(self, name: str) -> int:
        """Return the number of this sense of `name`, singular or plural; 0 if not called so."""
        keys = list_keys(name)
        pairs = zip(self.words, self.senses, strict=True)
        return next((sense for word, sense in pairs if to_key(word) in keys), 0)


@dataclass(frozen=True)
class Vocabulary:
    """Synsets in a hierarchy, the 1,000 classes first.

    Attributes:
        synsets: The synsets by id; the first `N_CLASSES` are the classes, in the order of the
            outputs of a network.
    """

    synsets: dict[str, Synset] = field(repr=False)

    @cached_property
    def class_ids(self) -> tuple[str, ...]:
        """Ids of the classes, in their order."""
        return tuple(self.synsets)[:N_CLASSES]

    @cached_property
    def leaves(self) -> dict[str, frozenset[int]]:
        """For each synset, the indices of the classes that are it or lie below it."""
        below: dict[str, set[int]] = {synset: set() for synset in self.synsets}
        for index, class_id in enumerate(self.class_ids):
            for synset in self.list_ancestors(class_id):
                below[synset].add(index)
        return {synset: frozenset(indices) for synset, indices in below.items()}

    @cached_property
    def ids_by_key(self) -> dict[str, tuple[str, ...]]:
        """Ids of the synsets that a word belongs to, by the key of the word; usual senses first."""
        found: dict[str, dict[str, int]] = {}
        for synset in self.synsets.values():
            for word, sense in zip(synset.words, synset.senses, strict=True):
                found.setdefault(to_key(word), {}).setdefault(synset.id, sense)
        return {key: tuple(sorted(ids, key=ids.__getitem__)) for key, ids in found.items()}

    def list_ancestors(self, synset_id: str) -> list[str]:
        """Return `synset_id` and all synsets above it, nearest first."""
        reached = [synset_id]
        for current in reached:
            reached += [p for p in self.synsets[current].parents if p not in reached]
        return reached

    def find(self, name: str) -> tuple[str, ...]:
        """Return the synsets that are called `name`, the most usual sense first.

        Args:
            name: A word in singular or plural, with any case, spaces, hyphens or underscores; an
                id; or a word and a word of a synset above it, such as `crane (bird)`.
        """
        if name.strip() in self.synsets:
            return (name.strip(),)
        word, parenthesis, rest = name.partition("(")
        if parenthesis and rest.rstrip().endswith(")"):
            qualifier = rest.rstrip()[:-1]
            return tuple(i for i in self.find(word) if self._is_kind_of(i, qualifier))
        for key in list_keys(name):
            if ids := self.ids_by_key.get(key):
                return ids
        return ()

    def _is_kind_of(self, synset_id: str, name: str) -> bool:
        return any(self.synsets[i].sense_of(name) for i in self.list_ancestors(synset_id))

    def format_name(self, synset_id: str) -> str:
        """Return the usual word of a synset; `crane (bird)` where it has several senses here.

        `find` of the result gives the synset alone, except where no synset above tells it from
        another sense of its word.
        """
        word = self.synsets[synset_id].words[0]
        others = set(self.ids_by_key[to_key(word)]) - {synset_id}
        if not others:
            return word
        above = self.list_ancestors(synset_id)[1:]
        for parent in [*self._prefer_short(above), *above]:
            qualifier = self.synsets[parent].words[0]
            if not any(self._is_kind_of(other, qualifier) for other in others):
                return f"{word} ({qualifier})"
        return word

    def _prefer_short(self, ids: Iterable[str]) -> list[str]:
        """Return the synsets whose usual word is one word in its most usual sense."""
        return [
            i
            for i in ids
            if " " not in self.synsets[i].words[0]
            and self.synsets[i].senses[0] == 1
            and len(self.leaves[i]) > 1
        ]


@cache
def load_vocabulary() -> Vocabulary:
    """Return the synsets of ImageNet's classes and of everything above them."""
    text = (files("ilk.vocabulary") / SYNSETS_FILE).read_text(encoding="utf-8")
    return Vocabulary({line.partition("\t")[0]: _parse_line(line) for line in text.splitlines()})


def _parse_line(line: str) -> Synset:
    synset_id, parents, words = line.split("\t")
    pairs = [word.partition("#") for word in words.split(", ")]
    return Synset(
        synset_id,
        tuple(word for word, _, _ in pairs),
        tuple(int(sense or 1) for _, _, sense in pairs),
        tuple(parents.split()),
    )
