"""The words of ImageNet's classes and what lies above them, in facts that anyone can check."""

from importlib.resources import files

import pytest

from ilk.vocabulary.spelling import list_keys, to_key
from ilk.vocabulary.wordnet import N_CLASSES, load_vocabulary

VOCABULARY = load_vocabulary()


@pytest.mark.parametrize(
    ("index", "word"),
    [  # indices that every table of ImageNet's classes agrees on
        (0, "tench"),
        (1, "goldfish"),
        (134, "crane"),
        (207, "golden retriever"),
        (281, "tabby"),
        (285, "Egyptian cat"),
        (340, "zebra"),
        (386, "African elephant"),
        (402, "acoustic guitar"),
        (517, "crane"),
        (673, "mouse"),
        (817, "sports car"),
        (951, "lemon"),
        (999, "toilet tissue"),
    ],
)
def test_classes_are_in_the_order_of_the_networks_outputs(index, word):
    assert VOCABULARY.synsets[VOCABULARY.class_ids[index]].words[0] == word


@pytest.mark.parametrize(
    ("name", "n_classes"),  # 118 dogs, 59 birds: as in the papers about ImageNet
    [("dog", 118), ("bird", 59), ("vehicle", 67), ("musical instrument", 26), ("entity", 1000)],
)
def test_a_word_above_covers_all_classes_below_it(name, n_classes):
    (synset,) = VOCABULARY.find(name)
    assert len(VOCABULARY.leaves[synset]) == n_classes


def test_the_dogs_are_the_classes_151_to_268():
    (dog,) = VOCABULARY.find("dog")
    assert VOCABULARY.leaves[dog] == frozenset(range(151, 269))


def test_every_synset_leads_to_the_top_and_covers_a_class():
    assert len(VOCABULARY.class_ids) == N_CLASSES == len(set(VOCABULARY.class_ids))
    (top,) = VOCABULARY.find("entity")
    for synset in VOCABULARY.synsets:
        assert VOCABULARY.list_ancestors(synset)[-1] == top or top in VOCABULARY.list_ancestors(
            synset
        )
        assert VOCABULARY.leaves[synset]


@pytest.mark.parametrize(
    ("spelling", "word"),
    [
        ("Dogs", "dog"),
        ("sports_car", "sports car"),
        ("SPORTS-CARS", "sports car"),
        ("icecream", "ice cream"),
        ("geese", "goose"),
        ("mice", "mouse"),
        ("wolves", "wolf"),
        ("strawberries", "strawberry"),
        ("buses", "bus"),
        ("boxes", "box"),
        ("automobiles", "motorcar"),
        ("domestic dog", "dog"),
        ("n02084071", "dog"),
    ],
)
def test_a_name_is_found_in_any_spelling(spelling, word):
    assert set(VOCABULARY.find(spelling)) == set(VOCABULARY.find(word)) != set()


@pytest.mark.parametrize("name", ["giraffe", "deer", "", "s", "()", "(bird)", "n00000000", "🐕"])
def test_other_names_are_not_found(name):
    assert VOCABULARY.find(name) == ()


def test_accents_and_punctuation_do_not_count():
    assert to_key("Crème-Brûlée, 2") == "cremebrulee2"


def test_a_word_that_ends_in_s_is_not_cut_where_it_is_listed():
    assert list_keys("bus")[0] == "bus"
    assert [VOCABULARY.synsets[i].words[0] for i in VOCABULARY.find("minibus")] == ["minibus"]


def test_a_sense_is_chosen_by_what_lies_above_it():
    both = VOCABULARY.find("crane")
    bird, device = VOCABULARY.find("crane (bird)"), VOCABULARY.find("Cranes (devices)")
    assert {*bird, *device} == set(both)
    assert (VOCABULARY.class_ids[134],) == bird
    assert (VOCABULARY.class_ids[517],) == device
    assert VOCABULARY.find("crane (cat)") == ()


def test_what_is_suggested_as_a_name_is_found_again():
    one_of_several = 0
    for synset in VOCABULARY.synsets:
        found = VOCABULARY.find(VOCABULARY.format_name(synset))
        assert synset in found
        one_of_several += len(found) > 1
    assert one_of_several < 0.02 * len(VOCABULARY.synsets)


def test_wordnets_licence_is_beside_its_data():
    text = (files("ilk.vocabulary") / "LICENSE-WordNet.txt").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University." in text
    assert "Permission to use, copy, modify and distribute" in text
