"""Connections of a server: how many there may be, and how long a request may take to begin."""

from __future__ import annotations

import asyncio
from typing import Any

from h11 import LocalProtocolError
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0  # from the first byte, or the connection, until all headers are there
MAX_CONNECTIONS = 512  # with more, the process would soon have no file left to open


class BoundedConnection(H11Protocol):
    """A connection that is closed unless a whole request arrives on it in time.

    uvicorn limits how long a connection may be idle after a request, but neither how long the
    headers of a request may take nor how many connections one client opens.
    """

    request_seconds = REQUEST_SECONDS
    max_connections = MAX_CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None
    _made_at = 0.0

    def connection_made(self, transport: Any) -> None:
        """Take a connection; where there are too many, the one that waits longest is closed."""
        super().connection_made(transport)
        self._start_deadline()
        self._made_at = self.loop.time()
        own = [c for c in self.connections if isinstance(c, BoundedConnection)]
        open_ones = [c for c in own if not c.transport.is_closing()]
        if len(open_ones) > self.max_connections:
            waiting = [c for c in open_ones if c._is_waiting()]  # this one at least
            min(waiting, key=lambda c: c._made_at).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a client."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_deadline()
        if self._is_waiting() and self._deadline is None and not self.transport.is_closing():
            self._start_deadline()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; where an answer was begun already, only end the connection."""
        try:
            super().send_400_response(msg)
        except LocalProtocolError:
            self.transport.close()

    def _is_waiting(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.request_seconds, self._end_if_waiting)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_if_waiting(self) -> None:
        self._deadline = None
        if self._is_waiting():
            self.transport.abort()
