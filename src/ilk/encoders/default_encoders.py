"""Select the default encoders: those of the families that declare a `DEFAULT`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ilk.core.capabilities import Embeds
from ilk.core.errors import IlkError
from ilk.encoders.families import Family, list_families
from ilk.encoders.registry import resolve_encoder
from ilk.hub import client as hub

if TYPE_CHECKING:
    from ilk.images import Images

HUB_TIMEOUT = 3.0  # seconds


def list_defaults() -> list[Family]:
    """Return the families with a default encoder, cheapest first."""
    return [family for family in list_families() if family.default]


def required_files(family: Family) -> hub.RequiredFiles:
    """Return the files that the default encoder of `family` needs."""
    files: hub.RequiredFiles = import_module(family.module).CHECKPOINT_FILES
    return files


def is_ready(family: Family) -> bool:
    """Whether the default encoder of `family` is can be opened without a download."""
    if not family.package:
        return True
    return find_spec(family.package) is not None and is_cached(family)


def is_cached(family: Family) -> bool:
    """Whether the files of the default encoder of `family` are on this machine."""
    return not family.repo or hub.find_cached(family.repo, required_files(family)) is not None


def choose_default_encoders(
    images: Images, device: str, runtime: str, precision: str
) -> tuple[list[Embeds], str]:
    """Open the default encoders that are available; see `ilk.encoders.choose_encoders`."""
    encoders: list[Embeds] = []
    skipped: dict[str, str] = {}
    is_hub_online: bool | None = None  # checked once, for the first network that needs it
    for family in list_defaults():
        if family.package and find_spec(family.package) is None:
            skipped[family.default] = (
                f"{family.package} is not installed: pip install 'ilk[{family.extra}]'"
            )
            continue
        if not is_cached(family):
            if hub.is_offline():
                skipped[family.default] = "not on this machine, and HF_HUB_OFFLINE is set"
                continue
            if is_hub_online is None:
                is_hub_online = hub.is_reachable(family.repo, HUB_TIMEOUT)
            if not is_hub_online:
                skipped[family.default] = (
                    f"not on this machine, and the hub gave no answer in {HUB_TIMEOUT:.0f} s"
                )
                continue
        try:
            encoders.append(
                resolve_encoder(
                    family.default,
                    images=images,
                    device=device,
                    runtime=runtime,
                    precision=precision,
                )
            )
        except IlkError as error:
            skipped[family.default] = str(error)
    return encoders, _format_summary(encoders, skipped)


def _format_summary(encoders: list[Embeds], skipped: dict[str, str]) -> str:
    """Return one line: the encoders in use, and why others are not."""
    line = "encoders: " + ", ".join(encoder.name for encoder in encoders)
    reasons: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        reasons.setdefault(reason, []).append(name)
    parts = [f"{' and '.join(names)} ({why})" for why, names in reasons.items()]
    return line + ("; continuing without " + ", ".join(parts) if parts else "")
