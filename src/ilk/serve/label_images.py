"""Images of a session as JPEG files that any browser shows, by digest."""

from __future__ import annotations

import threading
from collections import OrderedDict

from ilk.core.errors import InputError
from ilk.images import ImageError
from ilk.labelling.session import LabellingSession
from ilk.serve.decoding import Decoder
from ilk.serve.problems import Problem

SIZES = {"256": 256, "1280": 1280}  # longest side by what the page asks for
MAX_CACHED = 64 * 2**20  # bytes of JPEG files in memory
MAX_READS = 3  # files that are read and decoded at once


class ImageFiles:
    """JPEG files of a session's images, decoded in bounded processes. Thread-safe.

    Args:
        session: The open session; no path comes from a request, only a digest of its images.
        decoder: Decodes them.
    """

    def __init__(self, session: LabellingSession, decoder: Decoder) -> None:
        self._session, self._decoder = session, decoder
        self._lock, self._slots = threading.Lock(), threading.BoundedSemaphore(MAX_READS)
        self._cache: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._n_bytes = 0

    def read(self, digest: str, size: str) -> bytes:
        """Return an image as JPEG.

        Args:
            digest: SHA-256 of the image, hex.
            size: A key of `SIZES`.

        Raises:
            Problem: There is no such image or size; the file is gone, or cannot be decoded. `kind`
                of the problem is "gone" for what may come back, and "unreadable" for what does not.
        """
        if digest not in self._session.paths:
            raise Problem(404, "the folder has no image with this digest; reload the page")
        if size not in SIZES:
            raise Problem(422, f"the size {size[:20]!r} is not one of {', '.join(SIZES)}")
        key = (digest, SIZES[size])
        if (content := self._find(key)) is not None:
            return content
        with self._slots:
            if (content := self._find(key)) is None:
                content = self._make(*key)
                self._keep(key, content)
        return content

    def _make(self, digest: str, side: int) -> bytes:
        try:
            content = self._session.read_image(digest)
        except InputError as error:
            raise Problem(410, str(error), kind="gone") from None
        name = self._session.paths[digest]
        try:
            return self._decoder.make_thumbnail(content, side)
        except ImageError as error:
            self._session.mark_unreadable(digest)
            raise Problem(
                422, f"{name} cannot be decoded: {error.detail}", kind="unreadable"
            ) from None

    def _find(self, key: tuple[str, int]) -> bytes | None:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def _keep(self, key: tuple[str, int], content: bytes) -> None:
        with self._lock:
            self._cache[key] = content
            self._n_bytes += len(content)
            while self._n_bytes > MAX_CACHED:
                self._n_bytes -= len(self._cache.popitem(last=False)[1])
