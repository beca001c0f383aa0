"""Rate, time left, bottleneck and cost follow from what is counted."""

from __future__ import annotations

import io
import time

import pytest

from ilk.cli import encode_progress
from ilk.shards import throughput
from ilk.shards.throughput import Throughput


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(throughput.time, "monotonic", lambda: now[0])
    return now


def test_rate_bottleneck_and_cost(clock):
    meter = Throughput(1000, n_cores=2, started_at=0.0)
    assert (meter.bottleneck, meter.core_hours_per_million, meter.seconds_left) == ("", None, None)
    meter(500, {})  # parts that are there cost nothing and are not part of the rate
    clock[0] = 20.0
    meter(60, {"reading": 6.0, "decoding": 18.0})
    meter(40, {"network": 12.0, "writing": 0.0})
    assert meter.images_per_second == 5.0
    assert meter.seconds_left == 80.0
    assert (meter.bottleneck, meter.shares["decoding"]) == ("decoding", 0.5)
    assert meter.core_hours_per_million == pytest.approx(36 / 100 * 1e6 / 3600)
    text = "600 of 1,000, 5 images/s, about 80 s left, mostly decoding (50 %)"
    assert meter.describe() == text


def test_the_progress_says_so_in_lines(monkeypatch):
    monkeypatch.setattr(encode_progress, "LINE_SECONDS", 0.01)
    out = io.StringIO()
    with encode_progress.report_progress("encoding", 50, out) as meter:
        meter(20, {"reading": 1.0})
        time.sleep(0.05)
    assert "encoding: 20 of 50, " in out.getvalue()
    assert "mostly reading (100 %)" in out.getvalue()


def test_the_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(encode_progress, "BAR_SECONDS", 0.01)
    out = Terminal()
    with encode_progress.report_progress("encoding", 50, out) as meter:
        meter(20, {"reading": 1.0})
        time.sleep(0.05)
    assert "encoding" in out.getvalue()
