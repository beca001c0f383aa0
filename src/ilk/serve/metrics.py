"""Counters of a server, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"  # what requests count as that no route answers: their paths are anything

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Counts of values up to each bound of `BUCKETS`, their sum and number."""

    def __init__(self) -> None:
        self.counts, self.total, self.n = [0] * len(BUCKETS), 0.0, 0

    def add(self, value: float) -> None:
        """Count a value."""
        self.n += 1
        self.total += value
        for i, bound in enumerate(BUCKETS):
            self.counts[i] += value <= bound


class Metrics:
    """Counters, histograms and gauges. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counters: Counter[tuple[str, Labels]] = Counter()
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._texts: dict[str, str] = {}

    def describe(self, name: str, text: str) -> None:
        """Say what a metric counts."""
        self._texts[name] = text

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counters[name, tuple(sorted(labels.items()))] += amount  # type: ignore[assignment]

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        with self._lock:
            key = name, tuple(sorted(labels.items()))
            self._histograms.setdefault(key, Histogram()).add(value)

    def set_gauge(self, name: str, read: Callable[[], float]) -> None:
        """Let `read` give the present value of a gauge."""
        self._gauges[name] = read

    def render(self) -> str:
        """Return all metrics as text."""
        lines: list[str] = []
        with self._lock:
            counters = sorted(self._counters.items())
            histograms = sorted(
                (key, list(h.counts), h.total, h.n) for key, h in self._histograms.items()
            )
        seen: set[str] = set()
        for (name, labels), value in counters:
            lines += self._introduce(name, "counter", seen)
            lines.append(f"{name}{_format_labels(dict(labels))} {value:.15g}")
        for (name, labels), counts, total, n in histograms:
            lines += self._introduce(name, "histogram", seen)
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), (*counts, n), strict=True):
                bucket = _format_labels({**dict(labels), "le": bound})
                lines.append(f"{name}_bucket{bucket} {count}")
            lines.append(f"{name}_sum{_format_labels(dict(labels))} {total:.6f}")
            lines.append(f"{name}_count{_format_labels(dict(labels))} {n}")
        for name, read in sorted(self._gauges.items()):
            lines += self._introduce(name, "gauge", seen)
            lines.append(f"{name} {read():.15g}")
        return "\n".join(lines) + "\n"

    def _introduce(self, name: str, kind: str, seen: set[str]) -> list[str]:
        if name in seen:
            return []
        seen.add(name)
        text = self._texts.get(name)
        return [*([f"# HELP {name} {text}"] if text else []), f"# TYPE {name} {kind}"]


def _format_labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class CountRequests:
    """ASGI middleware that counts requests and measures how long their answers take."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        metrics.describe("ilk_requests_total", "Requests by route, method and status.")
        metrics.describe("ilk_request_seconds", "Seconds from request to answer, by route.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it by its route once it is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started_at, status = time.perf_counter(), 499  # of a client that left without an answer

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", OTHER)
            method = scope["method"] if scope["method"] in METHODS else OTHER
            self.metrics.count("ilk_requests_total", route=route, method=method, status=str(status))
            seconds = time.perf_counter() - started_at
            self.metrics.observe("ilk_request_seconds", seconds, route=route)


METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
