from time import sleep

from ilk.core.timing import time_in_turns


def test_tasks_take_turns_and_slow_ones_have_fewer():
    calls = []

    def make_task(name, seconds):
        def task():
            calls.append(name)
            sleep(seconds)

        return task

    tasks = [make_task("fast", 0.0), make_task("slow", 0.05)]
    fast, slow = time_in_turns(tasks, 20, min_rounds=2, max_seconds=0.04)
    assert calls[:4] == ["fast", "slow"] * 2
    assert calls.count("slow") == 2
    assert slow >= 0.05 > fast
