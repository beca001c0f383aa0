"""Figures of the benchmarks as tables and pictures for the pages under docs/."""
