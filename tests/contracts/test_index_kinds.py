"""What every kind of index keeps to, whatever file it is in."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.core.space import FeatureSpace
from ilk.maths.nearest_rows import to_unit
from ilk.retrieval import Entry, Index, build_index, from_array, open_index
from ilk.retrieval.build import list_notes
from ilk.retrieval.kinds import list_kinds, parse_kind

SPACE = FeatureSpace("key", "pixels/4x4x1", 24)
VARIANTS = {"Exact": ["Exact", "Exact(dtype='float16')"], "HNSW": ["HNSW", "HNSW(threads=1)"]}
VARIANTS |= {"HashCodes": ["HashCodes", "HashCodes(bits=16)", "HashCodes(bits=72, rerank=0)"]}
ALL = [text for name in list_kinds() for text in VARIANTS.get(name, [name])]


def draw(n: int, seed: int = 0) -> np.ndarray:
    """Rows in a few clusters."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(5).normal(size=(6, 24))
    return (centres[rng.integers(6, size=n)] + 0.5 * rng.normal(size=(n, 24))).astype(np.float32)


def make_entries(first: int, n: int) -> list[Entry]:
    return [Entry(f"{i:064x}", f"dir/{i}.png", "abc"[i % 3]) for i in range(first, first + n)]


@pytest.fixture(params=ALL)
def kind(request: pytest.FixtureRequest) -> Any:
    if request.param.startswith("HNSW") and find_spec("usearch") is None:
        pytest.skip("usearch is not installed")
    return parse_kind(request.param)


def build(kind: Any, n: int = 300) -> tuple[Index, np.ndarray]:
    x = draw(n)
    return build_index(from_array(x, make_entries(0, n), SPACE), kind), x


def find_ids(index: Index, first: int, n: int) -> np.ndarray:
    return np.array([index.entries.find(f"{i:064x}") for i in range(first, first + n)])


def test_a_row_finds_itself_and_similarity_is_the_cosine(kind: Any) -> None:
    index, x = build(kind)
    ids, similarity = index.search(x[:50], 5)
    assert ids.shape == similarity.shape == (50, 5)
    assert (np.diff(similarity, axis=1) <= 0).all()
    if getattr(kind, "rerank", 1):  # codes alone tie
        assert np.mean(ids[:, 0] == find_ids(index, 0, 50)) >= 0.96
        unit = to_unit(x)
        by_id = {int(i): n for n, i in enumerate(find_ids(index, 0, 300))}
        true = [[unit[q] @ unit[by_id[int(i)]] for i in row] for q, row in enumerate(ids)]
        np.testing.assert_allclose(similarity, true, atol=2e-3)


def test_the_nearest_rows_are_those_of_a_full_comparison(kind: Any) -> None:
    index, x = build(kind)
    queries = draw(40, seed=9)
    cosine = to_unit(queries).astype(np.float64) @ to_unit(x).T.astype(np.float64)
    numbers = find_ids(index, 0, 300)
    true = numbers[np.argsort(-cosine, axis=1)[:, :10]]
    found, _ = index.search(queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)])
    lowest = {"Exact": 0.99, "HNSW": 0.97, "HashCodes": 0.3}[type(kind).__name__]
    assert recall >= (0.9 if getattr(kind, "rerank", 0) else lowest)
    assert ("recall" in index.facts) is not kind.is_exact
    if not kind.is_exact:
        told = [note for note in list_notes(index) if note.startswith("recall@10")]
        assert len(told) == 1
        index.facts["recall"]["value"] = 0.5
        assert any(note.endswith(kind.remedy) for note in list_notes(index))


def test_deleted_rows_never_come_back_and_ids_are_not_given_again(
    kind: Any, tmp_path: Path
) -> None:
    index, x = build(kind)
    gone = index.search(x[:20], 1)[0][:, 0]
    index.delete(gone)
    index.delete(gone)  # twice is once
    ids, _ = index.search(x[:20], 280)
    assert not np.isin(ids, gone).any()
    index.save(tmp_path / "i")
    again = open_index(tmp_path / "i")
    assert len(again) == len(index) == 300 - len(set(gone.tolist()))
    assert not np.isin(again.search(x[:20], 280)[0], gone).any()
    new = again.add(make_entries(900, 3), draw(3, seed=4))
    assert new.tolist() == [300, 301, 302]
    again.delete(new)
    assert again.add(make_entries(900, 3), draw(3, seed=4)).tolist() == [303, 304, 305]


def test_a_saved_index_gives_the_same_answers_and_can_grow(kind: Any, tmp_path: Path) -> None:
    index, x = build(kind)
    before = index.search(x[:30], 7)
    index.save(tmp_path / "i")
    again = open_index(tmp_path / "i")
    after = again.search(x[:30], 7)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)
    assert again.entries.by_id == index.entries.by_id
    added = draw(5, seed=77)
    ids = again.add(make_entries(500, 5), added)
    again.save(tmp_path / "i")
    third = open_index(tmp_path / "i")
    assert len(third) == 305
    if getattr(kind, "rerank", 1):
        assert third.search(added, 1)[0][:, 0].tolist() == ids.tolist()


def test_more_than_there_is_gives_all_and_then_nothing(kind: Any) -> None:
    index, x = build(kind, 7)
    ids, similarity = index.search(x[:2], 20)
    assert ids.shape == (2, 20)
    assert sorted(ids[0][ids[0] >= 0]) == list(range(7))
    assert np.isneginf(similarity[ids < 0]).all()
    index.delete(range(7))
    assert (index.search(x[:2], 3)[0] == -1).all()


def test_rows_can_be_taken_back_by_id(kind: Any) -> None:
    index, x = build(kind, 40)
    ids = find_ids(index, 0, 40)[[7, 3, 30]]
    if getattr(kind, "rerank", 1):
        np.testing.assert_allclose(index.take(ids), to_unit(x[[7, 3, 30]]), atol=1e-3)
    else:
        with pytest.raises(InputError, match="keeps only codes"):
            index.take(ids)


def test_wrong_settings_are_told_in_a_sentence() -> None:
    for text in ("HashCodes(bits=300)", "HashCodes(rerank=-1)", "Exact(dtype='int8')"):
        with pytest.raises(InputError, match=r"allowed|instead of"):
            parse_kind(text)
    assert parse_kind("exact") == parse_kind("Exact()")


def test_ids_that_are_asked_for_are_found_however_far_they_are(kind: Any) -> None:
    index, x = build(kind)
    order, _ = index.search(x[:1], 300)
    far = order[0][order[0] >= 0][-3:]
    found, _ = index.search(x[:1], 3, among=far)
    assert sorted(found[0].tolist()) == sorted(far.tolist())


def test_growing_does_not_write_what_is_there_again(tmp_path: Path) -> None:
    index, _ = build(parse_kind("Exact"))
    index.save(tmp_path / "i")
    before = set(index.vectors.list_files())
    index.add(make_entries(500, 5), draw(5, seed=77))
    assert before < set(index.vectors.list_files())
    index.save(tmp_path / "i")
    assert len(open_index(tmp_path / "i")) == 305
