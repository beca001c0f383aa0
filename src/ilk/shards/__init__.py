"""Features of very many images: a manifest, and one Parquet file of features per shard of it.

A shard folder holds

- `manifest.parquet`, one row per image in a fixed order, cut into shards (`manifest`);
- `features/SPACE/part-00003.parquet`, the features of shard 3 by one encoder (`parts`), and
  `features/SPACE/space.json`, which encoder that is (`spaces`).

A part is written beside and renamed when whole, so that the parts that are there are the record of
what is done: any number of processes on any number of machines may work on one folder, and may be
killed at any moment. Nothing here is SQLite, whose journal must not lie on a network disk.
"""

from __future__ import annotations
