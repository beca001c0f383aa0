"""Settings of `ilk.fit` as keywords: those of `FitConfig` and those of `ilk.read`.

`FitConfig` and `read_images` are the only places that list settings: the keywords, their defaults
and the signature that `help(ilk.fit)` shows are derived from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, replace
from inspect import Parameter
from typing import Any, TypeVar

from ilk.core.errors import InputError, UnknownName
from ilk.core.progress import Progress
from ilk.fitting.config import FitConfig
from ilk.images import Images, read_images
from ilk.images.annotations.groups import DUPLICATES, check_one_source
from ilk.store import Store

F = TypeVar("F", bound=Callable[..., Any])

_OWN = ("source", "verify", "max_pixels", "store", "progress", "source_name")  # not for users
READ_SETTINGS = {
    name: parameter.default
    for name, parameter in inspect.signature(read_images).parameters.items()
    if name not in _OWN
}
FIT_SETTINGS = {f.name: f.default for f in fields(FitConfig) if f.init and f.default is not MISSING}


def take_duplicates(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which `group_from="duplicates"`, of a fit, is `group_duplicates=True`.

    Raises:
        InputError: There are other groups, too.
    """
    if settings.get("group_from") != DUPLICATES:
        return dict(settings)
    check_one_source(settings.get("group_column"), DUPLICATES, settings.get("groups"))
    others = {name: value for name, value in settings.items() if name != "group_from"}
    return {**others, "group_duplicates": True}


def configure(config: FitConfig | None, settings: Mapping[str, Any]) -> FitConfig:
    """Return `config` with some settings replaced; names of `ilk.read` are left out.

    Raises:
        UnknownName: There is no setting of that name.
        InputError: A value is out of range.
    """
    for name in settings:
        if name not in FIT_SETTINGS and name not in READ_SETTINGS:
            raise UnknownName("setting", name, (*FIT_SETTINGS, *READ_SETTINGS))
    chosen = {name: value for name, value in settings.items() if name in FIT_SETTINGS}
    return replace(config or FitConfig(), **chosen)


def read_source(
    source: Any, settings: Mapping[str, Any], config: FitConfig, store: Store, progress: Progress
) -> Images:
    """Return `source` if it is `Images`, else read it with those settings that are of `ilk.read`.

    Raises:
        InputError: The source cannot be read, or is read already and there are such settings.
        NoImages: No file can be used.
    """
    chosen = {name: value for name, value in settings.items() if name in READ_SETTINGS}
    if not isinstance(source, Images):
        if config.multi_label:
            chosen["multi_label"] = True
        return read_images(source, verify=False, store=store, progress=progress, **chosen)
    chosen.pop("multi_label", None)  # a setting of the fit, too
    if chosen:
        name = next(iter(chosen))
        raise InputError(
            f"{name}= is for images that are not yet read; give it to ilk.read, or give ilk.fit "
            "the folder, table or list itself"
        )
    return source


def add_settings(*settings: Mapping[str, Any]) -> Callable[[F], F]:
    """Show keywords and their defaults in the signature of a function that takes `**settings`.

    Where two of `settings` share a name, the default of the first is shown.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        defaults = {name: value for part in reversed(settings) for name, value in part.items()}
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in defaults.items()
        ]
        shown = signature.replace(parameters=[*own, *more])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return decorate
