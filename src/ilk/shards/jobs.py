"""Which shards a job of a job array encodes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ilk.core.errors import InputError


@dataclass(frozen=True)
class Job:
    """Job `number` of `count`: every `count`-th shard, so that all jobs have about as many.

    Attributes:
        number: From 1.
        count: Number of jobs.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Job:
        """Return the job that `I/N` names.

        Raises:
            InputError: It is not of this form, or I is not between 1 and N.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count:
            hint = f"; the first job is 1/{count}" if match and number == 0 and count else ""
            raise InputError(
                f"--shard is {text!r}; write I/N for job I of N, such as 3/64, with I from 1 to N"
                f"{hint}"
            )
        return cls(number, count)

    def list_shards(self, n_shards: int) -> list[int]:
        """Return the numbers of its shards, ascending; perhaps none."""
        return list(range(self.number - 1, n_shards, self.count))
