"""Text files with one sentence per line."""

from __future__ import annotations

from pathlib import Path


def read_sentences(path: str) -> tuple[str, ...]:
    """Return the non-empty lines of a text file.

    Raises:
        InputError: The file cannot be read, is not UTF-8 text, or has no sentence.
    """
    from ilk.core.errors import InputError

    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"{path} cannot be read: {reason}; give a text file with one sentence per line"
        ) from error
    sentences = tuple(line.strip() for line in lines if line.strip())
    if not sentences:
        raise InputError(f"{path} has no sentence; write one per line")
    return sentences
