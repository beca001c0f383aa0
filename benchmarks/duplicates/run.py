"""Does `ilk duplicates` find copies that others miss, and not pair pictures that only look alike?

Folders of 300 real pictures each (PACS, CIFAR-10, Fashion-MNIST, MNIST, and the digit 1 alone,
where different pictures look most alike), in which six copies of each of 13 kinds are planted:
recompressed, resized, cropped by 5 to 45 % of both sides, mirrored, recoloured, watermarked,
bordered, turned. Precision and recall of pairs and of groups, against a DCT hash alone, the search
of ilk check, and a fixed cosine on the same features (MobileNetV2, ImageNet), 0.95, 0.9, and the
one that is best in hindsight. Then folders without planted copies: how many pairs score above the
thresholds at which 1, 3, 10 and 30 wrong ones are to be expected. Two pictures of a set that are
copies of each other as they were published count as wrong; the JSON names the pairs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.duplicates.folders import SETS, Folder, make_folder, read_raw
from benchmarks.duplicates.rivals import find_by_rivals, find_recalls, group_pairs, score
from benchmarks.runner import shared_path, summarize
from ilk.core.capabilities import Embeds
from ilk.deduplication import find_groups as module
from ilk.deduplication.candidates import join_candidates
from ilk.deduplication.threshold import choose_threshold, fit_wrong_tail
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.images import Images
from ilk.store import Store

OWN = "ilk duplicates"
SEEDS, N, N_COPIES = 3, 300, 6
EXPECTED = (1.0, 3.0, 10.0, 30.0)
MAX_NAMED = 12


def run(small: bool = False) -> dict[str, Any]:
    """Return the tables of planted copies, of folders without any, and the cost."""
    names = ["MNIST"] if small else list(SETS)
    seeds, n, n_copies = (1, 40, 1) if small else (SEEDS, N, N_COPIES)
    encoder = _open_encoder(small)
    planted, clean = [], []
    for name in names:
        raw = read_raw(name)
        rows: list[dict[str, dict[str, Any]]] = []
        counts: list[dict[str, Any]] = []
        for seed in range(seeds):
            with TemporaryDirectory() as directory:
                home, store = Path(directory), Store(Path(directory) / "store.sqlite")
                folder = make_folder(raw, home / "planted", n, n_copies, seed, store)
                rows.append(_compare(folder, encoder, store))
                folder = make_folder(raw, home / "clean", n, 0, 100 + seed, store)
                counts.append(_count_wrong(folder, encoder, store))
                store.close()
        planted += _summarize_methods(name, rows)
        clean.append(_summarize_clean(name, counts))
    return {
        "seeds": seeds,
        "pictures": n,
        "copies of each kind": n_copies,
        "encoder": encoder.name.rpartition("/")[2],
        "planted copies": planted,
        "no planted copies": clean,
    }


def _open_encoder(small: bool) -> Embeds:
    name = "hog" if small else f"local-dir:{shared_path('weights', 'mobilenetv2_100.imagenet')}"
    return resolve_encoder(name, images=Images(None, ()))


def _compare(folder: Folder, encoder: Embeds, store: Store) -> dict[str, dict[str, Any]]:
    """Return scores, recalls and seconds of every method on a folder."""
    start = time.process_time()
    encode_images(folder.images, [encoder], store, need_summaries=True)
    encoding = time.process_time() - start
    start = time.process_time()
    found = module.find_groups(folder.images, encoder, store)
    seconds = time.process_time() - start
    groups = [sorted(m.position for m in group.members) for group in found.groups]
    pairs = {pair for rows in groups for pair in combinations(rows, 2)}
    n = len(folder.source)
    results = {
        OWN: {
            **score(folder, pairs, groups),
            "recall by kind": find_recalls(folder, pairs),
            "ms per image": 1000 * seconds / n,
            "ms per image, encoding": 1000 * encoding / n,
            "predicted recall": dict(found.recall),
        }
    }
    x = store.get(encoder.space, [row.digest for row in folder.images.rows])
    for method, pairs in find_by_rivals(folder, x).items():
        results[method] = {
            **score(folder, pairs, group_pairs(pairs)),
            "recall by kind": find_recalls(folder, pairs),
        }
    return results


@contextmanager
def _record() -> Iterator[dict[str, Any]]:
    """Record the candidates, their scores and the calibration of the next search."""
    seen: dict[str, Any] = {}
    choose, join = choose_threshold, join_candidates

    def record_scores(scores: Any, calibration: Any, *args: Any) -> Any:
        seen.update(scores=scores, calibration=calibration)
        return choose(scores, calibration, *args)

    def record_pairs(*args: Any) -> Any:
        seen["candidates"] = join(*args)
        return seen["candidates"]

    with (
        patch.object(module, "choose_threshold", record_scores),
        patch.object(module, "join_candidates", record_pairs),
    ):
        yield seen


def _count_wrong(folder: Folder, encoder: Embeds, store: Store) -> dict[str, Any]:
    """Return the number of pairs above the thresholds of a folder in which no copy was planted."""
    with _record() as seen:
        found = module.find_groups(folder.images, encoder, store)
    tail = fit_wrong_tail(seen["scores"], seen["calibration"])
    above = {f"{e:g}": int((seen["scores"] >= tail.find_threshold(e)).sum()) for e in EXPECTED}
    rows = folder.images.rows
    threshold = found.threshold
    return {
        "above": above,
        "links": len(found.links),
        "random pairs in a million above the least cosine": found.per_million,
        "candidates": 0 if threshold is None else threshold.n_candidates,
        "checks": [] if threshold is None else [(c.expected, c.seen) for c in threshold.checks],
        "pairs": [
            (rows[link.first].path, rows[link.second].path, round(link.similarity, 3))
            for link in found.links[:MAX_NAMED]
        ],
    }


def _summarize_methods(
    name: str, rows: Sequence[dict[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    out = []
    for method in rows[0]:
        entries = [row[method] for row in rows]
        values = {
            key: summarize([entry[key] for entry in entries])
            for key, value in entries[0].items()
            if isinstance(value, float)
        }
        tables = {
            key: {
                kind: summarize([entry[key][kind] for entry in entries]) for kind in entries[0][key]
            }
            for key, value in entries[0].items()
            if isinstance(value, dict)
        }
        out.append({"set": name, "method": method, **values, **tables})
    return out


def _summarize_clean(name: str, counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    checks = [check for count in counts for check in count["checks"]]
    return {
        "set": name,
        "folders": len(counts),
        "pairs that are paired by default": summarize([float(c["links"]) for c in counts]),
        "pairs above the threshold, by the number that is expected": {
            f"{e:g}": summarize([float(c["above"][f"{e:g}"]) for c in counts]) for e in EXPECTED
        },
        "candidates": float(np.mean([c["candidates"] for c in counts])),
        "random pairs in a million above the least cosine": float(
            np.mean([c["random pairs in a million above the least cosine"] for c in counts])
        ),
        "held-out half of the candidates": {
            "wrong pairs expected": float(sum(expected for expected, _ in checks)),
            "pairs seen": int(sum(n for _, n in checks)),
        },
        "paired": [pair for c in counts for pair in c["pairs"]],
    }
