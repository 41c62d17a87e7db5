"""Fuzzers are programs: the test run does not import them, since their engine is not among the test requirements."""

collect_ignore_glob = ["fuzz_*.py"]
