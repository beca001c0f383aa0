"""`fit`: the whole road from images to a classifier with its evidence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

import ilk
from ilk import evaluate, methods
from ilk.classifier import Classifier, Judgement
from ilk.data import Data, Features
from ilk.encode import fill
from ilk.encoders import Embeds, EmbedsText, defaults, resolve
from ilk.errors import InputError
from ilk.images import Images, Row
from ilk.judged import Judged, score_rows
from ilk.models import Method, describe
from ilk.plan import PROMPTS, Parts, Plan, divide, fingerprint
from ilk.progress import Progress, silent
from ilk.report.evidence import Evidence
from ilk.store import Store
from ilk.trust import suspects
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.unknown import Unknown

__all__ = ["PROMPTS", "Plan", "fit"]

Say = Callable[[str], None]
EXAMPLES = 40


def fit(
    images: Images,
    plan: Plan | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent,
    say: Say = lambda _line: None,
) -> Classifier:
    """Try encoders × methods on the training part, keep the best, and find out how far to trust it.

    Args:
        images: What `ilk.read` gave.
        plan: What is asked; the defaults work.
        store: Where encoded images are kept; the user's own unless told otherwise.
        progress: Told of long work.
        say: Told of choices, a line each.

    Returns:
        The classifier, with `evidence` for its report.

    Raises:
        NoImages, NoLabels, InputError: The images or the plan do not allow it.
        Unavailable: An encoder asked for is not on this machine.
    """
    plan, held = plan or Plan(), store if store is not None else Store()
    divide(images, plan)
    encoders = _encoders(images, plan, say)
    images = images.refuse(fill(images, encoders, held, progress=progress))
    parts = divide(images, plan)
    tables = {e.name: _table(e, parts, plan, held) for e in encoders}
    tried = {e.name: _methods(e, parts, plan) for e in encoders}
    board = evaluate.leaderboard(
        tables, tried, folds=plan.folds, seed=plan.seed, select=plan.select, progress=progress
    )
    encoder = next(e for e in encoders if e.name == board.winner[0])
    say(f"the winner is {describe(board.winner[1])} on {encoder.name}; fitting it to all")
    work = Work(plan, images, parts, encoder, board.winner[1], tables[encoder.name], board)
    return work.finish(held)
