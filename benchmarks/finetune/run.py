"""Does tuning the network pay, compared with a head on its frozen features, and what does it cost?

`ilk finetune` with its defaults and the embedded encoder (efficientnet-lite0, ImageNet): the last 2
of 16 blocks are trained, from the answers of the frozen network on; a validation part of the
training images ends the training and chooses between the tuned network and the one as it is, and
images that were held out of both say whether it is kept. Each network is then judged as an encoder,
as `ilk fit` would use it: logistic regression on its features of all training images, on test
images that took no part. "frozen" is the network as it is, "tuned" always the tuned one, "chosen"
what the validation part chose, and "kept" what `ilk finetune` keeps.

PACS: 840 pictures of 7 classes in 4 styles. Pooled: 210 are tested. Leave one domain out: the 210
of one style are tested, the other three are trained on. CIFAR-10 (JPEG, 32 x 32): 20 images of each
class are trained on, 80 of each are tested. Five seeds each, which draw the division of the images,
and for CIFAR-10 the 20 of 40.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import make_table
from benchmarks.diffusion_setup import get_cache_dir, load_or_compute
from benchmarks.finetune.image_sets import ImageSet, write_cifar, write_pacs
from benchmarks.finetune.late_features import LateFeatures
from benchmarks.runner import summarize
from ilk.encode import encode_images
from ilk.finetuning.config import DEFAULT_LAYERS, FinetuneConfig
from ilk.finetuning.from_images import finetune_images
from ilk.finetuning.judge import fit_head
from ilk.store import Store

FROZEN, TUNED, CHOSEN, KEPT = "frozen", "tuned", "chosen", "kept"
SEEDS = range(5)
VERSION = 2  # increment when `ilk finetune` gives other networks


@dataclass(frozen=True, eq=False)
class Task:
    """Images to train on and to test.

    Attributes:
        setting: What it is.
        seed: Its seed.
        train: Positions that are trained on.
        test: Positions that are tested.
    """

    setting: str
    seed: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]


def run(small: bool = False) -> dict[str, Any]:
    """Return all tables; `small` has one seed, few images of PACS and few updates."""
    seeds = SEEDS[:1] if small else SEEDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder if small else get_cache_dir()
        store = Store(cache / "finetune-features.sqlite")
        try:
            pacs = write_pacs(folder / "pacs", store, 4 if small else 30)
            tasks = _list_pacs_tasks(pacs, seeds, small)
            found = list(_compare(pacs, tasks, store, folder, small))
            if not small:
                cifar = write_cifar(folder / "cifar", store)
                tasks = _list_cifar_tasks(cifar, seeds)
                found += _compare(cifar, tasks, store, folder, small)
        finally:
            store.close()
    settings = list(dict.fromkeys(record["setting"] for record in found))
    tables = [_make_table(s, [r for r in found if r["setting"] == s]) for s in settings]
    out = [r for r in found if r["setting"].startswith("PACS, without")]
    if out:
        tables.append(_make_table("PACS, leave one domain out, mean of 4", _average(out)))
    return {"tables": tables, "runs": found, "bars": [_judge(table) for table in tables]}


def _list_pacs_tasks(pacs: ImageSet, seeds: range, small: bool) -> Iterator[Task]:
    everything = np.arange(len(pacs.kinds))
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(everything)
        n_test = len(order) // 4
        yield Task("PACS, pooled", seed, np.sort(order[n_test:]), np.sort(order[:n_test]))
    for style in np.unique(pacs.kinds)[: 1 if small else None]:
        is_test = pacs.kinds == style
        for seed in seeds:
            yield Task(
                f"PACS, without {style}", seed, np.flatnonzero(~is_test), np.flatnonzero(is_test)
            )


def _list_cifar_tasks(cifar: ImageSet, seeds: range) -> Iterator[Task]:
    for seed in seeds:
        rng, chosen = np.random.default_rng(seed), []
        for c in np.unique(cifar.y):
            rows = np.flatnonzero((cifar.kinds == "train") & (cifar.y == c))
            chosen.append(rng.permutation(rows)[:20])
        test = np.flatnonzero(cifar.kinds == "test")
        yield Task("CIFAR-10, 20 images of each class", seed, np.sort(np.concatenate(chosen)), test)


def _compare(
    data: ImageSet, tasks: Iterator[Task], store: Store, folder: Path, small: bool
) -> Iterator[dict[str, Any]]:
    """Yield the accuracies of each task."""
    late = LateFeatures(data, store)
    frozen = late.embed_frozen(np.arange(len(data.kinds)))
    encode_images(data.images, [late.base], store)
    for task in tasks:
        config = FinetuneConfig(seed=task.seed, updates=3 if small else None)

        def compute(task: Task = task, config: FinetuneConfig = config) -> dict[str, Any]:
            return _run_task(data, task, config, late, frozen, store, folder / "out")

        if small:
            yield compute()
            continue
        key = repr((task.setting, task.train.tolist(), config, DEFAULT_LAYERS, VERSION))
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        yield load_or_compute(f"finetune-{digest}", compute)


def _run_task(
    data: ImageSet,
    task: Task,
    config: FinetuneConfig,
    late: LateFeatures,
    frozen: NDArray[np.float32],
    store: Store,
    out: Path,
) -> dict[str, Any]:
    """Return the accuracies of a task; features of the frozen network are those of all images."""
    result = finetune_images(
        data.take(task.train), late.base, store, config, out, force=True, front_store=store
    )
    rows = np.concatenate([task.train, task.test])
    tuned = np.zeros_like(frozen)
    tuned[rows] = late.embed_tuned(out, rows)
    accuracies = {name: _measure(x, data, task) for name, x in ((FROZEN, frozen), (TUNED, tuned))}
    accuracies[CHOSEN] = accuracies[TUNED if result.chosen else FROZEN]
    accuracies[KEPT] = accuracies[TUNED if result.is_better else FROZEN]
    best = result.candidates[result.best]
    return {
        "setting": task.setting,
        "seed": task.seed,
        "accuracy": accuracies,
        "chosen": bool(result.chosen),
        "kept": result.is_better,
        "tuning seconds": round(best.seconds, 1),
        "trained parameters": best.n_trained,
        "training images": result.n_train,
    }


def _measure(x: NDArray[np.float32], data: ImageSet, task: Task) -> float:
    """Return the test accuracy of logistic regression on features `[n, d]` of all images."""
    y, classes = data.y, data.images.classes
    ungrouped = np.full(len(task.train), -1)
    head = fit_head(x[task.train], y[task.train], classes, ungrouped)
    return float((head.logits(x[task.test]).argmax(1) == y[task.test]).mean())


def _make_table(setting: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    names = (FROZEN, TUNED, CHOSEN, KEPT)
    scores = {name: [r["accuracy"][name] for r in records] for name in names}
    table = make_table(setting, "test accuracy", scores, [])
    table["differences from frozen"] = {
        name: summarize(np.subtract(scores[name], scores[FROZEN]).tolist()) for name in names[1:]
    }
    table["chosen"] = sum(r["chosen"] for r in records)
    table["kept"] = sum(r["kept"] for r in records)
    table["tuning seconds"] = summarize([r["tuning seconds"] for r in records])
    return table


def _average(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean over domains of each seed."""
    found = []
    for seed in sorted({r["seed"] for r in records}):
        mine = [r for r in records if r["seed"] == seed]
        names = mine[0]["accuracy"]
        found.append(
            {
                "accuracy": {n: float(np.mean([r["accuracy"][n] for r in mine])) for n in names},
                "chosen": sum(r["chosen"] for r in mine),
                "kept": sum(r["kept"] for r in mine),
                "tuning seconds": float(np.mean([r["tuning seconds"] for r in mine])),
            }
        )
    return found


def _judge(table: dict[str, Any]) -> dict[str, Any]:
    """Return whether what was chosen and kept is below the frozen network beyond the interval."""
    verdicts = {}
    for name in (TUNED, CHOSEN, KEPT):
        difference = table["differences from frozen"][name]
        mean, half = difference["mean"], difference["half_width"] or 0.0
        verdicts[name] = "above" if mean > half else "below" if mean < -half else "level"
    return {"setting": table["setting"], **verdicts}
