"""The cure for a torchvision that was built for another torch, each case in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TORCHVISION = find_spec("torchvision")
pytestmark = pytest.mark.skipif(TORCHVISION is None, reason="torchvision is not installed")


def _run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    if path is not None:
        code = f"import sys; sys.path.insert(0, {str(path)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def _broken() -> bool:
    return "torchvision::nms does not exist" in _run("import torchvision").stderr


def test_torchvision_imports_after_the_cure_and_only_a_sick_one_is_treated():
    broken = _broken()
    done = _run(
        "from ilk.hub.torchvision_ops import declare_missing_ops\n"
        "print(declare_missing_ops(), declare_missing_ops())\n"
        "import torchvision.transforms, timm"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(broken)] * 2


def _fake_torchvision(folder: Path, extension: str) -> None:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import torch\n"
        "@torch.library.register_fake('torchvision::nms')\n"
        "def nms(dets, scores, iou_threshold): return dets\n"
        "@torch.library.register_fake('torchvision::qnms')\n"
        "def qnms(dets, scores, iou_threshold): return dets\n"
    )
    (package / "_internally_replaced_utils.py").write_text(
        f"def _get_extension_path(name):\n    {extension}\n"
    )


CASE = (
    "import torch\n"
    "from ilk.hub.torchvision_ops import declare_missing_ops\n"
    "print(declare_missing_ops(), hasattr(torch.ops.torchvision, 'nms'))\n"
    "import torchvision"
)


def test_without_the_cure_the_import_dies(tmp_path):
    _fake_torchvision(tmp_path, "raise ImportError")
    assert "nms does not exist" in _run("import torchvision", tmp_path).stderr


def test_missing_operators_are_declared(tmp_path):
    _fake_torchvision(tmp_path, "raise ImportError")
    done = _run(CASE, tmp_path)
    assert done.stdout.split() == ["True", "True"], done.stderr
    assert done.returncode == 0, done.stderr


def test_nothing_is_declared_where_the_library_loads(tmp_path):
    # A library that loads and brings its operators: torch's own stands in for it.
    _fake_torchvision(tmp_path, "return 'a library that loads'")
    loads = "import torch; torch.ops.load_library = lambda path: print(path)\n"
    done = _run(loads + CASE, tmp_path)
    assert done.stdout.splitlines() == ["a library that loads", "False False"]


def test_what_is_imported_already_is_left_alone():
    done = _run(
        "import sys, types; sys.modules['torchvision'] = types.ModuleType('torchvision')\n"
        "from ilk.hub.torchvision_ops import declare_missing_ops\n"
        "print(declare_missing_ops(), 'torch' in sys.modules)"
    )
    assert done.stdout.split() == ["False", "False"], done.stderr
