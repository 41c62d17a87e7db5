"""Benchmarks are programs, run from their own folder: the test run does not import them."""

collect_ignore_glob = ["*.py"]
