"""`fit`: the whole road from images to a classifier with its evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk import evaluate
from ilk.applicable import fact, readable, tried_methods
from ilk.board import Leaderboard
from ilk.classifier import Classifier
from ilk.data import Data, Features
from ilk.encode import fill
from ilk.encoders import Embeds, EmbedsText, Explains, ScoresClasses, defaults, resolve
from ilk.encoders.among import Among
from ilk.encoders.device import check
from ilk.errors import InputError, UnknownName
from ilk.finish import finish
from ilk.images import Images
from ilk.methods import parse
from ilk.models import Method, describe
from ilk.plan import PROMPTS, Parts, Plan, divide
from ilk.progress import Progress, silent
from ilk.store import Store
from ilk.work import Work

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
        parse(text)
    check(plan.device)
    plan = _named(images, plan, held)
    named = divide(images, plan).classes
    encoders = asked_encoders(images, plan, Among(named, plan.prompts, held), say)
    if plan.descriptions and not any(isinstance(e, EmbedsText) for e in encoders):
        raise InputError(
            "descriptions can only be read by an encoder that reads text; add --encoder clip/NAME"
        )
    readable(plan, encoders)
    images = images.refuse(fill(images, encoders, held, progress=progress))
    parts = divide(images, plan)
    if parts.classes != named:  # all files of a class were broken: nobody chooses it any more
        among = Among(parts.classes, plan.prompts, held)
        encoders = asked_encoders(images, plan, among, lambda _line: None)
        images = images.refuse(fill(images, encoders, held, progress=progress))
    if not parts.unlabelled:
        for method in map(parse, plan.methods):
            if fact(method, "uses_unlabelled"):
                say(f"{describe(method)} learns from unlabelled images too, and there is none here")
    tables = {e.name: features_table(e, parts, plan, held) for e in encoders}
    tried = {e.name: tried_methods(e, plan, labels=bool(parts.train)) for e in encoders}
    if parts.train:
        board = evaluate.leaderboard(
            tables,
            tried,
            folds=plan.folds,
            seed=plan.seed,
            select=plan.select,
            unfair=_unfair(encoders, parts),
            progress=progress,
        )
    else:
        board = _unmeasured(tried, len(parts.unlabelled))
    name, method = board.winner
    say(f"the winner is {describe(method)} on {name}; it is fitted to all and calibrated")
    encoder = next(e for e in encoders if e.name == name)
    explaining = tuple(e for e in encoders if isinstance(e, Explains))
    work = Work(plan, images, parts, encoder, method, tables[name], board, explaining)
    return finish(work, held)


def asked_encoders(images: Images, plan: Plan, among: Among, say: Say) -> list[Embeds]:
    """The encoders asked for, or the good ones that can be had, which is said in one line."""
    found: list[Embeds] = []
    for name in dict.fromkeys(plan.encoders or ("default",)):
        if name == "default":
            good, told = defaults(
                images, device=plan.device, runtime=plan.runtime, precision=plan.precision
            )
            say(told)
            found += good
        else:
            found.append(_resolved(name, images, plan, among))
    judges = [_judge(name) for name in dict.fromkeys(plan.classifiers)]
    found += [_resolved(name, images, plan, among) for name in judges]
    return list({encoder.name: encoder for encoder in found}.values())


def _judge(classifier: str) -> str:
    """The encoder that gives the scores of `--classifier diffusion:PATH`."""
    family, mark, rest = classifier.partition(":")
    if family != "diffusion" or not rest:
        raise UnknownName("classifier", classifier, ("diffusion:PATH",))
    return f"diffusion-classifier{mark}{rest}"


def _named(images: Images, plan: Plan, store: Store) -> Plan:
    """`plan` with a classifier's own classes, where neither a label nor the plan names any."""
    if plan.classes or images.classes or not plan.classifiers:
        return plan
    among = Among(None, plan.prompts, store)
    known = _resolved(_judge(plan.classifiers[0]), images, plan, among)
    return replace(plan, classes=known.classes) if isinstance(known, ScoresClasses) else plan


def _resolved(name: str, images: Images, plan: Plan, among: Among) -> Embeds:
    return resolve(
        name,
        images=images,
        device=plan.device,
        runtime=plan.runtime,
        precision=plan.precision,
        among=among,
    )


def _unfair(encoders: list[Embeds], parts: Parts) -> dict[str, NDArray[np.bool_]]:
    """Rows that a classifier learnt from with their labels, so that it cannot be judged on them."""
    digests = [row.digest for row in parts.train + parts.unlabelled]
    return {e.name: ~e.fair(digests) for e in encoders if isinstance(e, ScoresClasses)}


def features_table(encoder: Embeds, parts: Parts, plan: Plan, store: Store) -> Data:
    """What learns, as this encoder sees it: labelled rows first, then those without a label."""
    rows = parts.train + parts.unlabelled
    x = store.get(encoder.space, [row.digest for row in rows])
    if not isinstance(encoder, EmbedsText):
        return Data(x, parts.labels(rows), parts.classes)
    pool = encoder.embed_text(plan.descriptions) if plan.descriptions else None
    hints = _hints(encoder, parts, plan)
    return Data(x, parts.labels(rows), parts.classes, hints=hints, pool=pool)


def _hints(encoder: EmbedsText, parts: Parts, plan: Plan) -> Features:
    """One text embedding a class: the mean over prompts, on the unit sphere again."""
    each = [
        encoder.embed_text([prompt.format(name) for name in parts.classes])
        for prompt in plan.prompts
    ]
    mean = np.mean(each, axis=0)
    unit = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit, np.float32)


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
