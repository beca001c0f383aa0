"""What all requests of one server share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ilk.serve.bodies import BodyBudget
from ilk.serve.limits import Limits

if TYPE_CHECKING:
    from ilk.serve.decoding import Decoder
    from ilk.serve.metrics import Metrics
    from ilk.serve.model_host import ModelHost


@dataclass(frozen=True)
class NavigationItem:
    """An entry of the page's navigation.

    Attributes:
        path: Where it leads, such as `/label`.
        name: What it is called there.
    """

    path: str
    name: str


@dataclass(eq=False)
class ServerState:
    """What all requests of one server share.

    Attributes:
        limits: Bounds of the server.
        token: What a client must know; "" if the server only listens to this machine.
        hosts: Further host names that requests may name, besides IP addresses and this machine's.
        csrf_token: What every request of a page that changes something must carry.
        navigation: Entries of the page's navigation; set by `create_app`.
        decoder: Decodes images in processes of their own; None where no route needs one.
        host: The model and its thread; None without a model.
        metrics: Counters; set by `create_app`.
        bodies: Bytes of the bodies that are held.
    """

    limits: Limits = field(default_factory=Limits)
    token: str = ""
    hosts: tuple[str, ...] = ()
    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    navigation: tuple[NavigationItem, ...] = ()
    decoder: Decoder | None = None
    host: ModelHost | None = None
    metrics: Metrics | None = None
    bodies: BodyBudget = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.bodies = BodyBudget(self.limits.bodies_bytes)

    def close(self) -> None:
        """Stop the threads and processes of the server."""
        if self.host is not None:
            self.host.close()
        if self.decoder is not None:
            self.decoder.close()
