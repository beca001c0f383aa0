"""Name a group of images by the probabilities of ImageNet's classes.

Jia Deng, Jonathan Krause, Alexander C. Berg, Li Fei-Fei, 2012, Hedging Your Bets: Optimizing
Accuracy-Specificity Trade-offs in Large Scale Visual Recognition, doi:10.1109/CVPR.2012.6248086:
the probability of a synset is the sum over the classes below it; of the synsets that are probable
enough, the answer is the one of the highest expected information, p log(1000 / classes below it).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ilk.core.metrics import Probabilities
from ilk.vocabulary.wordnet import N_CLASSES, Vocabulary, load_vocabulary

MIN_PROBABILITY = 0.5
MAX_CLASSES = 250  # a synset above more of the 1,000 classes, such as "artifact", names nothing


@dataclass(frozen=True)
class NameSuggestion:
    """A name for a group of images.

    Attributes:
        name: A word, which `Vocabulary.find` finds.
        synset: Id of its synset.
        probability: Mean probability over the images that they show it, in [0, 1].
    """

    name: str
    synset: str
    probability: float


def suggest_name(
    probabilities: Probabilities, known_names: Sequence[str] = ()
) -> NameSuggestion | None:
    """Return the name that covers at least half of the probability and tells most.

    Args:
        probabilities: Probabilities of ImageNet's classes, `[n, 1000]`, for the images of a group.
        known_names: Names of classes that exist. They and what lies above them are not an answer
            unless what is known is left out; what lies below them is.

    Returns:
        None if no name covers enough.
    """
    if not len(probabilities):
        return None
    vocabulary = load_vocabulary()
    mean = probabilities.mean(0)
    known = {i for name in known_names for i in vocabulary.find(name)}
    known_leaves = {leaf for i in known for leaf in vocabulary.leaves[i]}
    known_leaf_sets = {vocabulary.leaves[i] for i in known}
    best, best_information = None, 0.0
    for synset, leaves in vocabulary.leaves.items():
        if leaves in known_leaf_sets or len(leaves) > MAX_CLASSES:
            continue
        probability = _sum(mean, leaves if leaves <= known_leaves else leaves - known_leaves)
        information = probability * math.log(N_CLASSES / len(leaves))
        if probability >= MIN_PROBABILITY and information > best_information:
            best, best_information = (synset, probability), information
    if best is None:
        return None
    synset = _prefer_usual_word(vocabulary, best[0])
    return NameSuggestion(vocabulary.format_name(synset), synset, best[1])


def _sum(mean: Probabilities, leaves: Collection[int]) -> float:
    return float(mean[list(leaves)].sum()) if leaves else 0.0


def _prefer_usual_word(vocabulary: Vocabulary, synset: str) -> str:
    """Return the nearest synset above with the same classes whose word is in its usual sense.

    ImageNet's horse is called sorrel, a plant in its usual sense; the word above it is better.
    """
    for above in vocabulary.list_ancestors(synset):
        is_same = vocabulary.leaves[above] == vocabulary.leaves[synset]
        if is_same and vocabulary.synsets[above].senses[0] == 1:
            return above
    return synset
