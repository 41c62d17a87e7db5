"""How much of a baseline a checkpoint needs: more or less of a person's rest, the recording itself, both recordings.

    python tests/benchmarks/baseline_length.py [NAME_OR_FOLDER]

reads the real recordings from EVERMODELS_DATA (default ../shared/data) and prints, for all windows of the quadrant
pairs' test people after their first minute of rest (EEG alone, rest or arithmetic), the mean recall of the two states
with an interval over people, and its difference from a minute of rest, paired over the same resampled people. Both
recordings together are what this checkpoint was not trained for. tests/benchmarks/baseline_folds.py prints the same
over all people, each by weights that have not seen them.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from baseline_folds import BLOCKS, WAYS, Windows

import evermodels as em
from evermodels.training import interval, paired_difference


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="ever_tiny.quadrant", help="checkpoint or folder (%(default)s)")
    options = parser.parse_args()
    model = em.from_pretrained(options.model)
    spec = model.input_spec.eeg
    windows = Windows(Path(os.environ.get("EVERMODELS_DATA", "../shared/data")), spec.ch_names, spec.sfreq)
    runs = {name: windows.answers(model, BLOCKS[-1], way) for name, (_, way) in WAYS.items()}
    minute = next(iter(runs.values()))
    print(f"{options.model}: {len(minute.label)} windows of {len(BLOCKS[-1])} test people\n")
    print("| compared with | mean recall of the two states | from a minute of rest |\n|---|---|---|")
    for name, made in runs.items():
        value, low, high = interval([made])
        gap = paired_difference([made], [minute])
        cell = "" if made is minute else f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        print(f"| {name} | {value:.3f} [{low:.3f}, {high:.3f}] | {cell} |")


if __name__ == "__main__":
    main()
