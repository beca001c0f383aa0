"""The secret that requests carry wherever others than this machine can reach a server."""

from __future__ import annotations

import ipaddress
import secrets

from ilk.core.errors import InputError

MIN_TOKEN_LENGTH = 8  # characters


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def choose_token(token: str | None, host: str) -> str:
    """Return the token of a server that listens to `host`; "" if it needs none.

    Args:
        token: What the user has chosen; None or "" for nothing.
        host: Address or name to listen to.

    Raises:
        InputError: It is too short, or holds what an HTTP header or a cookie cannot.
    """
    if not token:
        return "" if is_loopback(host) else secrets.token_urlsafe(18)
    if len(token) < MIN_TOKEN_LENGTH:
        raise InputError(f"a token needs at least {MIN_TOKEN_LENGTH} characters")
    if not token.isascii() or not token.isprintable() or token != token.strip():
        raise InputError(
            "a token has letters from a to z, digits and signs, and no spaces around it"
        )
    return token
