"""`ilk pretrain` with a checkpoint after each update; one process kills itself once, if asked to.

The variable `KILL_MARK` names a file that does not exist yet: process 1 makes it after the third
update, and is gone.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilk.cli.pretrain import command
from ilk.core.errors import IlkError
from ilk.diffusion.pretraining import cross_fitting, pretrain
from ilk.training import distributed

KILLED_AT = 3


def main() -> None:
    mark = os.environ.get("KILL_MARK")
    whole, average = cross_fitting.pretrain, distributed.average_gradients
    calls = 0

    def average_or_die(parameters: Any) -> None:
        nonlocal calls
        calls += 1
        if mark and calls == KILLED_AT and distributed.get_rank() == 1 and not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        average(parameters)

    def often(data: Any, classes: Any, config: Any, *rest: Any) -> Any:
        return whole(data, classes, replace(config, checkpoint_every=1), *rest)

    pretrain.ROWS = pretrain.COLUMNS = 1  # pictures cost more than updates
    cross_fitting.pretrain = often
    distributed.average_gradients = average_or_die
    try:
        command.main(sys.argv[1:], standalone_mode=False)
    except IlkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
