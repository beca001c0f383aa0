"""Open a network of the transformers library from a folder or a hub repository."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError
from ilk.hub import client as hub
from ilk.hub.torchvision_ops import declare_missing_ops

EXTRA = "clip"  # the extra that installs transformers
ANY_ERROR = (RuntimeError, TypeError, ValueError, KeyError, AttributeError, OSError, ImportError)


def open_network(name: str, required: hub.RequiredFiles, model_class: str) -> tuple[Any, Any]:
    """Return a network in float32 and evaluation mode, and its processor.

    Args:
        name: A folder, or a hub repository `ORG/NAME` (also `ORG/NAME@REVISION`).
        required: Its files; weights in pickle are never read.
        model_class: Class of transformers that builds it, such as `AutoModel`.

    Raises:
        Unavailable: transformers or a file is missing.
        InputError: The files hold no such network.
    """
    hub.require_package("transformers", EXTRA)
    is_folder = Path(name).expanduser().is_dir() or name.startswith((".", "/", "~"))
    folder = hub.open_local(name, required) if is_folder else hub.fetch(name, required)
    declare_missing_ops()
    import torch
    import transformers

    with hide_progress_bar():
        try:
            processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
            network = getattr(transformers, model_class).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        except ANY_ERROR as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"cannot build the network in {folder}: {why}") from error
    return network.eval().requires_grad_(False), processor


@contextmanager
def hide_progress_bar() -> Iterator[None]:
    """Hide what transformers draws while it loads weights."""
    from transformers.utils import logging

    was_drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_drawn:
            logging.enable_progress_bar()
