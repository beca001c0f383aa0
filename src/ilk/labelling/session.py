"""`LabellingSession`: ask for images, keep the answers, and say how good the model is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.progress import Progress as ProgressBar
from ilk.core.progress import silent_progress
from ilk.labelling.agreement import Agreement, measure_agreement
from ilk.labelling.answering import AnsweringSession
from ilk.labelling.exports import (
    LabelledItem,
    describe_item,
    read_content,
    write_folder,
    write_table,
)
from ilk.labelling.items import Item
from ilk.labelling.log import EventLog
from ilk.labelling.model_export import fit_labels
from ilk.labelling.opening import encode_source, read_source
from ilk.labelling.orders import DEFAULT
from ilk.labelling.orders.order import OrderTags
from ilk.labelling.results import Progress
from ilk.labelling.state import SHARED_SHARE
from ilk.store import Store

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier


class LabellingSession(AnsweringSession):
    """A folder, its log and a model that learns while images are labelled. Thread-safe.

    Use `open`; a session is also a context manager that closes its log. What it is made of:
    `state.py` (folder and log), `learning.py` (the model), `answering.py` (questions and answers),
    and here what it tells and writes.
    """

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
                f"{len(self._gone):,} images are missing since the folder was read; their labels "
                "are kept"
            )
        if self._refitter is not None and (problem := self._refitter.problem):
            notes.append(f"the model could not be refitted ({problem}); answers are kept")
        if n := len(self.list_disagreements()):
            notes.append(
                f"annotators differ on {n:,} image{'s' if n > 1 else ''}, which the model does not "
                "learn from until that is resolved"
            )
        return tuple(filter(None, notes))

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
        fewer than two images, the classifier learns from its audited images too, which `log` is
        told.

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
