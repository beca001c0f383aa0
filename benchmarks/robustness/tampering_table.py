"""All attacks on saved models and the store, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.robustness.saved_things import make_saved_things
from benchmarks.robustness.store_damage import attack_store
from benchmarks.robustness.tampered_commands import attack_commands
from benchmarks.robustness.tampering import attack

N_PROCESSES = 4  # edits that are also given to a command in a process of its own


def measure_tampering(work: Path, n: int, n_commands: int) -> dict[str, Any]:
    """Attack one model of every kind, and the store.

    Args:
        work: An empty folder.
        n: Number of damages of each kind, and of edits of its description.
        n_commands: Number of edits that are given to whole commands.
    """
    things = make_saved_things(work / "one")
    make_saved_things(work / "other", seed=1)
    tallies = {
        thing.name: attack(thing, work / "other" / thing.name, work / "mutated", n)
        for thing in things
    }
    tallies["store"] = attack_store(things[0].folder, work / "stores", n)
    commands = attack_commands(things[0], work / "commands", n_commands, N_PROCESSES)
    return {
        "tampering": [tally.to_json(name) for name, tally in tallies.items()],
        "tampering failures": [x for tally in tallies.values() for x in tally.failures[:20]],
        "tampered commands": commands,
    }
