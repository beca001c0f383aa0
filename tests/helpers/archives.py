"""Archives of small images, whole and damaged."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Files = Mapping[str, bytes]
FORMATS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def make_png(seed: int, level: int = 128, side: int = 10) -> bytes:
    """Return a PNG file of noise around a grey level."""
    noise = np.random.default_rng(seed).integers(-30, 30, (side, side, 3))
    out = io.BytesIO()
    Image.fromarray((noise + level).clip(0, 255).astype(np.uint8)).save(out, "png")
    return out.getvalue()


def make_classes(n: int = 6) -> dict[str, bytes]:
    """Return files of two classes, dark and light, `n` images each."""
    return {
        f"{name}/{i:0{len(str(n - 1))}}.png": make_png(100 * level + i, level)
        for name, level in (("dark", 60), ("light", 200))
        for i in range(n)
    }


def write_folder(folder: Path, files: Files) -> Path:
    """Write files to a folder, which is created."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_archive(path: Path, files: Files) -> Path:
    """Write files to an archive of the kind that the name of `path` says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kind = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    mode: Any = f"w:{kind}"
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
