"""The fault table: every fault case, run thoroughly; ``python -m tests.checkpoints.fault_table`` from the checkout.

One row a kind of fault: how often it was tried, how often it was refused with a message that says what to do or was
survived, and how often something was loaded wrong. Whatever did not go as it should is told below the table, and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.checkpoints import hub_cases, local_cases, test_faults, test_hub_faults


@dataclass
class Row:
    """What became of one kind of fault."""

    tried: int = 0
    survived: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def take(self, name: str, run: Callable[[], int]) -> None:
        """Run a case and count it."""
        try:
            count = run()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.tried += 1
            text = f"{name}: {type(error).__name__}: {error}"
            # Another message or error than the expected one still loads nothing; all else counts as loaded wrong.
            loaded = isinstance(error, AssertionError) and "Regex pattern did not match" not in str(error)
            (self.wrong if loaded or type(error).__name__ == "Failed" else self.failed).append(text)
        else:
            self.tried += count
            self.survived += count


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few bytes of each file, as the tests do")
    parser.add_argument("--local", action="store_true", help="without the faults of the Hub and the network")
    options = parser.parse_args()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # its warnings are what the cases provoke
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as place:
        prepared = local_cases.prepare(Path(place) / "prepared")

        def local(case: local_cases.LocalCase, scratch: Path) -> int:
            with local_cases.world(scratch, prepared, thorough=not options.quick) as made:
                return case.run(made)

        cases = [(case, local) for case in test_faults.CASES]
        cases += [] if options.local else [(case, hub_cases.run) for case in test_hub_faults.CASES]
        for number, (case, run) in enumerate(cases):
            scratch = Path(place) / str(number)
            scratch.mkdir()
            print(f"\r{number + 1} of {len(cases)} cases", end="", file=sys.stderr, flush=True)
            rows.setdefault(case.kind, Row()).take(case.name, lambda: run(case, scratch))  # noqa: B023 - run at once
    print(file=sys.stderr)
    print("| fault | tried | refused or survived | loaded wrong |\n|---|---|---|---|")
    for kind, row in rows.items():
        print(f"| {kind} | {row.tried:,} | {row.survived:,} | {len(row.wrong)} |")
    total = [sum(n) for n in zip(*((r.tried, r.survived, len(r.wrong)) for r in rows.values()), strict=True)]
    print(f"| **all** | **{total[0]:,}** | **{total[1]:,}** | **{total[2]}** |")
    if troubles := [f"{kind}: {text}" for kind, row in rows.items() for text in (*row.wrong, *row.failed)]:
        sys.exit("\n".join(troubles))


if __name__ == "__main__":
    main()
