"""Benchmarks: one folder per question. `ilk bench NAME` runs one from a checkout."""
