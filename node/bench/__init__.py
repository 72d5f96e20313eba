"""Benchmarks: each figure beside its reference, taken in the same run, as a ratio."""
