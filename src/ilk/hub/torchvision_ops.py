"""Work around a torchvision that was built for another torch.

Where torch is the CPU build while torchvision is built for CUDA, torchvision's library of compiled
operators does not load, and `import torchvision` fails with `operator torchvision::nms does not
exist`: it registers shapes for two operators that were never declared. timm and transformers import
torchvision and fail too, though neither needs those operators for what ilk does. Declaring the
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
_libraries: list[Any] = []  # keeps them alive: a collected torch Library undoes its declarations


def is_loadable(package: Path) -> bool:
    """Whether the compiled library in the torchvision folder `package` loads into this torch."""
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


def declare_missing_ops() -> bool:
    """Declare the missing operators if torchvision's library does not load.

    Call this before anything imports timm, transformers or torchvision. Costs an import of
    torch. Does nothing if torchvision is absent, already imported, or works.

    Returns:
        Whether ilk declared the operators, now or in an earlier call.
    """
    if _libraries:
        return True
    if "torchvision" in sys.modules or (spec := find_spec("torchvision")) is None:
        return False
    if spec.origin is None or is_loadable(Path(spec.origin).parent):
        return False
    import torch

    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)
    _libraries.append(library)
    return True
