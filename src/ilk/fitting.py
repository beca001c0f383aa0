"""`fit`: the whole road from images to a classifier with its evidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilk import evaluate, methods
from ilk.board import Leaderboard
from ilk.classifier import Classifier
from ilk.data import Data, Features
from ilk.encode import fill
from ilk.encoders import Embeds, EmbedsText, defaults, resolve
from ilk.encoders.device import check
from ilk.errors import InputError
from ilk.finish import Work, finish
from ilk.images import Images
from ilk.models import Method, describe
from ilk.plan import PROMPTS, Parts, Plan, divide
from ilk.progress import Progress, silent
from ilk.store import Store

__all__ = ["PROMPTS", "Plan", "fit"]

Say = Callable[[str], None]


def fit(
    images: Images,
    plan: Plan | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent,
    say: Say = lambda _line: None,
) -> Classifier:
    """Try encoders × methods on the training part, keep the best, find out how far to trust it.

    Args:
        images: What `ilk.read` gave.
        plan: What is asked; the defaults work.
        store: Where encoded images are kept; the user's own unless told otherwise.
        progress: Told of long work.
        say: Told of choices, a line each.

    Returns:
        The classifier, with `evidence` for its report.

    Raises:
        NoImages: No file could be used.
        NoLabels: There is nothing to learn from and no `plan.classes` to choose among.
        InputError: There is only one class, or the plan asks for what cannot be.
        Unavailable: An encoder asked for is not on this machine.
    """
    plan, held = plan or Plan(), store if store is not None else Store()
    for text in plan.methods:
        methods.parse(text)
    check(plan.device)
    divide(images, plan)
    encoders = _encoders(images, plan, say)
    images = images.refuse(fill(images, encoders, held, progress=progress))
    parts = divide(images, plan)
    tables = {e.name: _table(e, parts, plan, held) for e in encoders}
    tried = {e.name: _methods(e, plan, labels=bool(parts.train)) for e in encoders}
    if parts.train:
        board = evaluate.leaderboard(
            tables, tried, folds=plan.folds, seed=plan.seed, select=plan.select, progress=progress
        )
    else:
        board = _unmeasured(tried, len(parts.unlabelled))
    name, method = board.winner
    say(f"the winner is {describe(method)} on {name}; it is fitted to all and calibrated")
    encoder = next(e for e in encoders if e.name == name)
    return finish(Work(plan, images, parts, encoder, method, tables[name], board), held)


def _encoders(images: Images, plan: Plan, say: Say) -> list[Embeds]:
    """The encoders asked for, or the good ones that can be had, which is said in one line."""
    if plan.encoders:
        return [
            resolve(
                name,
                images=images,
                device=plan.device,
                runtime=plan.runtime,
                precision=plan.precision,
            )
            for name in dict.fromkeys(plan.encoders)
        ]
    found, told = defaults(
        images, device=plan.device, runtime=plan.runtime, precision=plan.precision
    )
    say(told)
    return found


def _table(encoder: Embeds, parts: Parts, plan: Plan, store: Store) -> Data:
    """What learns, as this encoder sees it: labelled rows first, then those without a label."""
    rows = parts.train + parts.unlabelled
    x = store.get(encoder.space, [row.digest for row in rows])
    hints = _hints(encoder, parts, plan) if isinstance(encoder, EmbedsText) else None
    return Data(x, parts.labels(rows), parts.classes, hints=hints)


def _hints(encoder: EmbedsText, parts: Parts, plan: Plan) -> Features:
    """One text embedding a class: the mean over prompts, on the unit sphere again."""
    each = [
        encoder.embed_text([prompt.format(name) for name in parts.classes])
        for prompt in plan.prompts
    ]
    mean = np.mean(each, axis=0)
    unit = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit, np.float32)


def _methods(encoder: Embeds, plan: Plan, *, labels: bool) -> list[Method]:
    """What is tried on `encoder`: the methods asked for, or the board's, as far as they apply."""
    asked: list[Method]
    if plan.methods:
        asked = [methods.parse(text) for text in plan.methods]
    else:
        asked = [form() for form in methods.available().values() if form.board]
    reads_text = isinstance(encoder, EmbedsText)
    fit_for = [m for m in asked if reads_text or not _fact(m, "needs_hints")]
    return [m for m in fit_for if labels or not _fact(m, "needs_labels")]


def _fact(method: Method, name: str) -> bool:
    return bool(getattr(method, name))


def _unmeasured(tried: dict[str, list[Method]], images: int) -> Leaderboard:
    """The board where there is no label: the first encoder that can choose among names."""
    able = [(name, found[0]) for name, found in tried.items() if found]
    if not able:
        raise InputError(
            f"{images} images without a label can only be named by an encoder that reads text "
            "(zero-shot); add --encoder clip/NAME"
        )
    note = "there is no label, so nothing here was measured"
    rows = tuple(
        evaluate.Result(name, describe(m), None, 0.0, "not measured: no label") for name, m in able
    )
    return Leaderboard(rows, able[0], 0, note, None, np.full(images, -1))
