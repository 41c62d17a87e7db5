"""The README's commands are the two agreed ones, and its Python runs."""

import os
import re
from pathlib import Path

import pytest

from evermodels.checkpoints.table import pretrained_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
CHECKPOINT = re.compile(r'(?:Recognizer|from_pretrained)\("([a-z_]+\.[a-z_0-9]+)"')


def test_exactly_two_commands():
    commands = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert [c.strip() for c in commands] == [
        "pip install '.[all]' && evermodels demo",
        "pip install '.[all,test]' && pytest -n 2",
    ]


def test_three_ways_of_use():
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_runs(number, tmp_path, monkeypatch):
    code = BLOCKS[number]
    missing = sorted(set(CHECKPOINT.findall(code)) - set(pretrained_names()))
    if missing:
        message = f"not bundled yet: {', '.join(missing)}"
        pytest.fail(message) if os.environ.get("CI", "").lower() == "true" else pytest.skip(message)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"README.md, block {number + 1}", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
