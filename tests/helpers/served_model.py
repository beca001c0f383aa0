"""A model of a few digits, and a server for it: in this process, or on a socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from ilk.artifacts.loading import load
from ilk.serve.app import ServerState, create_app
from ilk.serve.decoding import Decoder
from ilk.serve.limits import Limits
from ilk.serve.model_host import ModelHost
from ilk.serve.run import format_address, make_server, open_socket
from ilk.store import Store

LIMITS = Limits(decoders=1)
CLASSES = ("class 0", "class 1", "class 2")


def fit_digits(home: Path, method: str = "GDA") -> Path:
    """Fit a model of three digits, which takes a second, and return its folder."""
    photos = write_digits(home / "photos", dict.fromkeys(CLASSES, 20))
    classifier = ilk.fit(
        photos, encoders="pixels/8x8x1", methods=method, folds=3, store=Store(home / "s.sqlite")
    )
    return Path(classifier.save(home / "kinds"))


def list_images(home: Path, name: str, n: int = 6, seed: int = 1) -> list[Path]:
    """Return images of a digit that the model may not have seen, such as `class 3`."""
    folder = write_digits(home / f"more-{seed}", {name: n}, seed=seed) / name
    return sorted(folder.iterdir())


def make_png(color: int = 127, size: tuple[int, int] = (8, 8)) -> bytes:
    """Return the bytes of a grey PNG."""
    file = BytesIO()
    Image.new("L", size, color).save(file, "PNG")
    return file.getvalue()


@dataclass
class ServedModel:
    """A running server.

    Attributes:
        address: Its address, such as `http://127.0.0.1:41234`.
        state: What its requests share.
    """

    address: str
    state: ServerState

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class SharedDecoder(Decoder):
    """A decoder that outlives the servers of several tests: its process takes a while to start."""

    def close(self) -> None:
        """Go on."""

    def end(self) -> None:
        """End the processes."""
        super().close()


def make_state(
    folder: Path, limits: Limits = LIMITS, decoder: Decoder | None = None, **settings: Any
) -> ServerState:
    """Return the state of a server for the model in `folder`."""
    decoder = decoder or Decoder(limits)
    return ServerState(
        limits, decoder=decoder, host=ModelHost(folder, load, decoder, limits), **settings
    )


@contextmanager
def serve_model(folder: Path, limits: Limits = LIMITS, **settings: Any) -> Iterator[ServedModel]:
    """Serve the model in `folder` on a free port until the block ends."""
    state = make_state(folder, limits, **settings)
    with serve_app(create_app(state)) as address:
        yield ServedModel(address, state)


@contextmanager
def serve_app(app: Any) -> Iterator[str]:
    """Serve an application on a free port until the block ends; yield its address."""
    listener = open_socket("127.0.0.1", 0)
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield format_address(listener)
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()


def with_limits(**changes: Any) -> Limits:
    """Return the limits of tests with some changed."""
    return replace(LIMITS, **changes)
