"""Images that a learned embedding was trained on are not judged as if they were new."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ilk.core.capabilities import find_trained_parts
from ilk.core.errors import InputError
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.tuned import TunedEncoder
from ilk.encoders.tuned_folder import HEAD, TunedEmbedding, pack_digests
from ilk.encoders.views import ViewEncoder
from ilk.fitting.leakage import check_unseen, find_leaked_rows, is_held_out
from ilk.images.pixels import PixelEncoder


def make_digest(i):
    return f"{i:064x}"


@pytest.fixture
def encoder(tmp_path):
    base = PixelEncoder(4, 4, 1)
    settings = {"d": 16, "width": 2, "hidden": 0}
    trained_on = pack_digests([make_digest(i) for i in (0, 1)])
    embedding = TunedEmbedding(base.describe(), HEAD, settings, {}, trained_on=trained_on)
    return TunedEncoder("tuned:t", tmp_path, embedding, base)


def make_rows(groups):
    return tuple(
        SimpleNamespace(digest=make_digest(i), group=g, label="a") for i, g in enumerate(groups)
    )


def test_training_images_and_those_of_their_groups_are_known(encoder):
    alone = make_rows([None] * 4)
    assert is_held_out(encoder, alone).tolist() == [False, False, True, True]
    grouped = make_rows(["x", None, "x", "y"])
    assert is_held_out(encoder, grouped).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda e: e,
        lambda e: ViewEncoder(e, 2),
        lambda e: CombinedEncoder((PixelEncoder(4, 4, 1), e)),
        lambda e: CombinedEncoder((ViewEncoder(e, 2), PixelEncoder(4, 4, 1))),
    ],
)
def test_an_embedding_is_found_inside_others(encoder, wrap):
    wrapped = wrap(encoder)
    assert find_trained_parts(wrapped) == [encoder]
    split = SimpleNamespace(train=make_rows([None] * 3), unlabelled=())
    leaked = find_leaked_rows([wrapped, PixelEncoder(4, 4, 1)], split)
    assert list(leaked) == [wrapped.name]
    assert leaked[wrapped.name].tolist() == [True, True, False]


def test_where_all_images_are_judged_it_is_refused_with_what_to_use(encoder):
    with pytest.raises(InputError, match=r"trained on 2 of these 4 images.*use pixels/4x4x1, or"):
        check_unseen([encoder], make_rows([None] * 4), "their labels cannot be audited with it")
    check_unseen([encoder], make_rows([None] * 4)[2:], "…")
    check_unseen([PixelEncoder(4, 4, 1)], make_rows([None] * 4), "…")


def test_an_embedding_without_record_was_trained_on_nothing(tmp_path):
    base = PixelEncoder(4, 4, 1)
    embedding = TunedEmbedding(base.describe(), HEAD, {"width": 2}, {})
    encoder = TunedEncoder("tuned:t", tmp_path, embedding, base)
    assert np.all(is_held_out(encoder, make_rows([None] * 2)))
