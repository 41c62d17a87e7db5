"""The fuzzer is a program: the test run does not import it, since its engine is not among the test requirements."""

collect_ignore = ["fuzz_config.py"]
