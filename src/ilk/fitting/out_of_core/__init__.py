"""Fits on shard folders: in memory where the features fit, else block by block.

`ilk.fitting.out_of_core.fit` opens the folder (`shard_source`), chooses the road (`memory`), and
either hands a store of the shards' features (`ilk.shards.store_view`) to `ilk.fitting.fit`, or sums
class statistics in one pass (`streamed_rows`), ranks the methods that learn from a stream
(`ranking`), and fits, calibrates and evaluates the best one (`finish`, `held_out`).
"""

from __future__ import annotations
