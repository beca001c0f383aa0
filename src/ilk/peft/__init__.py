"""Wrappers: few trainable parameters around a frozen network. One file of `wrappers/` each.

wrapper = parse_wrapper("LoRA(rank=8)")
wrapper.apply(network)      # frozen but for the wrapper's own parameters
...                         # train
state = get_state(network)  # these parameters alone
wrapper.merge(network)      # plain layers again with the same outputs, or
wrapper.remove(network)     # the pretrained network to the bit
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.registry import find_classes, parse_call

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ilk.peft.wrapper import Wrapper

__all__ = ["get_state", "list_wrappers", "load_state", "parse_wrapper", "read_summaries"]
FOLDER = "ilk.peft.wrappers"


@cache
def list_wrappers() -> dict[str, type[Wrapper]]:
    """Return every wrapper by name; each file of `wrappers/` defines one."""
    return find_classes(FOLDER, import_module("ilk.peft.wrapper").Wrapper, "apply")


@cache
def read_summaries() -> dict[str, str]:
    """Return one line about each wrapper by its name, read from the files without importing them.

    The line is the first of the class's docstring; the class is the one with that of a dataclass.
    """
    found = {}
    for path in sorted((Path(__file__).parent / "wrappers").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            bases = [b.id for b in getattr(node, "bases", ()) if isinstance(b, ast.Name)]
            if isinstance(node, ast.ClassDef) and "Wrapper" in bases:
                found[node.name] = (ast.get_docstring(node) or "").partition("\n")[0]
    return dict(sorted(found.items()))


def parse_wrapper(text: str) -> Wrapper:
    """Return the wrapper that `text` describes, such as `LoRA` or `LoRA(rank=8)`.

    Raises:
        UnknownName: No wrapper is called so; the message lists those there are.
        InputError: The arguments are not plain values, or the wrapper has no such field.
    """
    wrapper: Wrapper = parse_call(text, list_wrappers(), "wrapper")
    return wrapper


def get_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters `[...]` of the wrapper around `network` alone, by name."""
    state: dict[str, Tensor] = import_module("ilk.peft.parts").get_state(network)
    return state


def load_state(network: nn.Module, state: Mapping[str, Tensor | Any]) -> None:
    """Load parameters `[...]` that `get_state` returned into a network with the same wrapper.

    Raises:
        InputError: The parameters are those of another wrapper or another network.
    """
    import_module("ilk.peft.parts").load_state(network, state)
