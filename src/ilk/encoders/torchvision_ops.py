"""A cure for a torchvision that was built for another torch.

Where torch is the CPU build while torchvision is built for CUDA, torchvision's library of compiled
operators does not load, and `import torchvision` dies with `operator torchvision::nms does not
exist`: it describes the shapes of two operators that nobody declared. timm and transformers import
torchvision and die with it, though neither needs those operators for what ilk does. Declaring the
two schemas before the first import is enough.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a torch Library takes its declarations back when it is collected


def loads(package: Path) -> bool:
    """Whether the compiled library of the torchvision in folder `package` loads into this torch."""
    import torch

    try:
        # torchvision's own search, which on Windows also prepares the DLL folders; its file is run
        # by itself because importing the package is what may fail.
        spec = spec_from_file_location("_ilk_tv_path", package / "_internally_replaced_utils.py")
        if spec is None or spec.loader is None:
            return False
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        load: Callable[[str], None] = torch.ops.load_library
        load(module._get_extension_path("_C"))
    except (ImportError, OSError, AttributeError):
        return False
    return True


def cure() -> bool:
    """Declare the missing operators if torchvision's library will not load.

    To be called before anything imports timm, transformers or torchvision. Costs an import of
    torch. Does nothing where torchvision is absent, imported already, or sound.

    Returns:
        Whether the operators are declared by ilk, now or by an earlier call.
    """
    if _declared:
        return True
    if "torchvision" in sys.modules or (spec := find_spec("torchvision")) is None:
        return False
    if spec.origin is None or loads(Path(spec.origin).parent):
        return False
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return True
