"""Features that are computed from stored features of another encoder, not from images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ilk.core.capabilities import Derives, Embeds
from ilk.store import Store

BLOCK = 8192  # rows at a time


def replace_derived(encoders: Iterable[Embeds]) -> list[Embeds]:
    """Return the encoders that read images: those given, and the bases of derived ones."""
    plain: list[Embeds] = []
    for encoder in encoders:
        while isinstance(encoder, Derives):
            encoder = encoder.base
        plain.append(encoder)
    return plain


def derive_features(encoders: Iterable[Embeds], digests: Sequence[str], store: Store) -> None:
    """Store the features of derived encoders that the store lacks and whose base it has.

    Args:
        encoders: Encoders; those that read images are left alone.
        digests: Images.
        store: Holds the features of the bases, and gets those of the others.

    Raises:
        OutputError: The store cannot be written.
    """
    for encoder in encoders:
        if not isinstance(encoder, Derives):
            continue
        derive_features([encoder.base], digests, store)
        missing = store.find_missing(encoder.space, digests)
        absent = set(store.find_missing(encoder.base.space, missing)) if missing else set()
        ready = [digest for digest in missing if digest not in absent]
        for at in range(0, len(ready), BLOCK):
            part = ready[at : at + BLOCK]
            rows = encoder.transform(store.get(encoder.base.space, part))
            store.put(encoder.space, part, rows)
