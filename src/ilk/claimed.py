"""Whether a model may be written to a folder, found out before any work is done."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ilk.artefact import ABOUT, CLASSIFIER, STORED, Kind, write_file
from ilk.errors import OutputError

TRACE = re.compile(rf"{STORED.pattern}|\..*\.(part|trial)")  # what ilk alone leaves
LEFT = re.compile(rf"{TRACE.pattern}|intake\.json|leaderboard\.json|suspects\.csv|report\.html")


def claim(folder: Path, kind: Kind = CLASSIFIER, grown_from: Path | None = None) -> Path:
    """Make sure that a model can be written to `folder`.

    A folder that is not there yet is made for a moment only: work that fails leaves none behind.

    Args:
        kind: What may lie there already and be replaced.
        grown_from: The model that the new one comes from. No other may lie there, but for an
            earlier one that the same model was adapted to.

    Raises:
        OutputError: It cannot be written, or holds something else.
    """
    place = Path(os.path.abspath(folder))
    try:
        above = (*reversed(place.parents), place)
        first = next((one for one in above if not one.exists()), None)
        place.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in place.iterdir()]
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; name another folder with --out"
        ) from error
    if names:
        _refuse(folder, names, kind, grown_from)
    trial = place / f".{os.getpid()}.trial"
    write_file(trial, b"")
    trial.unlink()
    if first is not None:
        with suppress(OSError):  # somebody else has put something there
            for made in (place, *place.parents):
                made.rmdir()
                if made == first:
                    break
    return folder


def _refuse(folder: Path, names: list[str], kind: Kind, grown_from: Path | None) -> None:
    """Raise OutputError where what lies in `folder` would be lost."""
    if ABOUT not in names:
        if not (all(map(LEFT.fullmatch, names)) and any(map(TRACE.fullmatch, names))):
            raise OutputError(
                f"{folder} holds files that are no {kind.format}; name an empty folder with --out"
            )
        return
    told = _told(folder)
    if "format" not in told:
        raise OutputError(
            f"{folder / ABOUT} is damaged or not of ilk; take it away, or name an empty folder "
            "with --out"
        )
    if told["format"] != kind.format:
        raise OutputError(
            f"{folder} holds an {told['format']!r} and no {kind.format}; name an empty folder with "
            "--out"
        )
    if grown_from is None or folder.samefile(grown_from) or _adapted(told, _told(grown_from)):
        return
    raise OutputError(
        f"{folder} holds another {kind.format} than {grown_from}; name an empty folder with --out, "
        "so that it is not lost"
    )


def _adapted(told: dict[str, Any], source: dict[str, Any]) -> bool:
    """Whether one model is what the other was adapted to before, and nothing more."""
    keys = ("classes", "data", "grown")
    return "followed" in told and all(told.get(key) == source.get(key) for key in keys)


def _told(folder: Path) -> dict[str, Any]:
    """What a folder's description says; nothing where it cannot be read."""
    try:
        told = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
