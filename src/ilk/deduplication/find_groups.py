"""Find the pictures that are in a source more than once.

Evidence comes in steps, and each pair of files keeps its kind: the same content; the same pixels;
thumbnails that are nearly the same, also mirrored or turned by 90° (perceptual hash); features of
an encoder. Pairs of the last two kinds are looked at a second time (`ilk.deduplication.alignment`)
and scored by what copies look like in this folder (`ilk.deduplication.calibration`).

With n pictures there are n (n - 1) / 2 pairs, and the most similar of the wrong ones are what a
threshold has to keep out: nearest neighbours of the same class, not random pairs. Its place is
therefore found on all candidates of the folder itself, among which the copies are few: their tail
(`ilk.maths.pareto_tail`) gives the threshold above which `false_matches` wrong pairs are
expected in the whole folder, whatever the number of pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.deduplication.calibration import Calibration, calibrate, count_copies
from ilk.deduplication.candidates import find_similar_pairs, join_candidates
from ilk.deduplication.evidence import FEATURES, HASH, Link
from ilk.deduplication.groups import DuplicateGroups, form_groups
from ilk.deduplication.judge import Judge
from ilk.deduplication.orientations import find_oriented_pairs
from ilk.deduplication.pictures import list_pictures, restore_copies
from ilk.deduplication.recall import estimate_recall
from ilk.deduplication.refinement import Agreement
from ilk.deduplication.stars import connect_links
from ilk.deduplication.threshold import Threshold, choose_threshold
from ilk.encode import encode_images
from ilk.images import Images
from ilk.images.duplicates.perceptual_hash import Thumbnails, stack_thumbnails
from ilk.maths.nearest_rows import to_unit
from ilk.store import Store

FALSE_MATCHES = 1.0
MAX_COMPLETED = 16  # pictures of a connected component of which every pair is looked at
MAX_HUBS = 3  # pictures of a larger one that are compared with all others
MAX_MISSING = 20_000  # such pairs
Pairs = NDArray[np.int64]  # [m, 2], positions


def find_groups(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    false_matches: float = FALSE_MATCHES,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> DuplicateGroups:
    """Return groups of files that hold the same picture; no file is changed.

    Args:
        images: The source; files that intake refused as copies take part.
        encoder: Gives the features, and encodes copies that are made for the calibration.
        store: Features and summaries of pixels; what is missing is computed and stored.
        false_matches: Number of wrong pairs by pixels and features that is to be expected in the
            whole source, above 0.
        seed: Seed of the sample of pictures and of the copies that are made of them.
        progress: Reports the progress of long operations.

    Returns:
        The groups, leaks between training and test images first.

    Raises:
        InputError: `false_matches` is not above 0.
        NoImages: No file can be used.
    """
    check_false_matches(false_matches)
    images = restore_copies(images)
    images.check_not_empty()
    failures = encode_images(images, [encoder], store, progress=progress, need_summaries=True)
    images = images.refuse(failures)
    images.check_not_empty()
    pictures = list_pictures(images.rows, store)
    rows = [images.rows[i] for i in pictures.rows]
    found = _Found((), None, None, 0)
    if len(rows) > 1:
        x = store.get(encoder.space, [row.digest for row in rows])
        mean = x.mean(0)
        x -= mean
        judge = Judge(images, rows, to_unit(x), mean)
        thumbnails = stack_thumbnails(list(pictures.thumbnails))
        found = _compare(judge, thumbnails, encoder, false_matches, seed, progress)
    placed = [
        replace(link, first=pictures.rows[link.first], second=pictures.rows[link.second])
        for link in found.links
    ]
    links = (*pictures.links, *placed)
    known = found.calibration
    return DuplicateGroups(
        images,
        form_groups(images, links),
        links,
        encoder.name,
        len(rows),
        threshold=found.threshold,
        recall=estimate_recall(known, found.threshold) if known and found.threshold else {},
        min_cosine=known.min_cosine if known else None,
        per_million=known.per_million if known else None,
        n_left_out=found.n_left_out,
    )


def check_false_matches(false_matches: float) -> None:
    """Raise InputError if it is not a number of wrong pairs to expect."""
    if not 0 < false_matches < float("inf"):
        raise InputError(
            f"false_matches (--false-matches) is {false_matches}; give the number of wrong pairs "
            "that may be expected in the whole folder, above 0, such as 1"
        )


@dataclass(frozen=True, eq=False)
class _Found:
    links: tuple[Link, ...]
    calibration: Calibration | None
    threshold: Threshold | None
    n_left_out: int


def _compare(
    judge: Judge,
    thumbnails: Thumbnails,
    encoder: Embeds,
    false_matches: float,
    seed: int,
    progress: Progress,
) -> _Found:
    """Return links between different pictures."""
    n = len(judge.rows)
    rng = np.random.default_rng(seed)
    with progress("learning what copies look like", count_copies(n)) as advance:
        calibration = calibrate(judge, encoder, rng, advance)
    if calibration is None:
        return _Found((), None, None, 0)
    with progress("comparing features", n) as advance:
        similar = find_similar_pairs(judge.x, calibration.min_cosine, advance)
    candidates = join_candidates(find_oriented_pairs(thumbnails), similar)
    involved = np.unique(candidates.pairs).tolist()
    with progress("reading candidates", len(involved)) as advance:
        judge.load(involved, advance)
    with progress("looking again", len(candidates)) as advance:
        agreements, measures = judge.compare(candidates.pairs, candidates.codes, advance)
    scores = calibration.score(measures)
    threshold = choose_threshold(scores, calibration, false_matches)
    kinds = [HASH if near else FEATURES for near in candidates.is_near]
    links = _link(
        judge, candidates.pairs, agreements, scores, kinds, threshold.score, candidates.codes
    )
    others = _list_missing(links, candidates.pairs)
    if len(others):
        judge.load(np.unique(others).tolist())
        agreements, measures = judge.compare(others)
        scores = calibration.score(measures)
        kinds = [FEATURES] * len(others)
        links += _link(judge, others, agreements, scores, kinds, threshold.score)
    return _Found(tuple(links), calibration, threshold, candidates.n_left_out)


def _link(
    judge: Judge,
    pairs: Pairs,
    agreements: Sequence[Agreement],
    scores: NDArray[np.float64],
    kinds: Sequence[str],
    least: float,
    codes: Pairs | None = None,
) -> list[Link]:
    """Return the pairs `[m, 2]` whose scores reach the threshold, as links.

    They were compared in the orientations `codes [m, 2]`, upright without.
    """
    reflections = np.zeros(len(pairs), np.int64)
    if codes is not None:  # each bit of a code is a reflection
        reflections = np.bitwise_count(codes).sum(1) % 2
    return [
        Link(
            int(pairs[k, 0]),
            int(pairs[k, 1]),
            evidence=kinds[k],
            similarity=agreements[k].correlation,
            cosine=float(judge.x[pairs[k, 0]] @ judge.x[pairs[k, 1]]),
            share=agreements[k].share,
            is_mirrored=bool(agreements[k].is_mirrored ^ (reflections[k] == 1)),
            score=float(scores[k]),
        )
        for k in np.flatnonzero(scores >= least).tolist()
    ]


def _list_missing(links: Sequence[Link], known: Pairs) -> Pairs:
    """Return pairs `[m, 2]` of connected pictures that were not looked at yet.

    Of a small component all pairs, of a large one those with its most connected pictures.
    """
    seen = {(i, j) for i, j in known.tolist()}
    degree = Counter(i for link in links for i in (link.first, link.second))
    missing: list[tuple[int, int]] = []
    for members in connect_links(links):
        hubs = members
        if len(members) > MAX_COMPLETED:
            hubs = sorted(members, key=lambda i: -degree[i])[:MAX_HUBS]
        pairs = {(min(i, j), max(i, j)) for i in hubs for j in members if i != j} - seen
        missing += sorted(pairs)
    return np.array(missing[:MAX_MISSING], np.int64).reshape(-1, 2)
