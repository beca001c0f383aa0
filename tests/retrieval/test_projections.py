"""Projections, and whether they are kept only where they earn it."""

from __future__ import annotations

import numpy as np
import pytest

from ilk.core.errors import InputError, UnknownName
from ilk.core.space import FeatureSpace
from ilk.maths.nearest_rows import to_unit
from ilk.maths.retrieval import map_at_r
from ilk.retrieval import Entry, build_index, from_array, open_index
from ilk.retrieval.earned import choose_on_rows, choose_projection, try_projections
from ilk.retrieval.projections import list_projections, parse_projection

SPACE = FeatureSpace("key", "made", 20)


def draw(nuisance: float, seed: int = 0, classes: int = 14, n: int = 18):
    """Classes that differ in ten features, while three others vary by `nuisance` within each."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), n)
    centres = rng.normal(size=(classes, 10))
    x = np.concatenate(
        [centres[y] + 0.3 * rng.normal(size=(len(y), 10)), np.zeros((len(y), 10))], 1
    )
    x[:, 10:13] = nuisance * rng.normal(size=(len(y), 3))
    return x.astype(np.float32), y


def make_collection(x, y, **more):
    entries = [
        Entry(f"{i:064x}", f"{i}.png", f"c{c:02}" if c >= 0 else "") for i, c in enumerate(y)
    ]
    return from_array(x, entries, SPACE, **more)


def test_whitening_and_lda_whiten() -> None:
    x, y = draw(2.0)
    u = to_unit(x)
    whole = parse_projection("Whitening(shrink=0.0)").fit(u[:, :13], y)
    z = (u[:, :13] - whole.centre) @ whole.weight
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(13), atol=1e-3)
    within = parse_projection("LDA(shrink=0.0)").fit(u[:, :13], y)
    z = (u[:, :13] - within.centre) @ within.weight
    rest = z - np.stack([z[y == c].mean(0) for c in range(14)])[y]
    np.testing.assert_allclose(rest.T @ rest / len(z), np.eye(13), atol=1e-3)
    between = np.var(z - rest, axis=0)
    assert (np.diff(between) <= 1e-3).all()  # axes between classes come first
    assert parse_projection("lda(axes=4)").fit(u, y).weight.shape == (20, 4)
    assert list(list_projections()) == ["Centring", "LDA", "Whitening"]


def test_lda_is_kept_where_variation_within_classes_hides_them() -> None:
    x, y = draw(3.0)
    choice = choose_on_rows(to_unit(x), y)
    assert choice.name in ("LDA", "Whitening")
    assert f"{choice.name} kept" in choice.sentence
    new_x, new_y = draw(3.0, seed=1)  # the same nuisance, other classes
    assert choice.projection is not None
    assert map_at_r(choice.projection.apply(new_x), new_y) > map_at_r(new_x, new_y) + 0.1


def test_cosine_is_kept_where_nothing_can_be_won() -> None:
    x, y = draw(0.0)
    choice = choose_on_rows(to_unit(x), y)
    assert choice.projection is None
    assert choice.sentence.startswith("cosine kept: ")
    assert "on classes held out" in choice.sentence
    assert [trial.name for trial in choice.trials] == ["cosine", "Centring", "LDA", "Whitening"]


def test_no_class_is_learned_from_and_scored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = draw(1.0)
    seen: list[tuple[set[int], set[int]]] = []

    class Spy:
        def fit(self, rows, labels):
            self.known = set(labels.tolist())
            return self

        def apply(self, rows):
            held = {int(y[np.flatnonzero((to_unit(x) == r).all(1))[0]]) for r in rows[:5]}
            seen.append((self.known, held))
            return rows

    monkeypatch.setattr("ilk.retrieval.earned.name_setting", lambda _c: "Spy")
    cosine, spy = try_projections(to_unit(x), y, [Spy()])
    assert len(seen) == 5
    assert all(not known & held for known, held in seen)
    assert spy.map_at_r == pytest.approx(cosine.map_at_r)
    assert spy.difference == 0


def test_what_stands_in_the_way_is_told() -> None:
    x, y = draw(3.0)
    few = choose_projection(make_collection(x, np.where(y < 5, y, -1)))
    assert few.projection is None
    assert "5 classes" in few.sentence
    text = choose_projection(make_collection(x, y, reads_text=True))
    assert text.projection is None
    assert "reads text" in text.sentence
    assert choose_projection(make_collection(x, y), "none").sentence == ""
    with pytest.raises(InputError, match="learns from labels"):
        choose_projection(make_collection(x, -np.ones_like(y)), "LDA")
    with pytest.raises(UnknownName, match="Whitening"):
        parse_projection("Whitenin")
    with pytest.raises(InputError, match="shrink is 2"):
        parse_projection("Whitening(shrink=2.0)")


def test_the_projection_is_saved_with_the_index(tmp_path) -> None:
    x, y = draw(3.0)
    index = build_index(make_collection(x, y), "Exact")
    assert index.projection is not None
    index.save(tmp_path / "i")
    again = open_index(tmp_path / "i")
    assert again.facts["projection"]["name"] == index.facts["projection"]["name"]
    np.testing.assert_array_equal(again.search(x[:9], 5)[0], index.search(x[:9], 5)[0])
    plain = build_index(make_collection(x, y), "Exact", projection="none")
    assert (plain.search(x[:9], 5)[0] != index.search(x[:9], 5)[0]).any()
