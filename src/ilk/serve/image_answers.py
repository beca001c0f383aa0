"""From the bytes of an image to the answer of the model: decoded, prepared, and batched."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ilk.images import ImageError, Row
from ilk.serve.batching import Answer, Batcher
from ilk.serve.decoding import Decoder
from ilk.serve.form import NamedImage
from ilk.serve.limits import Limits
from ilk.serve.problems import Problem
from ilk.serve.served_model import ImageAnswer, ServedModel
from ilk.serve.threaded_calls import make_late, make_stopping, submit_call, wait_for_call


@dataclass(frozen=True)
class _Decoded:
    """An image on its way: its row and the answer to come, or why it cannot be decoded."""

    row: Row | None
    future: Future[Answer] | None
    error: str
    seconds: float


class ImageAnswerer:
    """Decodes images of requests in some threads, and lets a model answer them in another one.

    Args:
        decoder: Decodes images.
        limits: Bounds of the server.

    Attributes:
        batcher: The thread that owns the model.
    """

    def __init__(self, decoder: Decoder, limits: Limits) -> None:
        self.decoder, self.limits = decoder, limits
        self.batcher = Batcher(limits.queue)
        self._pool = ThreadPoolExecutor(2 * limits.decoders, "ilk decode")
        self._ended = threading.Event()

    async def answer_all(
        self, served: ServedModel, images: Sequence[NamedImage]
    ) -> list[ImageAnswer]:
        """Return what becomes of each image, in order.

        Raises:
            Busy: Too many images wait.
            Problem: There was no answer in time.
        """
        self.batcher.announce(len(images))
        ends_at = time.perf_counter() + self.limits.seconds
        calls = [self._answer(served, image, ends_at) for image in images]
        return list(await wait_for_call(asyncio.gather(*calls), self.limits.seconds))

    def answer_one(self, served: ServedModel, image: NamedImage) -> tuple[Answer, Row]:
        """Return the answer for one image, from a thread that may wait.

        Raises:
            Problem: The image cannot be decoded.
            Busy: Too many images wait.
        """
        self.batcher.announce(1)
        ends_at = time.perf_counter() + self.limits.seconds
        decoded = self._decode(served, image, ends_at)
        if decoded.row is None or decoded.future is None:
            raise Problem(422, f"{image.name!r} cannot be read: {decoded.error}")
        try:
            return decoded.future.result(max(0.0, ends_at - time.perf_counter())), decoded.row
        except TimeoutError:
            decoded.future.cancel()
            raise make_late(self.limits.seconds) from None

    def close(self) -> None:
        """End the threads."""
        self._ended.set()
        self.batcher.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, served: ServedModel, image: NamedImage, ends_at: float) -> ImageAnswer:
        """Return what becomes of an image that was announced."""
        call = submit_call(self._pool, self._decode, served, image, ends_at)
        call.add_done_callback(self._withdraw_cancelled)
        answer = None
        try:
            decoded = await asyncio.wrap_future(call)
            if decoded.future is not None:
                answer = await asyncio.wrap_future(decoded.future)
        except asyncio.CancelledError:
            if self._ended.is_set():  # the model's threads have ended, not the request
                raise make_stopping() from None
            raise
        return ImageAnswer(image.name, decoded.row, answer, decoded.error, decoded.seconds)

    def _decode(self, served: ServedModel, image: NamedImage, ends_at: float) -> _Decoded:
        """Decode an image that was announced, prepare it, and give it to the model."""
        started_at = time.perf_counter()
        try:
            row, pixels = self.decoder.decode_with(
                image.content,
                lambda decoded: (decoded.row, served.base.encoder.prepare(decoded.image)),
                served.base.value_ranges,
            )
        except ImageError as error:
            self.batcher.withdraw()
            seconds = time.perf_counter() - started_at
            return _Decoded(None, None, format_error(error), seconds)
        except BaseException:
            self.batcher.withdraw()
            raise
        ended_at = time.perf_counter()
        if ended_at > ends_at:  # nobody waits for it any more
            self.batcher.withdraw()
            raise make_late(self.limits.seconds)
        future = self.batcher.submit(served.classifier, pixels)
        return _Decoded(row, future, "", ended_at - started_at)

    def _withdraw_cancelled(self, call: Future[Any]) -> None:
        """Give up the place of an image whose request ended before it was decoded."""
        if call.cancelled():
            self.batcher.withdraw()


def format_error(error: ImageError) -> str:
    """Return why an image cannot be decoded."""
    return f"{error.reason}: {error.detail}" if error.detail else error.reason
