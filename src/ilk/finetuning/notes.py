"""What `ilk finetune` says of its result, in sentences."""

from __future__ import annotations

from ilk.encoders.network import NetworkEncoder
from ilk.finetuning.carry_over import CarriedEncoder
from ilk.finetuning.division import MIN_HELD_OUT, Division
from ilk.finetuning.result import FinetuneResult


def describe_result(
    result: FinetuneResult, base: NetworkEncoder, division: Division, force: bool = False
) -> list[str]:
    """Return sentences about a result, the verdict first.

    Args:
        result: The result.
        base: The encoder whose network was tuned.
        division: The images.
        force: Whether the network was to be written in any case.
    """
    best, words = result.candidates[result.best], result.comparison.describe()
    cost = (
        f"it took {best.seconds:,.0f} s, trained {best.n_trained:,} parameters and needed "
        f"{best.n_bytes / 2**20:,.0f} MB for that"
    )
    if result.is_better:
        notes = [f"tuning paid: {words}; {cost}"]
    else:
        if not result.chosen:
            why = "no tuned network had a clearly lower log loss on the validation part"
        else:
            why = "no significant gain"
        end = (
            "written because of --force"
            if result.is_written
            else f"nothing was written: use --encoder {base.name}, or pass --force"
        )
        if isinstance(base, CarriedEncoder) and not force:
            end = "the carried-over network was written without further tuning"
        notes = [f"tuning did not pay ({why}): {words}; {cost}; {end}"]
    has_several = len(result.candidates) > 2
    for candidate in result.candidates:
        if candidate.note:
            notes.append(f"{candidate.name}: {candidate.note}" if has_several else candidate.note)
    if not result.n_held_out:
        notes.append(
            "no image was held out, so the gain was measured on the images that chose the variant, "
            "and ilk fit cannot compare the network with other encoders on these images; tune with "
            "--hold-out 0.2, or give ilk fit other images"
        )
    elif result.is_written and result.n_held_out < MIN_HELD_OUT:
        notes.append(
            f"{result.n_held_out} images were held out, and ilk fit needs {MIN_HELD_OUT} to "
            "compare encoders: give it other images or a test split, or tune with a larger "
            "--hold-out"
        )
    height, width = base.preprocess.size
    sizes = sorted(min(row.width, row.height) for row in division.rows)
    if 0 < (middle := sizes[len(sizes) // 2]) < min(height, width) / 2:
        notes.append(
            f"most images are smaller than the {width} x {height} pixels that the network takes "
            f"(their median side is {middle}), and were enlarged"
        )
    if division.n_unlabelled:
        n = division.n_unlabelled
        words = "1 image has no label and was" if n == 1 else f"{n:,} images have no label and were"
        notes.append(f"{words} not used")
    return notes
