"""The benchmark of tuning: equal time is that of updates, and finished parts keep theirs."""

from __future__ import annotations

import pytest

from benchmarks.diffusion_tuning import update_clock
from benchmarks.diffusion_tuning.measured_parts import MeasuredParts
from benchmarks.diffusion_tuning.update_clock import time_updates
from ilk.core.progress import Progress


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def process_time(self) -> float:
        return self.now


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(update_clock, "time", fake)
    return fake


def test_what_comes_before_the_first_update_is_no_time_of_updates(clock_time: FakeTime) -> None:
    """A pool of images is drawn for 8 s; then each update takes half a second."""

    def train(n: int, progress: Progress) -> None:
        clock_time.now += 8.0
        with progress("training", n) as advance:
            for _ in range(n):
                clock_time.now += 0.5
                advance(1)
        clock_time.now += 30.0  # saving

    clock = time_updates(train)
    assert clock.seconds == pytest.approx(0.5)
    assert clock.setup_seconds == pytest.approx(8.0)


def test_a_finished_part_is_computed_once_and_keeps_its_seconds(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    calls: list[int] = []

    def compute() -> float:
        calls.append(1)
        return sum(i * i for i in range(300_000)) * 0.0 + 0.25

    first, second = MeasuredParts("x"), MeasuredParts("x")
    assert first.compute("a", compute) == second.compute("a", compute) == 0.25
    assert len(calls) == 1
    assert second.seconds == first.seconds
    assert set(second.seconds) == {"a"}
