"""Benchmarks: each prints its table; recorded tables stand in RESULTS.md."""
