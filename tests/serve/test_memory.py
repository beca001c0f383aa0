"""Many requests leave no memory behind; the benchmark `serving` sends 10,000."""

import gc
import tracemalloc

from helpers.served_model import make_png


def test_requests_leave_no_memory_behind(make_client, kinds, ones):
    client = make_client(kinds)
    damaged = make_png()[:-20]

    def ask(n):
        for i in range(n):
            image = ones[i % len(ones)] if i % 4 else damaged
            client.post("/predict", files={"image": (f"{i}.png", image)})

    ask(20)
    gc.collect()
    tracemalloc.start()
    ask(20)
    gc.collect()
    before = tracemalloc.take_snapshot()
    ask(100)
    gc.collect()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    own = [
        difference
        for difference in after.compare_to(before, "filename")
        if "/ilk/" in difference.traceback[0].filename
    ]
    assert sum(d.size_diff for d in own) < 20_000  # 200 bytes per request would be 20,000
    assert client.state.bodies.held == 0
