"""`LearningSession`: a model that learns from the answers in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.images import Images
from ilk.labelling.audit import AuditResult, judge
from ilk.labelling.events import NO_ANNOTATOR, OPEN, Event
from ilk.labelling.groups import RowGroup, group_rows
from ilk.labelling.items import Item
from ilk.labelling.learner import (
    UNIT_FEATURES,
    Snapshot,
    fit_snapshot,
    reduce_features,
    to_unit_rows,
)
from ilk.labelling.learning_curve import LearningCurve, estimate_learning_curve
from ilk.labelling.log import EventLog
from ilk.labelling.opening import name_groups
from ilk.labelling.orders import DEFAULT, parse_order
from ilk.labelling.orders.order import OrderTags, Pool
from ilk.labelling.refitter import Refitter
from ilk.labelling.results import Group
from ilk.labelling.state import SHARED_SHARE, SessionState
from ilk.store import Store

AHEAD = 20  # questions that are ordered at a time
CURVE_EVERY = 10  # labels between two learning curves


class LearningSession(SessionState):
    """A session with a model: refitted after answers, judged on the audit slice.

    Args:
        images: The folder.
        items: Its images that can be used.
        features: Their features, `[n, d]`.
        log: The log, open.
        encoder: What made the features; None if groups need no names and no model is fitted.
        classes: Class names, besides those that the folder and the log have.
        seed: Seed of the audit and of the orders; that of the log counts, where it has one.
        order: Which images are asked next, as `ilk.labelling.orders.parse_order` reads it.
        shared: Share of the images that every annotator is asked, besides the audit.
        store: Feature store of the encoder.
        refit_in_background: Whether the model is refitted in a thread of its own; else by `assign`.
        refit_every: Number of changed labels after which it is.
    """

    def __init__(
        self,
        images: Images,
        items: Sequence[Item],
        features: Features,
        log: EventLog,
        *,
        encoder: Embeds | None = None,
        classes: Sequence[str] = (),
        seed: int = 0,
        order: str | OrderTags = DEFAULT,
        shared: float = SHARED_SHARE,
        store: Store | None = None,
        refit_in_background: bool = True,
        refit_every: int = 1,
    ) -> None:
        super().__init__(images, items, log, classes=classes, seed=seed, shared=shared)
        self._encoder, self._store, self._refit_every = encoder, store, refit_every
        self._order = parse_order(order) if isinstance(order, str) else order
        self._z = reduce_features(features, self.seed)
        self._units = to_unit_rows(self._z[:, :UNIT_FEATURES])
        self._snapshot: Snapshot | None = None
        self._audit_result: AuditResult | None = None
        self._curve: LearningCurve | None = None
        self._curve_labels = 0
        self._groups: tuple[tuple[int, Snapshot | None], list[Group]] | None = None
        if not log.is_read_only:
            detail = {"source": str(images.root or ""), "images": len(self.items)}
            self.log.append(NO_ANNOTATOR, OPEN, target=self.seed, detail=detail)
        self._n_fitted = 0
        self._refitter = Refitter(self._refit) if refit_in_background else None
        self._request_refit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop refitting and release the log; every answer is already on the disk."""
        if self._refitter is not None:
            self._refitter.close()
        self.log.close()

    @property
    def encoder_name(self) -> str:
        """Name of the encoder of the session."""
        return "default" if self._encoder is None else self._encoder.name

    def _take_in(self, event: Event) -> None:
        super()._take_in(event)
        if self._n_changes - self._n_fitted >= self._refit_every:
            self._request_refit()

    def wait_until_fitted(self, timeout: float | None = None) -> bool:
        """Wait until the model has learned from all answers; return whether it has."""
        return self._refitter is None or self._refitter.wait(timeout)

    def _request_refit(self) -> None:
        self._n_fitted = self._n_changes
        if self._refitter is not None:
            self._refitter.request()
        else:
            self._refit()

    def _refit(self) -> None:
        """Fit the model to the current labels, judge it, and order the next questions."""
        with self._lock:
            y, classes = self._y.copy(), tuple(self._classes)
            audited = np.array(self._find_audited(), np.int64)
            is_alone = len(self._answers.annotators) < 2
            common = np.array([] if is_alone else self._shared, np.int64)
            n_changes, is_open = self._n_changes, (self._y < 0) & ~self._given
        judged = audited[y[audited] >= 0]
        left_out = np.concatenate([judged, np.setdiff1d(common[y[common] >= 0], judged)])
        snapshot = fit_snapshot(self._z, y, classes, left_out, len(judged))
        result = None
        if snapshot is not None:
            p = snapshot.left_out_probabilities[: len(judged)]
            result = judge(y[judged], p, len(audited) - len(judged))
        probabilities = None if snapshot is None else snapshot.probabilities
        pool = Pool(self._units, y, is_open, probabilities)
        rows = self._order.choose(pool, AHEAD, self.seed + n_changes)
        with self._lock:
            self._snapshot, self._audit_result = snapshot, result
            self._questions.suggest([self._digests[i] for i in rows])
        n_labels = 0 if snapshot is None else snapshot.n_labels
        if abs(n_labels - self._curve_labels) >= CURVE_EVERY:
            curve = estimate_learning_curve(self._z, y, classes, judged, self.seed)
            with self._lock:
                self._curve, self._curve_labels = curve, n_labels

    def list_groups(self) -> list[Group]:
        """Return suggested groups of images that nobody has answered, with at least two images.

        No image of the audit is in one: its labels must be those of a person who looked at the
        image alone. Takes some seconds after answers have changed, during which nobody waits.
        """
        with self._lock:
            y, snapshot = self._y.copy(), self._snapshot
            state = (self._n_changes, snapshot)
            if self._groups is not None and self._groups[0] == state:
                return list(self._groups[1])
            can_group = (y < 0) & ~self._given
            can_group[self._audit] = False
            for digest in self._answers.list_digests():
                if digest in self._position:
                    can_group[self._position[digest]] = False
        found = group_rows(self._units, y, can_group, snapshot, self.seed)
        groups = self._name(found, snapshot)
        with self._lock:
            self._groups = (state, groups)
        return list(groups)

    def _name(self, found: Sequence[RowGroup], snapshot: Snapshot | None) -> list[Group]:
        new = [g.rows for g in found if g.known_class is None]
        names = name_groups(self._encoder, self.images, new, self.classes, self._store)
        groups, n_new = [], 0
        for number, group in enumerate(found, 1):
            digests = tuple(self._digests[i] for i in group.rows)
            if group.known_class is not None and snapshot is not None:
                name, p = snapshot.classes[group.known_class], group.probability
                groups.append(Group(number, digests, name, p))
                continue
            suggestion = names.get(n_new + 1)
            n_new += 1
            name, p2 = (suggestion.name, suggestion.probability) if suggestion else ("", None)
            groups.append(Group(number, digests, name, p2, is_new=True))
        return groups
