"""Corrections: an image and the class that it has, folded into the model by a closed form.

The classifier that answers is always the one in the folder, extended by all corrections that are
pending (`ilk.updates.extend`): so each can be withdrawn, and none depends on the order. Saving
writes the extended classifier as a new version, as `ilk add` would; the versions before stay.

Several servers may correct one model: they share its log, and each takes up what the others have
written before it writes itself. Who gives an image another class than another server did is told
first, and may insist.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.loading import AnyClassifier
from ilk.artifacts.model_folder import SAVE_SECONDS
from ilk.core.errors import IlkError
from ilk.core.folder_transaction import lock_folder
from ilk.images import Row
from ilk.serve.correctable_model import Host, find_class, find_reason_against
from ilk.serve.correction_log import RESTORE, SAVE, WITHDRAW, Correction, CorrectionLog
from ilk.serve.fold_result import FoldResult, describe_fold
from ilk.serve.form import NamedImage
from ilk.serve.problems import Problem
from ilk.serve.versions import keep_version, list_versions, restore_version
from ilk.updates.add_validation import get_summary
from ilk.updates.correct import correct_classifier
from ilk.updates.side_files import SideFiles

T = TypeVar("T")
MAX_PENDING = 2_000


def _hold_model(method: Callable[..., T]) -> Callable[..., T]:
    """Let a method change the model alone."""

    @wraps(method)
    def call(self: Corrections, *args: Any) -> T:
        with self.host.change_lock:
            return method(self, *args)

    return call


class Corrections:
    """The corrections of one served model. Thread-safe.

    Args:
        host: The model.
    """

    def __init__(self, host: Host) -> None:
        self.host, self.log = host, CorrectionLog(host.folder)
        self.result = FoldResult((), "", None, 0.0)
        self._seen = 0  # the last event of the log that the result rests on
        self.rebase()
        self._own = {c.number for c in self.result.pending}  # made here, or known to the client

    @property
    def reason_against(self) -> str:
        """Why the model cannot be corrected, or ""."""
        return find_reason_against(self.host.served.base)

    def warm_up(self) -> None:
        """Fold one row once and forget it, so that the first correction finds everything loaded."""
        base = self.host.served.base
        if not isinstance(base, Classifier) or self.reason_against:
            return
        summary = get_summary(base)
        if len(summary.y):
            with suppress(IlkError), np.errstate(all="ignore"):
                correct_classifier(base, summary.x[:1], [base.classes[summary.y[0]]])

    @_hold_model
    def rebase(self) -> None:
        """Fold all pending corrections into the model of the folder, which may be a new one."""
        try:
            self._seen = self.log.find_last()
            pending = self.log.list_pending()
        except IlkError as error:
            self.result = FoldResult((), str(error), None, 0.0)
            return
        base, asides = self.host.served.base, []
        usable: list[Correction] = []
        if pending:
            reason = self.reason_against
            known = {} if reason else self._read_side_files().known_rows
            usable = [
                c
                for c in pending
                if not reason
                and c.space == base.encoder.space.key
                and len(c.features) == base.encoder.space.dim
                and c.digest not in known
            ]
            n_unusable = sum(c.digest not in known for c in pending) - len(usable)
            if n_unusable:
                why = reason or "they were made with another encoder"
                asides.append(f"{n_unusable:,} earlier corrections are kept but not used: {why}")
            asides += [
                f"{c.name} is not corrected to {c.label!r}: the model was saved with it as "
                f"{known[c.digest].label!r} meanwhile"
                for c in pending
                if c.digest in known and known[c.digest].label != c.label
            ]
        aside = "; ".join(asides)
        try:
            self._fold(usable, aside)
        except IlkError as error:
            aside = f"{len(usable):,} earlier corrections are kept but not used: {error}"
            self.result = FoldResult((), aside, None, 0.0)
            self.host.replace_classifier(base)

    @_hold_model
    def add(self, image: NamedImage, label: str) -> FoldResult:
        """Fold one image into the class `label`, which may be new.

        Raises:
            InputError: The class cannot take it.
            Problem: The model cannot be corrected, or the image cannot be read or is known.
            OutputError: The log cannot be written; nothing has changed.
        """
        if reason := self.reason_against:
            raise Problem(409, f"this model cannot be corrected: {reason}")
        if len(self.result.pending) >= MAX_PENDING:
            raise Problem(409, f"{MAX_PENDING:,} corrections are not saved yet; save them first")
        answer, row = self.host.embed_one(image)
        known = self._read_side_files().known_rows.get(row.digest)
        if known is not None:
            raise Problem(
                409,
                f"the model was fitted or corrected with this image as {known.label!r} already; "
                "to give it another class, restore an earlier version, or fit again",
            )
        space = self.host.served.base.encoder.space.key
        while True:
            self._take_up()
            name = find_class(label, self.host.served.classifier.classes)
            others = [c for c in self.result.pending if c.digest != row.digest]
            self._tell_conflict(row.digest, name)
            new = Correction(
                self._seen + 1, "", row.digest, image.name, name, space, answer.features
            )
            before, classifier = self.result, self.host.served.classifier
            self._fold([*others, new], before.set_aside)  # first: what fails here is not logged
            number = 0
            try:
                number = self.log.add_correction(
                    *(row.digest, image.name, name, space, answer.features, image.content),
                    after=self._seen,
                )
            finally:
                if not number:
                    self.result = before
                    self.host.replace_classifier(classifier)
            if number:
                break
        self._seen = number
        self._own.add(number)
        logged = next(c for c in self.log.list_pending() if c.number == number)
        self.result = replace(self.result, pending=(*others, logged))
        return self.result

    @_hold_model
    def withdraw(self, numbers: Sequence[int]) -> FoldResult:
        """Take pending corrections back; their images stay in the log.

        Raises:
            Problem: One of them is not pending.
        """
        while numbers:
            self._take_up()
            pending = {c.number for c in self.result.pending}
            if missing := [n for n in numbers if n not in pending]:
                raise Problem(404, f"there is no pending correction {missing[0]}; it may be saved")
            if last := self.log.add_event(WITHDRAW, after=self._seen, numbers=list(numbers)):
                self._seen = last
                kept = [c for c in self.result.pending if c.number not in set(numbers)]
                self._fold(kept, self.result.set_aside)
                break
        return self.result

    @_hold_model
    def save(self) -> int:
        """Write the corrected classifier as a new version, and return its number.

        Raises:
            Problem: There is nothing to save, or the model on disk is another one.
            OutputError: The folder cannot be written; nothing has changed.
        """
        host, result = self.host, self.result
        classifier, report = host.served.classifier, result.report
        if not result.pending or report is None or not isinstance(classifier, Classifier):
            raise Problem(409, "there are no corrections to save")
        with lock_folder(host.folder, wait=SAVE_SECONDS):
            host.check_folder()
            if host.note or host.served.classifier is not classifier:
                raise Problem(
                    409,
                    host.note or "the model on disk was just replaced; look at it, and save again",
                )
            self._check_standing()
            keep_version(host.folder)
            side_files = self._read_side_files()
            rows = [
                Row(f"corrections/{c.digest}", c.label, digest=c.digest) for c in result.pending
            ]
            last_added = side_files.merge_additions(rows)
            updated = replace(
                classifier,
                metadata={**classifier.metadata, "last_added": last_added},
                side_files=partial(side_files.render, describe_fold(report), rows),
            )
            side_files.check_unchanged()
            updated.save(host.folder)
            host.adopt_folder()
            number = keep_version(host.folder)
        numbers = [c.number for c in result.pending]
        self.log.add_event(SAVE, numbers=numbers, version=number, digest=host.served.digest)
        self.rebase()
        return number

    @_hold_model
    def restore(self, number: int) -> None:
        """Put an earlier or later version back into the folder, and answer with it.

        Raises:
            Problem: There is no such version, or corrections are not saved.
            ArtifactError: It is damaged.
            OutputError: The folder cannot be written; nothing has changed.
        """
        self._take_up()
        if self.result.pending:
            raise Problem(
                409,
                f"{len(self.result.pending):,} corrections are not saved; save or withdraw them "
                "before another version is restored",
            )
        restore_version(self.host.folder, number)
        self.host.adopt_folder()
        self.log.add_event(RESTORE, version=number, digest=self.host.served.digest)
        self.rebase()

    def list_versions(self) -> list[dict[str, Any]]:
        """Return the versions as plain values, oldest first."""
        return [
            {
                "number": v.number,
                "digest": v.digest,
                "current": v.is_current,
                "classes": v.n_classes,
                "created": v.created,
                "added": v.summary,
            }
            for v in list_versions(self.host.folder)
        ]

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def _take_up(self) -> None:
        """Fold in what other servers of this model have written into the log."""
        if self.log.find_last() != self._seen:
            self.rebase()

    def _tell_conflict(self, digest: str, label: str) -> None:
        """Refuse, once, to give an image another class than another server has.

        Raises:
            Problem: Another server did, and no client of this one was told.
        """
        for c in self.result.pending:
            if c.digest == digest and c.label != label and c.number not in self._own:
                self._own.add(c.number)
                raise Problem(
                    409,
                    f"another server of this model has corrected this image to {c.label!r} "
                    f"({c.time}), which now waits to be saved here too; correct it again to give "
                    f"it {label!r} all the same",
                )

    def _check_standing(self) -> None:
        """Raise Problem if another server has replaced or withdrawn what is folded in here."""
        standing = {c.number for c in self.log.list_pending()}
        gone = [c for c in self.result.pending if c.number not in standing]
        if gone:
            self.rebase()
            raise Problem(
                409,
                f"another server of this model has given {gone[0].name} another class meanwhile, "
                "or took its correction back; look at the corrections, and save again",
            )

    def _fold(self, pending: Sequence[Correction], set_aside: str) -> None:
        started_at = time.perf_counter()
        base, report = self.host.served.base, None
        classifier: AnyClassifier = base
        if pending:
            assert isinstance(base, Classifier)
            x, labels = np.stack([c.features for c in pending]), [c.label for c in pending]
            with np.errstate(all="ignore"):
                classifier, report = correct_classifier(base, x, labels)
        self.host.replace_classifier(classifier)
        seconds = time.perf_counter() - started_at
        self.result = FoldResult(tuple(pending), set_aside, report, seconds)

    def _read_side_files(self) -> SideFiles:
        served = self.host.served
        previous = served.base.metadata.get("last_added")
        return replace(SideFiles.read(self.host.folder, previous), digest=served.digest)
