"""The name of a group: specific where its images agree, general where they do not."""

import numpy as np
import pytest

from ilk.vocabulary.group_names import suggest_name
from ilk.vocabulary.wordnet import load_vocabulary

DOGS = list(range(151, 269))
BEAGLE, TABBY, LION, LEMON = 162, 281, 291, 951


def spread(classes, n=8, noise=0.1):
    """Probabilities of n images, each of one of the classes in turn."""
    p = np.full((n, 1000), noise / 1000)
    p[np.arange(n), np.resize(classes, n)] += 1 - noise
    return p


def test_one_class_gets_its_own_name():
    name = suggest_name(spread([BEAGLE]))
    assert name.name == "beagle"
    assert name.probability == pytest.approx(0.9, abs=0.001)


def test_many_breeds_are_dogs():
    name = suggest_name(spread(DOGS, n=118))
    assert name.name == "dog"
    assert name.probability == pytest.approx(0.9 + 0.1 * 118 / 1000, abs=1e-6)


def test_nothing_is_suggested_where_the_images_have_nothing_in_common():
    assert suggest_name(np.full((5, 1000), 1e-3)) is None
    assert suggest_name(spread([BEAGLE, LEMON, 402, 817])) is None
    assert suggest_name(np.zeros((0, 1000))) is None


def test_a_known_class_is_not_suggested_but_a_kind_of_it_is():
    assert suggest_name(spread(DOGS, n=118, noise=0), ["dog"]).name == "hunting dog"
    assert suggest_name(spread([BEAGLE]), ["dog"]).name == "beagle"
    assert suggest_name(spread([BEAGLE]), ["beagle"]) is None


def test_what_lies_above_a_known_class_counts_without_it():
    """With dogs known, "carnivore" has the probability of the cats alone."""
    mostly_dogs = np.concatenate([spread(DOGS, n=118, noise=0), spread([LION], n=80, noise=0)])
    name = suggest_name(mostly_dogs)
    assert (name.name, name.probability) == ("carnivore", pytest.approx(1))
    assert suggest_name(mostly_dogs, ["dog"]) is None
    mostly_cats = np.concatenate(
        [spread(DOGS, n=118, noise=0), spread([TABBY, LION], 182, noise=0)]
    )
    name = suggest_name(mostly_cats, ["dog"])
    assert (name.name, name.probability) == ("feline", pytest.approx(182 / 300))


def test_the_answer_maximizes_expected_information():
    """A second derivation: an explicit search with sets of ancestors."""
    rng = np.random.default_rng(0)
    vocabulary = load_vocabulary()
    for _ in range(5):
        p = rng.dirichlet(np.full(1000, 0.002), 3)
        best = (0.0, None)
        sums = dict.fromkeys(vocabulary.synsets, 0.0)
        counts = dict.fromkeys(vocabulary.synsets, 0)
        for index, class_id in enumerate(vocabulary.class_ids):
            for above in set(vocabulary.list_ancestors(class_id)):
                sums[above] += p[:, index].mean()
                counts[above] += 1
        for synset, mass in sums.items():
            if mass >= 0.5 and counts[synset] <= 250:
                best = max(best, (mass * (np.log(1000) - np.log(counts[synset])), synset))
        name = suggest_name(p)
        if best[1] is None:
            assert name is None
        else:
            assert vocabulary.leaves[name.synset] == vocabulary.leaves[best[1]]
            assert name.probability == pytest.approx(sums[best[1]])


def test_a_class_with_an_odd_word_takes_that_of_its_only_parent():
    assert load_vocabulary().synsets[load_vocabulary().class_ids[339]].words[0] == "sorrel"
    assert suggest_name(spread([339])).name == "horse"
