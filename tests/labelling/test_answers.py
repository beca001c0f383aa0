"""What all events of a log amount to."""

from itertools import count

import pytest

from ilk.labelling.answers import Answers
from ilk.labelling.events import Event


@pytest.fixture
def tell():
    answers, numbers = Answers(), count(1)

    def apply(annotator, kind, digest="", label="", target=0):
        number = next(numbers)
        digests = (digest,) if digest else ()
        answers.apply(Event(number, "", annotator, kind, digests, label, target))
        return number

    apply.answers = answers
    return apply


def test_undo_brings_the_earlier_answer_back(tell):
    tell("a", "label", "1", "cat")
    second = tell("a", "label", "1", "dog")
    assert tell.answers.settle("1") == "dog"
    tell("a", "undo", target=second)
    assert tell.answers.settle("1") == "cat"
    assert tell.answers.classes == ["cat"]  # nobody names the other any more
    tell("a", "undo", target=second)  # taken back already
    assert tell.answers.settle("1") == "cat"
    assert tell.answers.count_answers("a") == 1


def test_nobody_undoes_the_answer_of_another(tell):
    mine = tell("a", "label", "1", "cat")
    tell("b", "undo", target=mine)
    assert tell.answers.settle("1") == "cat"


def test_annotators_who_differ_settle_nothing_until_it_is_resolved(tell):
    tell("a", "label", "1", "cat")
    tell("b", "label", "1", "dog")
    assert tell.answers.settle("1") is None
    (one,) = tell.answers.list_disagreements()
    assert one.labels == (("a", "cat"), ("b", "dog"))
    number = tell("chief", "resolve", "1", "dog")
    assert tell.answers.settle("1") == "dog"
    assert not tell.answers.list_disagreements()
    assert list(tell.answers.annotators) == ["a", "b"]  # resolving is not annotating
    tell("chief", "undo", target=number)
    assert tell.answers.settle("1") is None
    assert len(tell.answers.list_disagreements()) == 1


def test_being_unsure_contradicts_no_class(tell):
    tell("a", "unsure", "1")
    assert tell.answers.is_unsure("1")
    assert tell.answers.settle("1") is None
    tell("b", "label", "1", "dog")
    assert tell.answers.settle("1") == "dog"
    assert not tell.answers.is_unsure("1")


def test_an_added_class_stays_without_images_and_can_be_undone(tell):
    number = tell("a", "add class", label="owl")
    assert tell.answers.classes == ["owl"]
    assert tell.answers.find_last("a").number == number
    tell("a", "undo", target=number)
    assert tell.answers.classes == []
    tell("", "add class", label="cat")
    assert tell.answers.find_last("") is None
