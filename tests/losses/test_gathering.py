import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("two_processes.py")


def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path):
    arguments = [str(tmp_path / "store"), str(tmp_path / "result")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [run.communicate(timeout=120)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [0, 0], said
    for rank in range(2):
        found = json.loads((tmp_path / f"result.{rank}").read_text())
        assert "differ in their first axis at most, got [[2, 3], [2, 4]]" in found.pop("refused")
        assert len(found) == 13
        for name, (off, gradient, value, largest) in found.items():
            assert abs(value) > 1e-3 and largest > 1e-3, name
            assert off < 1e-12 and gradient < 1e-12, (name, off, gradient)
