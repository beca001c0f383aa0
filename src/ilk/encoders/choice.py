"""Which encoders are taken when none is named."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ilk.encoders import clip, hub, timm_family
from ilk.encoders.capabilities import Embeds
from ilk.encoders.names import resolve
from ilk.errors import IlkError

if TYPE_CHECKING:
    from ilk.images import Images

# Small enough for a laptop's CPU, permissively licensed (MIT, Apache-2.0), safetensors on the hub:
# one network taught by captions, one by the 12,000 larger classes of ImageNet.
CLIP = "clip/laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
TIMM = "timm/convnext_nano.in12k"
NETWORKS = {  # name: package, extra, repository, files
    TIMM: ("timm", "timm", TIMM, timm_family.FILES),
    CLIP: ("transformers", "clip", CLIP.removeprefix("clip/"), clip.FILES),
}
SECONDS = 3.0


def ready(name: str) -> bool:
    """Whether the default network `name` is on this machine, package and files."""
    package, _, repo, files = NETWORKS[name]
    return find_spec(package) is not None and hub.cached(repo, files) is not None


def choose(images: Images, device: str, runtime: str, precision: str) -> tuple[list[Embeds], str]:
    """What `ilk.encoders.defaults` gives."""
    taken = [resolve("pixels", images=images), resolve("hog")]
    without: dict[str, str] = {}
    answers: bool | None = None  # the hub is asked once, for whichever network first needs it
    for name, (package, extra, repo, files) in NETWORKS.items():
        if find_spec(package) is None:
            without[name] = f"{package} is not installed: pip install 'ilk[{extra}]'"
            continue
        if hub.cached(repo, files) is None:
            if hub.offline():
                without[name] = "not on this machine, and HF_HUB_OFFLINE is set"
                continue
            answers = hub.heard(repo, SECONDS) if answers is None else answers
            if not answers:
                without[name] = (
                    f"not on this machine, and the hub gave no answer in {SECONDS:.0f} s"
                )
                continue
        try:
            taken.append(resolve(name, device=device, runtime=runtime, precision=precision))
        except IlkError as error:
            without[name] = str(error)
    return taken, _line(taken, without)


def _line(taken: list[Embeds], without: dict[str, str]) -> str:
    line = "encoders: " + ", ".join(encoder.name for encoder in taken)
    reasons: dict[str, list[str]] = {}
    for name, why in without.items():
        reasons.setdefault(why, []).append(name)
    parts = [f"{' and '.join(names)} ({why})" for why, names in reasons.items()]
    return line + ("; done without " + ", ".join(parts) if parts else "")
