"""Pickle and copy objects that hold encoders, whose networks and locks cannot be pickled.

An encoder is pickled as in a model folder, by what `describe` returns, and opened again from the
files of the machine that unpickles; a copy shares it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.encoders import restore_encoder

RUN_SETTINGS = ("device", "runtime")  # attributes of encoders that are not part of the description


@dataclass(frozen=True)
class EncoderReference:
    """An encoder in a pickle: its description, and how it ran."""

    description: dict[str, Any]
    settings: dict[str, str]

    @classmethod
    def of(cls, encoder: Embeds) -> EncoderReference:
        """Return the reference to an encoder."""
        settings = {name: getattr(encoder, name, None) for name in RUN_SETTINGS}
        return cls(
            encoder.describe(), {name: s for name, s in settings.items() if isinstance(s, str)}
        )

    def open(self) -> Embeds:
        """Open the encoder.

        Raises:
            Unavailable: Its files are not on this machine, or are others.
        """
        options: Any = self.settings
        return restore_encoder(self.description, **options)


def replace_encoders(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an object with references in place of encoders."""
    return {
        name: EncoderReference.of(value) if isinstance(value, Embeds) else value
        for name, value in state.items()
    }


def restore_encoders(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that were given to `replace_encoders`.

    Raises:
        Unavailable: The files of an encoder are not on this machine, or are others.
    """
    return {
        name: value.open() if isinstance(value, EncoderReference) else value
        for name, value in state.items()
    }
