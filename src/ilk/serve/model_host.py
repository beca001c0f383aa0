"""The model of a server: its thread, and what happens when its folder changes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.loading import AnyClassifier
from ilk.artifacts.model_folder import DESCRIPTION_FILE, read_digest
from ilk.core.errors import ArtifactError, IlkError
from ilk.images import ImageError, Row
from ilk.serve.batching import Answer, Batcher
from ilk.serve.corrections import Corrections
from ilk.serve.decoding import DecodedImage, Decoder
from ilk.serve.form import NamedImage
from ilk.serve.image_answers import ImageAnswerer, format_error
from ilk.serve.limits import Limits
from ilk.serve.problems import Busy, Problem
from ilk.serve.served_model import ImageAnswer, ServedModel
from ilk.serve.threaded_calls import submit_call, wait_for_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from ilk.explain.neighbours import NeighbourIndex

POLL_SECONDS = 1.0  # between two looks at the model's folder


class ModelHost:
    """Answers questions about images with the model of a folder.

    Args:
        folder: The model folder.
        load: Loads a model folder.
        decoder: Decodes images.
        limits: Bounds of the server.

    Attributes:
        note: What is wrong with the model on disk, or "".
        change_lock: Held by whoever changes the model that answers.

    Raises:
        ArtifactError: As `ilk.load`.
        Unavailable: As `ilk.load`.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[Path], AnyClassifier],
        decoder: Decoder,
        limits: Limits | None = None,
    ) -> None:
        self.folder, self.limits, self.decoder = folder, limits or Limits(), decoder
        self._load, self.note = load, ""
        self.started_at = time.time()
        self.change_lock: AbstractContextManager[Any] = threading.RLock()
        self._signature = _read_signature(folder)
        self.served = self._load_served()
        self.served.base.encoder.load()
        self.corrections: Corrections = Corrections(self)
        self._answerer = ImageAnswerer(decoder, self.limits)
        self._explaining = ThreadPoolExecutor(1, "ilk explain")
        self._changing = ThreadPoolExecutor(1, "ilk change")
        self._changing.submit(self.corrections.warm_up)
        self._n_explanations = 0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="ilk watch", daemon=True)
        self._watcher.start()

    @property
    def batcher(self) -> Batcher:
        """The thread that owns the model."""
        return self._answerer.batcher

    @property
    def is_single_label(self) -> bool:
        """Whether an image has one class."""
        return isinstance(self.served.base, Classifier)

    async def predict(self, images: Sequence[NamedImage]) -> tuple[ServedModel, list[ImageAnswer]]:
        """Return the model that answered and what became of each image, in order.

        Raises:
            Busy: Too many images wait.
            Problem: There was no answer in time.
        """
        served = self.served
        return served, await self._answerer.answer_all(served, images)

    async def explain(self, image: NamedImage, **options: Any) -> tuple[ServedModel, Any, Row]:
        """Return the model, the explanation of an image, and what is known of the image.

        Raises:
            Busy: Too many explanations wait.
            InputError: The image cannot be decoded, or an option is wrong.
            Problem: There was no answer in time.
        """
        if self._n_explanations >= self.limits.explanations:
            raise Busy(
                f"{self._n_explanations} explanations are already waiting; try again in a moment", 5
            )
        served = self.served
        call = submit_call(self._explaining, self._explain_one, served, image, options)
        self._n_explanations += 1
        call.add_done_callback(self._end_explanation)
        explanation, row = await wait_for_call(
            asyncio.wrap_future(call), self.limits.explanation_seconds
        )
        return served, explanation, row

    async def change(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function that changes the model, after those that were called before."""
        call = asyncio.wrap_future(submit_call(self._changing, function, *args))
        return await wait_for_call(call, self.limits.explanation_seconds)

    def embed_one(self, image: NamedImage) -> tuple[Answer, Row]:
        """Return the answer for one image, from a thread that may wait.

        Raises:
            Problem: The image cannot be decoded.
            Busy: Too many images wait.
        """
        return self._answerer.answer_one(self.served, image)

    def replace_classifier(self, classifier: AnyClassifier) -> None:
        """Answer with another classifier of the same folder from now on."""
        self.served = replace(self.served, classifier=classifier)

    def adopt_folder(self) -> None:
        """Load the folder's model, which this server has written.

        Raises:
            ArtifactError: As `ilk.load`.
        """
        with self.change_lock:
            self._signature = _read_signature(self.folder)
            self.served = self._load_served()
            self.note = ""

    def check_folder(self) -> None:
        """Load the model if its folder was changed by somebody else, or say why it cannot be."""
        with self.change_lock:
            signature = _read_signature(self.folder)
            if signature == self._signature:
                return
            self._signature = signature
            if signature is None:
                self.note = (
                    f"the model folder {self.folder} is gone; the model that was loaded at "
                    f"{self.served.loaded} is still used"
                )
                return
            if read_digest(self.folder) == self.served.digest:
                self.note = ""
                return
            try:
                served = self._load_served()
                served.base.encoder.load()
            except IlkError as error:
                self.note = (
                    f"the model on disk was replaced and cannot be loaded ({error}); the one that "
                    f"was loaded at {self.served.loaded} is still used"
                )
                return
            self.served, self.note = served, ""
            self.corrections.rebase()

    def close(self) -> None:
        """End the threads."""
        self._ended.set()
        self._answerer.close()
        for pool in (self._explaining, self._changing):
            pool.shutdown(wait=False, cancel_futures=True)
        self.corrections.close()

    def _load_served(self) -> ServedModel:
        digest = read_digest(self.folder)
        base, neighbours = _hold_neighbours(self._load(self.folder))
        return ServedModel(base, base, digest, neighbours=neighbours)

    def _explain_one(
        self, served: ServedModel, image: NamedImage, options: dict[str, Any]
    ) -> tuple[Any, Row]:
        from ilk.explain.explain_image import explain_image

        try:
            decoded: DecodedImage = self.decoder.decode(image.content, served.base.value_ranges)
        except ImageError as error:
            raise Problem(422, f"{image.name!r} cannot be read: {format_error(error)}") from None
        return explain_image(served.classifier, decoded.image, **options), decoded.row

    def _end_explanation(self, _call: Future[Any]) -> None:
        self._n_explanations -= 1

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self.check_folder()


def _read_signature(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes when the model in a folder is replaced; None if there is none."""
    try:
        status = os.stat(folder / DESCRIPTION_FILE)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _hold_neighbours(base: AnyClassifier) -> tuple[AnyClassifier, NeighbourIndex | None]:
    """Return a classifier that has read its training images, and these.

    Where they are damaged, only they are missing.
    """
    try:
        index = base.neighbours() if base.neighbours is not None else None
    except ArtifactError:
        index = None
    return replace(base, neighbours=None if index is None else lambda: index), index
