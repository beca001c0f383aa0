"""The start of a run at what an old version of the network was taught; see `weight_differences`."""

from __future__ import annotations

from pathlib import Path

from ilk.core.errors import InputError
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.tuned_checkpoint import TunedCheckpoint, TunedNetworkEncoder
from ilk.encoders.tuned_files import merge_digests
from ilk.encoders.tuned_network import NETWORK, TunedNetwork
from ilk.finetuning.weight_differences import compute_difference, transfer_tuning


class CarriedEncoder(TunedNetworkEncoder):
    """A network that was tuned as another version of it, whose folder need not be written yet."""


def carry_over(old: object, new: NetworkEncoder, folder: Path) -> CarriedEncoder:
    """Return the network of `new` with the difference that tuning made to that of `old` added.

    Args:
        old: A tuned network, as `tuned:OLD` opens it; its weights or a wrapper that can be merged.
        new: Another version of the encoder that `old` was tuned from: of the same shapes, and made
            from it by further training, or the other way round.
        folder: Where the result is to be written.

    Raises:
        InputError: `old` is not a tuned network of a base encoder, changed no weight, or has other
            shapes than `new`.
        ArtifactError: The weights of `old` do not fit its base.
    """
    if not isinstance(old, TunedNetworkEncoder) or old.checkpoint.base is None:
        name = getattr(old, "name", "it")
        raise InputError(
            "--start-from takes the tuned network of an old version, such as tuned:OLD, and "
            f"{name} is none; make one with ilk finetune"
        )
    before = old.checkpoint.base.build_network().state_dict()
    after = old.checkpoint.build_network().state_dict()
    plain = new.checkpoint.build_network().state_dict()
    difference = compute_difference(after, before)
    changed = [name for name, value in difference.items() if bool(value.any())]
    if not changed:
        raise InputError(f"{old.name} changed no weight, so there is nothing to start from")
    state = transfer_tuning(plain, after, before)
    known = [tuned.trained_on for e in (old, new) if (tuned := _find_tuned(e)) is not None]
    tuned = TunedNetwork(
        NETWORK,
        new.preprocess,
        new.space.dim,
        {name: state[name].cpu().numpy() for name in changed},
        new.describe(),
        tuned=f"{old.checkpoint.tuned.tuned} of another version".strip(),
        classes=old.checkpoint.tuned.classes,
        trained_on=merge_digests(*known),
    )
    checkpoint = TunedCheckpoint(folder, tuned, new.checkpoint)
    name = f"tuned:{folder}"
    return CarriedEncoder(name, checkpoint, new.device, new.runtime, new.precision)


def add_trained(start: CarriedEncoder, tuned: TunedNetwork) -> TunedNetwork:
    """Return a network tuned from a carried one as a tuned network of the new version itself.

    Args:
        start: The network that the run started from.
        tuned: What the run trained, with `start` as its base: weights of its own.
    """
    carried = start.checkpoint.tuned
    return TunedNetwork(
        NETWORK,
        tuned.preprocess,
        tuned.width,
        {**carried.arrays, **tuned.arrays},
        carried.base,
        tuned=f"{tuned.tuned}, from {carried.tuned}",
        classes=tuned.classes,
        trained_on=tuned.trained_on,
        results=tuned.results,
    )


def _find_tuned(encoder: NetworkEncoder) -> TunedNetwork | None:
    return encoder.checkpoint.tuned if isinstance(encoder, TunedNetworkEncoder) else None
