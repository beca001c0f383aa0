"""`LabellingSession`: ask for images, keep the answers, and say how good the model is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.capabilities import Embeds
from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.core.linear_models import normalize_rows
from ilk.core.progress import Progress as ProgressBar
from ilk.core.progress import silent_progress
from ilk.images import Images
from ilk.labelling.agreement import Agreement, measure_agreement
from ilk.labelling.answers import Answers, Disagreement
from ilk.labelling.audit import AuditResult, count_reserved, find_slice, judge
from ilk.labelling.events import (
    ADD_CLASS,
    ANSWERS,
    LABEL,
    NO_ANNOTATOR,
    OPEN,
    RESOLVE,
    SKIP,
    UNDO,
    UNSURE,
    Event,
)
from ilk.labelling.exports import (
    LabelledItem,
    describe_item,
    fit_labels,
    read_content,
    write_folder,
    write_table,
)
from ilk.labelling.groups import RowGroup, group_rows
from ilk.labelling.items import Item, draw_numbers
from ilk.labelling.learner import Snapshot, fit_snapshot, reduce_features
from ilk.labelling.learning_curve import LearningCurve, estimate_learning_curve
from ilk.labelling.log import EventLog
from ilk.labelling.names import check_annotator, check_class_name
from ilk.labelling.opening import check_log_is_of, encode_source, name_groups, read_source
from ilk.labelling.order import OrderTags, Pool
from ilk.labelling.orders import DEFAULT, parse_order
from ilk.labelling.questions import Questions
from ilk.labelling.refitter import Refitter
from ilk.labelling.results import Group, OwnAnswer, Progress, Suggestion, Undone
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier

SHARED_SHARE = 0.1  # of the images are asked of every annotator
AHEAD = 20  # questions that are ordered at a time
CURVE_EVERY = 10  # labels between two learning curves
MAX_RANKING = 5
UNIT_FEATURES = 128  # of the reduced features, that orders and groups compare images by


class LabellingSession:
    """A folder, its log and a model that learns while images are labelled. Thread-safe.

    Use `open`; a session is also a context manager that closes its log.

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
        if not 0 <= shared <= 1:
            raise InputError(f"shared is {shared}; it must lie between 0 and 1")
        self.images, self.items, self.log = images, tuple(items), log
        self._encoder, self._store = encoder, store
        self._order = parse_order(order) if isinstance(order, str) else order
        self._refit_every, self._lock = refit_every, threading.RLock()
        self._digests = tuple(item.digest for item in self.items)
        self._position = {d: i for i, d in enumerate(self._digests)}
        self._paths = {item.digest: item.path for item in self.items}
        self._rows = {row.digest: row for row in images.used}
        events = log.read_events()
        check_log_is_of(log.path, events, self._position, images)
        self.seed = next((e.target for e in events if e.kind == OPEN), seed)
        self._answers = Answers()
        self._classes = dict.fromkeys(check_class_name(name) for name in classes)
        self._classes |= dict.fromkeys(sorted({i.given_label for i in self.items if i.given_label}))
        for event in events:
            self._answers.apply(event)
        self._own_classes = tuple(self._classes)
        self._classes |= dict.fromkeys(e.label for e in events if e.label)
        self._given = np.array([item.given_label is not None for item in self.items])
        self._y = np.full(len(self.items), -1, np.int64)
        self._column = {name: c for c, name in enumerate(self._classes)}
        self._audit = self._draw_audit()
        numbers = draw_numbers(self._digests, self.seed, "shared")
        common = {d for d, u in zip(self._digests, numbers, strict=True) if u < shared}
        self._questions = Questions(
            self._digests,
            [self._digests[i] for i in self._audit],
            common | {self._digests[i] for i in self._audit},
            self._given.tolist(),
            self.is_gone,
        )
        self._shared = sorted(self._position[d] for d in common)
        self._gone: set[str] = set()
        self._unreadable: set[str] = set()
        self._update_rows(self._digests)
        self._z = reduce_features(features, self.seed)
        self._units = to_unit_rows(self._z[:, :UNIT_FEATURES])
        self._snapshot: Snapshot | None = None
        self._audit_result: AuditResult | None = None
        self._curve: LearningCurve | None = None
        self._curve_labels = 0
        self._groups: tuple[tuple[int, Snapshot | None], list[Group]] | None = None
        self._n_changes = self._n_fitted = 0
        if not log.is_read_only:
            detail = {"source": str(images.root or ""), "images": len(self.items)}
            self._record("", OPEN, target=self.seed, detail=detail)
        self._refitter = Refitter(self._refit) if refit_in_background else None
        self._request_refit()

    @classmethod
    def open(
        cls,
        source: Any,
        log_path: str | os.PathLike[str],
        *,
        encoder: str = "default",
        classes: Sequence[str] = (),
        seed: int = 0,
        order: str | OrderTags = DEFAULT,
        shared: float = SHARED_SHARE,
        read_labels: bool = True,
        store: Store | None = None,
        progress: ProgressBar = silent_progress,
        read_only: bool = False,
        refit_every: int = 1,
        **intake: Any,
    ) -> LabellingSession:
        """Read and encode a folder, and take up the session of its log, or begin one.

        Args:
            source: What `ilk.read` reads; labels in part, or none, are as good as any.
            log_path: The log of this folder; created if missing.
            encoder: Encoder of the images; "default" is the network that is installed with ilk.
            classes: Class names that annotators can choose from the start; others may follow.
            seed: Seed of the audit and the order, for a new log.
            order: Which images are asked next.
            shared: Share of the images that every annotator is asked, besides the audit.
            read_labels: Take the names of sub-folders, or the column of labels, as given labels.
            store: Feature store; the user's own by default.
            progress: Reports the progress of encoding.
            refit_every: Number of changed labels after which the model is refitted.
            read_only: Only look: nothing is written, and another process may be labelling.
            intake: Settings of `ilk.read`, such as `label_column`.

        Raises:
            InputError: The source cannot be read, or the log belongs to another folder.
            OutputError: The log cannot be written, or another process labels with it.
            ArtifactError: The log is damaged, or of a newer ilk.
        """
        log = EventLog(log_path, read_only=read_only)
        try:
            store = Store() if store is None else store
            images = read_source(source, store, progress, read_labels=read_labels, **intake)
            images, opened, features = encode_source(images, encoder, store, progress)
            items = [Item(row.digest, row.path, row.label) for row in images.used]
            return cls(
                images,
                items,
                features,
                log,
                encoder=opened,
                classes=classes,
                seed=seed,
                order=order,
                shared=shared,
                store=store,
                refit_every=refit_every,
            )
        except BaseException:
            log.close()
            raise

    def __enter__(self) -> LabellingSession:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop refitting and release the log; every answer is already on the disk."""
        if self._refitter is not None:
            self._refitter.close()
        self.log.close()

    # What is asked

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order in which they came."""
        with self._lock:
            return tuple(dict.fromkeys((*self._own_classes, *self._answers.classes)))

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who has answered so far."""
        with self._lock:
            return tuple(self._answers.annotators)

    @property
    def paths(self) -> dict[str, str]:
        """Where each image was found, relative to the folder, by digest."""
        return self._paths

    def can_undo(self, annotator: str) -> bool:
        """Whether an annotator has an answer that `undo` would take back."""
        with self._lock:
            return self._answers.find_last(check_annotator(annotator)) is not None

    def next_item(self, annotator: str) -> Suggestion | None:
        """Return the next image for an annotator, the same until it is answered; None at the end.

        What is suggested comes from a model that has learned from no answer for this image.
        """
        found = self.next_items(annotator, 1)
        return found[0] if found else None

    def next_items(self, annotator: str, count: int) -> list[Suggestion]:
        """Return the next `count` images for an annotator, of which a page can load some ahead."""
        annotator = check_annotator(annotator)
        with self._lock:
            digests = self._questions.list_next(annotator, count, self._answers)
            return [self._suggest(digest) for digest in digests]

    def suggest(self, digest: str) -> Suggestion:
        """Return what the model says of one image.

        Raises:
            InputError: The folder has no such image.
        """
        with self._lock:
            self._check_digests([digest])
            return self._suggest(digest)

    def _suggest(self, digest: str) -> Suggestion:
        path, snapshot = self.items[self._position[digest]].path, self._snapshot
        if snapshot is None:
            return Suggestion(digest, path)
        p = snapshot.answer(self._position[digest])
        best = np.argsort(-p, kind="stable")[:MAX_RANKING]
        ranking = tuple((snapshot.classes[c], float(p[c])) for c in best if p[c] > 0)
        return Suggestion(digest, path, ranking[0][0], ranking[0][1], ranking)

    # What is answered

    def add_class(self, name: str, *, annotator: str = NO_ANNOTATOR, key: str = "") -> str:
        """Add a class; return its name as it is kept: one that is spelled alike is the same class.

        Args:
            name: The class.
            annotator: Who adds it, and can undo that; "" for nobody.
            key: Names this call: repeated with the same key, it changes nothing. "" for none.

        Raises:
            InputError: The name is empty or cannot be one.
            OutputError: The log cannot be written.
        """
        with self._lock:
            if key in self._answers.by_key:
                return self._answers.by_key[key].label
            name = check_class_name(name, self.classes)
            if name not in self.classes:
                self._take_in(self._record(annotator.strip(), ADD_CLASS, label=name, key=key))
        return name

    def assign(
        self, annotator: str, digests: str | Iterable[str], label: str, *, key: str = ""
    ) -> str:
        """Give images a class, which may be new; return the class as it is kept.

        The answer is on the disk when this returns. An earlier answer of the annotator for an image
        is replaced, and comes back with `undo`.

        Args:
            annotator: Who answers.
            digests: An image or several.
            label: The class.
            key: Names this call: repeated with the same key, it changes nothing. "" for none.

        Raises:
            InputError: The folder has no such image, or the name cannot be that of a class.
            OutputError: The log cannot be written; nothing is changed.
        """
        return self._answer(annotator, LABEL, _to_list(digests), label, key=key)

    def skip(self, annotator: str, digest: str, *, key: str = "") -> None:
        """Leave an image for later: it is asked once more, when nothing else is left."""
        self._answer(annotator, SKIP, [digest], key=key)

    def mark_unsure(self, annotator: str, digest: str, *, key: str = "") -> None:
        """Say that the class of an image cannot be told; it is not asked again."""
        self._answer(annotator, UNSURE, [digest], key=key)

    def undo(self, annotator: str, *, key: str = "") -> Undone | None:
        """Take back the newest answer of an annotator, a group as a whole; None without any.

        The log keeps both, so this works after a restart as well, one answer after the other. Its
        images are asked again next. Repeated with the same `key`, the call changes nothing.
        """
        annotator = check_annotator(annotator)
        with self._lock:
            if key in self._answers.by_key:
                event = self._answers.get_event(self._answers.by_key[key].target)
                return None if event is None else Undone(event.kind, event.digests, event.label)
            event = self._answers.find_last(annotator)
            if event is None:
                return None
            self._take_in(self._record(annotator, UNDO, target=event.number, key=key))
            if event.kind in ANSWERS:
                self._questions.ask_again(annotator, event.digests)
            return Undone(event.kind, event.digests, event.label)

    def list_disagreements(self) -> list[Disagreement]:
        """Return the images to which annotators gave different classes, and nobody the last."""
        with self._lock:
            return [d for d in self._answers.list_disagreements() if d.digest in self._position]

    def resolve(
        self, digest: str, label: str, *, annotator: str = "resolver", key: str = ""
    ) -> str:
        """Settle the class of an image, whatever annotators have said; return it as it is kept."""
        return self._answer(annotator, RESOLVE, [digest], label, key=key)

    def get_answer(self, annotator: str, digest: str) -> tuple[str, str] | None:
        """Return an annotator's own answer for an image, as kind and class, or None."""
        with self._lock:
            event = self._answers.get_answer(annotator, digest)
            return None if event is None else (event.kind, event.label)

    def list_labels(self, annotator: str) -> list[OwnAnswer]:
        """Return an annotator's own answers, the newest first: what a page of corrections shows."""
        annotator = check_annotator(annotator)
        with self._lock:
            newest = self._answers.list_newest(annotator)
            return [OwnAnswer(d, e.kind, e.label) for d, e in newest if d in self._position]

    def get_label(self, digest: str) -> str | None:
        """Return the class of an image: by annotators, else given; None without one."""
        with self._lock:
            self._check_digests([digest])
            return self._settle(digest)

    def _answer(
        self, annotator: str, kind: str, digests: Sequence[str], label: str = "", *, key: str = ""
    ) -> str:
        annotator = check_annotator(annotator)
        with self._lock:
            if key in self._answers.by_key:
                return self._answers.by_key[key].label
            self._check_digests(digests)
            label = check_class_name(label, self.classes) if kind in (LABEL, RESOLVE) else ""
            self._take_in(self._record(annotator, kind, digests, label, key=key))
        return label

    def _record(
        self,
        annotator: str,
        kind: str,
        digests: Sequence[str] = (),
        label: str = "",
        *,
        target: int = 0,
        detail: Any = None,
        key: str = "",
    ) -> Event:
        return self.log.append(
            annotator, kind, digests, label, target=target, detail=detail, key=key
        )

    def _take_in(self, event: Event) -> None:
        if event.label:
            self._know_class(event.label)
        changed = self._answers.apply(event)
        self._update_rows(changed)
        self._n_changes += len(changed)
        if self._n_changes - self._n_fitted >= self._refit_every:
            self._request_refit()

    def _know_class(self, name: str) -> None:
        self._classes.setdefault(name)
        self._column.setdefault(name, len(self._column))

    def _check_digests(self, digests: Sequence[str]) -> None:
        if not digests:
            raise InputError("no image is named; choose at least one")
        for digest in digests:
            if digest not in self._position:
                raise InputError(
                    f"the folder has no image with the digest {digest!r}; reload the page, and "
                    "open the session again if images were added"
                )

    def _update_rows(self, digests: Iterable[str]) -> None:
        known = [d for d in digests if d in self._position]
        for digest in known:
            label = self._settle(digest)
            self._y[self._position[digest]] = -1 if label is None else self._column[label]
        self._questions.update(known, self._answers)

    def _settle(self, digest: str) -> str | None:
        label = self._answers.settle(digest)
        if label is None and not self._answers.list_labels(digest):
            return self.items[self._position[digest]].given_label
        return label

    # The model

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

    def _draw_audit(self) -> list[int]:
        """Return the rows of the audit in its random order."""
        free = np.flatnonzero(~self._given)
        numbers = draw_numbers([self._digests[i] for i in free], self.seed, "audit")
        order = free[np.argsort(numbers, kind="stable")]
        return [int(i) for i in order[: count_reserved(len(free))]]

    def _find_audited(self) -> list[int]:
        """Return the rows of the audit slice, with those that have an answer but no class."""
        is_answered = np.zeros(len(self.items), bool)
        for i in self._audit:
            digest = self._digests[i]
            is_answered[i] = digest in self._gone | self._unreadable or any(
                self._answers.get_answer(a, digest) for a in self._answers.annotators
            )
        return find_slice(self._audit, is_answered)

    # What it tells

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

    def progress(self) -> Progress:
        """Return where the session stands: counts, accuracy, learning curve, agreement."""
        with self._lock:
            answered = [d for d in self._answers.list_digests() if d in self._position]
            counts = np.bincount(self._y[self._y >= 0], minlength=len(self._classes))
            return Progress(
                n_images=len(self.items),
                n_given=int(self._given.sum()),
                n_labelled=sum(self._answers.settle(d) is not None for d in answered),
                n_unsure=sum(map(self._answers.is_unsure, answered)),
                n_disputed=len(self.list_disagreements()),
                n_gone=len(self._gone),
                n_unreadable=len(self._unreadable),
                counts={name: int(counts[self._column[name]]) for name in self.classes},
                answers={a: self._answers.count_answers(a) for a in self._answers.annotators},
                model_labels=0 if self._snapshot is None else self._snapshot.n_labels,
                audit=self._audit_result,
                curve=self._curve,
                agreement=self._measure_agreement(answered),
                notes=self._list_notes(),
            )

    def _measure_agreement(self, answered: Sequence[str]) -> tuple[Agreement, ...]:
        pairs = []
        for a, b in combinations(self._answers.annotators, 2):
            both = [
                (labels[a], labels[b])
                for labels in map(self._answers.list_labels, answered)
                if a in labels and b in labels
            ]
            if both:
                first, second = zip(*both, strict=True)
                pairs.append(measure_agreement((a, b), first, second))
        return tuple(pairs)

    def _list_notes(self) -> tuple[str, ...]:
        notes = [self.log.note]
        unknown = [d for d in self._answers.list_digests() if d not in self._position]
        if unknown:
            notes.append(
                f"{len(unknown):,} images that the log has answers for are not in the folder; "
                "their labels are kept, and count again once the images are back"
            )
        if self._gone:
            notes.append(
                f"{len(self._gone):,} images are gone since the folder was read; their labels are "
                "kept"
            )
        if self._refitter is not None and (problem := self._refitter.problem):
            notes.append(f"the model could not be refitted ({problem}); answers are kept")
        if n := len(self.list_disagreements()):
            notes.append(
                f"annotators differ on {n:,} image{'s' if n > 1 else ''}, which the model does not "
                "learn from before that is resolved"
            )
        return tuple(filter(None, notes))

    # Images and results

    def mark_unreadable(self, digest: str) -> None:
        """Say that an image cannot be shown: it is not asked any more while the session is open."""
        with self._lock:
            self._check_digests([digest])
            self._unreadable.add(digest)

    def is_gone(self, digest: str) -> bool:
        """Whether an image cannot be asked: its file is missing now, or cannot be shown."""
        row = self._rows.get(digest)
        if digest in self._unreadable:
            return True
        if row is None or digest in self.images.contents:
            return False
        is_gone = not self.images.path_of(row).exists()
        (self._gone.add if is_gone else self._gone.discard)(digest)
        return is_gone

    def read_image(self, digest: str) -> bytes:
        """Return the bytes of an image, as its file has them; pixels in memory become a PNG file.

        Raises:
            InputError: The folder has no such image, or its file is gone or changed.
        """
        self._check_digests([digest])
        return read_content(self.images, self._rows[digest])

    def list_labelled(self) -> list[LabelledItem]:
        """Return what is known of every image, in the order of the folder."""
        with self._lock:
            audited = set(self._find_audited())
            return [
                describe_item(item, self._answers, is_audited=i in audited)
                for i, item in enumerate(self.items)
            ]

    def export_csv(self, path: str | os.PathLike[str]) -> int:
        """Write a table of all labelled images, which `ilk fit` reads; return how many they are.

        Its columns are path, label, split ("test" for the audit slice), annotator and given; paths
        are relative to the folder of the table.

        Raises:
            InputError: Nothing is labelled.
            OutputError: The file exists, or cannot be written.
        """
        return write_table(Path(path), self.images, self._rows, self.list_labelled())

    def export_folder(self, path: str | os.PathLike[str], *, link: bool = False) -> int:
        """Copy all labelled images to a new folder, one sub-folder per class; return their number.

        Args:
            path: A folder that does not exist or is empty.
            link: Make symbolic links to the images instead of copies.

        Raises:
            InputError: Nothing is labelled.
            OutputError: The folder is not empty, or cannot be written.
        """
        return write_folder(Path(path), self.images, self._rows, self.list_labelled(), link=link)

    def fit_model(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressBar = silent_progress,
        log: Callable[[str], None] = lambda _line: None,
        **config: Any,
    ) -> Classifier:
        """Fit a classifier to the labels as `ilk fit` does, and write its model folder.

        The audit slice is its test part: the classifier does not learn from it, so the accuracy in
        its report is that of images like those of the folder. Where a class would be left with
        fewer than two images, the classifier learns from all labels, which `log` is told.

        Args:
            path: The model folder; an older classifier in it is replaced.
            progress: Reports the progress.
            log: Called with a message about each choice.
            config: Fields of `ilk.fitting.FitConfig`; the encoder is that of the session.

        Raises:
            InputError: There are labels of fewer than two classes.
            OutputError: The folder cannot be written.
        """
        labelled = self.list_labelled()
        settings = {"encoders": (self.encoder_name,), "seed": self.seed} | config
        return fit_labels(Path(path), self.images, labelled, settings, self._store, progress, log)

    @property
    def encoder_name(self) -> str:
        """Name of the encoder of the session."""
        return "default" if self._encoder is None else self._encoder.name


def to_unit_rows(z: Features) -> Features:
    """Return the directions `[n, d]` of rows from the mean direction."""
    unit = normalize_rows(z)
    return np.asarray(normalize_rows(unit - unit.mean(0)), np.float32)


def _to_list(digests: str | Iterable[str]) -> list[str]:
    return [digests] if isinstance(digests, str) else list(dict.fromkeys(digests))
