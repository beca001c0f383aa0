"""Calls in other threads that a request waits for, and what it is told if they do not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ilk.serve.problems import Busy, Problem

T = TypeVar("T")


def submit_call(pool: ThreadPoolExecutor, function: Callable[..., T], *args: Any) -> Future[T]:
    """Let a pool call a function.

    Raises:
        Busy: The pool has ended.
    """
    try:
        return pool.submit(function, *args)
    except RuntimeError:
        raise make_stopping() from None


async def wait_for_call(call: asyncio.Future[T], seconds: float) -> T:
    """Return the result of a call.

    Raises:
        Problem: There was none within `seconds`.
    """
    try:
        return await asyncio.wait_for(call, seconds)
    except TimeoutError:
        raise make_late(seconds) from None


def make_late(seconds: float) -> Problem:
    """Return the problem of an answer that takes too long."""
    return Problem(
        504, f"there was no answer within {seconds:g} s; send fewer or smaller images at a time"
    )


def make_stopping() -> Busy:
    """Return the problem of a request that comes while threads end."""
    return Busy("the server is stopping or loading another model; try again in a moment", 5)
