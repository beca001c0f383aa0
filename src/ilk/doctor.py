"""What is on this machine and what is not, found without importing anything heavy but torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import ilk
from ilk.encoders import choice, hub, torchvision_ops
from ilk.errors import IlkError
from ilk.store import Store, default_path

Finding = tuple[str, str, str]  # what, state, detail

CORE = ("numpy", "scipy", "scikit-learn", "pillow", "safetensors", "torch")
EXTRAS = {  # extra: what it brings, and for what
    "timm": (("timm", "torchvision", "huggingface_hub"), "timm/, hf-hub: and local-dir: encoders"),
    "clip": (("transformers", "huggingface_hub"), "clip/ encoders and zero-shot"),
    "parquet": (("pyarrow",), "Parquet tables"),
    "openvino": (("openvino",), "the runtime openvino"),
    "diffusers": (("diffusers", "transformers"), "diffusion models from elsewhere"),
}


def examine() -> list[Finding]:
    """Rows of (what, state, detail); state is "ok", "missing", or a word of its own."""
    parts = (_python, _packages, _extras, _device, _torchvision, _store, _defaults, _cache)
    return [finding for part in parts for finding in part()]


def _python() -> Iterator[Finding]:
    yield "python", platform.python_version(), f"{platform.system()} {platform.machine()}"
    yield "ilk", ilk.__version__, str(Path(ilk.__file__).parent)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    for package in CORE:
        version = _version(package)
        yield package, version or "missing", "" if version else "run: pip install ilk"


def _extras() -> Iterator[Finding]:
    for extra, (packages, what) in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        if all(found.values()):
            yield f"ilk[{extra}]", "ok", ", ".join(f"{p} {v}" for p, v in found.items())
        else:
            yield f"ilk[{extra}]", "missing", f"for {what}; run: pip install 'ilk[{extra}]'"


def _device() -> Iterator[Finding]:
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
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
        yield "device", "cpu", "; ".join(filter(None, (cores, built)))


def _torchvision() -> Iterator[Finding]:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or find_spec("torch") is None:
        return
    if torchvision_ops.loads(Path(spec.origin).parent):
        yield "torchvision", "ok", "its operators load"
    else:
        detail = "built for another torch; ilk goes round it, which costs nothing here"
        yield "torchvision", "mended", detail


def _store() -> Iterator[Finding]:
    path = default_path()
    if not path.exists():
        yield "store", "empty", f"will be made at {path}"
        return
    try:
        store = Store(path)
    except IlkError as error:
        yield "store", "unusable", str(error)
        return
    rows = sum(n for _, n in store.spaces())
    yield "store", "ok", f"{path}: {rows} rows, {store.size() / 2**20:.1f} MB"
    store.close()


def _defaults() -> Iterator[Finding]:
    for name in ("pixels", "hog"):
        yield name, "ready", "no weights"
    for name, (package, extra, repo, files) in choice.NETWORKS.items():
        if find_spec(package) is None:
            yield name, "missing", f"run: pip install 'ilk[{extra}]'"
        elif choice.ready(name):
            yield name, "ready", "on this machine"
        else:
            run = hub.command(repo, files)
            yield name, "missing", f"fetched when asked for, or run: {run}"
    yield "hub", "not asked" if hub.offline() else "allowed", "HF_HUB_OFFLINE decides"


def _cache() -> Iterator[Finding]:
    """Other networks in the hub client's cache that ilk can read."""
    if "huggingface_hub" not in sys.modules and find_spec("huggingface_hub") is None:
        return
    from huggingface_hub import constants

    from ilk.encoders.clip import FILES as CLIP_FILES
    from ilk.encoders.timm_family import FILES as TIMM_FILES

    known = {repo for _, _, repo, _ in choice.NETWORKS.values()}
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        repo = folder.name.removeprefix("models--").replace("--", "/", 1)
        if repo in known:
            continue
        if hub.cached(repo, CLIP_FILES) is not None:
            yield f"clip/{repo}", "ready", "in the hub's cache"
        elif hub.cached(repo, TIMM_FILES) is not None:
            yield f"hf-hub:{repo}", "ready", "in the hub's cache, if it is a timm network"
