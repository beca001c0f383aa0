"""The thread that owns the model: images of all requests go through it in batches.

A batch is closed at `MAX_BATCH` images, or `MAX_WAIT` after its first one, or at once if no other
image is on its way.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ilk.artifacts.loading import AnyClassifier
from ilk.core.data import Features
from ilk.hub.preprocessing import PixelArray
from ilk.serve.problems import Busy

MAX_BATCH = 16  # images
MAX_WAIT = 0.008  # seconds


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    Attributes:
        prediction: A `Prediction` or a `MultiLabelPrediction`, without a path.
        probabilities: Of all classes, in their order, `[k]` float64.
        features: Features of the image, `[d]`.
        seconds: From the end of decoding to the answer.
        model_seconds: Of these, the part that its batch spent in the model.
    """

    prediction: Any
    probabilities: Features
    features: Features
    seconds: float
    model_seconds: float


@dataclass(frozen=True)
class _Item:
    classifier: AnyClassifier
    pixels: PixelArray
    future: Future[Answer]
    queued_at: float = field(default_factory=time.perf_counter)


class Batcher:
    """Runs a model on images of many threads, in one thread of its own.

    Args:
        limit: Images that may be on their way at once.

    Attributes:
        n_batches: Batches so far.
        n_images: Images so far.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.n_batches, self.n_images = limit, 0, 0
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._announced = 0  # images that will be submitted
        self._n_waiting = 0  # images that are announced or in the queue
        self._thread = threading.Thread(target=self._run, name="ilk model", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Images that are on their way to the model, or wait for it."""
        return self._n_waiting

    def announce(self, n_images: int) -> None:
        """Reserve places for images that will be submitted, or withdrawn.

        Raises:
            Busy: There are not enough.
        """
        with self._lock:
            if self._n_waiting + n_images > self.limit and self._n_waiting:
                raise Busy(
                    f"{self._n_waiting:,} images are already waiting for the model; try again in "
                    "a moment"
                )
            self._n_waiting += n_images
            self._announced += n_images

    def withdraw(self) -> None:
        """Give up the place of an image that cannot be decoded."""
        with self._lock:
            self._n_waiting -= 1
            self._announced -= 1

    def submit(self, classifier: AnyClassifier, pixels: PixelArray) -> Future[Answer]:
        """Let the model answer a prepared image `[c, h, w]` that was announced."""
        item = _Item(classifier, pixels, Future())
        with self._lock:
            self._announced -= 1
        if self._is_closed:
            item.future.cancel()
        else:
            self._queue.put(item)
        return item.future

    def close(self) -> None:
        """End the thread after the images that wait; what comes later is cancelled."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, is_last = self._collect(first)
            with self._lock:
                self._n_waiting -= len(batch)
            for items in _group_by_classifier(batch):
                self.n_batches += 1
                self.n_images += len(items)
                _answer(items)
            if is_last:
                break
        while not self._queue.empty():
            if (item := self._queue.get()) is not None:
                item.future.cancel()

    def _collect(self, first: _Item) -> tuple[list[_Item], bool]:
        """Return the batch that begins with an item, and whether the thread is to end after it."""
        batch, closes_at = [first], time.perf_counter() + MAX_WAIT
        while len(batch) < MAX_BATCH:
            left = closes_at - time.perf_counter()
            try:
                if self._announced and left > 0:
                    item = self._queue.get(timeout=left)
                else:
                    item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False


def _group_by_classifier(batch: Sequence[_Item]) -> list[list[_Item]]:
    """Return the items that are not cancelled; those of a model that was replaced go apart."""
    groups: dict[int, list[_Item]] = {}
    for item in batch:
        if item.future.set_running_or_notify_cancel():
            groups.setdefault(id(item.classifier), []).append(item)
    return list(groups.values())


def _answer(items: Sequence[_Item]) -> None:
    """Set the answers of items of one classifier; an error is that of each of them."""
    classifier, started_at = items[0].classifier, time.perf_counter()
    try:
        features = classifier.encoder.embed(np.stack([item.pixels for item in items]))
        predictions = classifier.predict_features(features)
        probabilities = classifier.score_batch(features).probabilities
    except Exception as error:
        for item in items:
            with suppress(InvalidStateError):
                item.future.set_exception(error)
        return
    ended_at = time.perf_counter()
    for i, item in enumerate(items):
        with suppress(InvalidStateError):  # its request gave up
            item.future.set_result(
                Answer(
                    predictions[i],
                    probabilities[i],
                    features[i],
                    ended_at - item.queued_at,
                    ended_at - started_at,
                )
            )
