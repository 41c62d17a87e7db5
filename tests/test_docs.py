"""What in ``docs/`` and ``examples/`` is made by a command is what that command makes today."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from evermodels.core.text import markdown_name
from evermodels.training import benchmark_table
from evermodels.training.benchmark_results import digest_of, read_csv

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def script(name: str):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmarks_file_is_whole():
    folder = ROOT / "docs" / "results"
    rows = read_csv((folder / "benchmark.csv").read_text("utf-8"))
    configs = json.loads((folder / "benchmark_configs.json").read_text("utf-8"))
    assert {row["config"] for row in rows} <= set(configs) and {row["status"] for row in rows} == {"finished"}
    assert all(digest_of(config) == digest for digest, config in configs.items())
    page = (folder / "benchmark.md").read_text("utf-8")
    for dataset in {row["dataset"] for row in rows}:
        assert f"<!-- counted: benchmark {dataset} -->" in page
        models = {row["model"] for row in rows if row["dataset"] == dataset}
        assert all(markdown_name(model) in benchmark_table(rows, dataset) for model in models)


def test_the_drawing_has_the_rooms_of_the_import_contract():
    house = script("house")
    assert house.TARGET.read_text("utf-8") == house.draw(), "the contract changed: run python docs/house.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_stand_with_the_outputs_of_their_code(path):
    faults = script("notebooks").faults(json.loads(path.read_text("utf-8")))
    assert faults == [], f"run: python docs/notebooks.py {path.stem}"


def cell(source: str, *outputs: dict, count: int = 1) -> dict:
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "execution_count": count, "metadata": {}}


def test_faults_of_a_notebook_are_found():
    notebooks = script("notebooks")
    text = {"output_type": "stream", "name": "stdout", "text": ["42\n"]}
    good = {"cells": [cell("print(42)", text), cell("x = 1", count=2)], "metadata": {}}
    good["metadata"][notebooks.STAMP] = notebooks.digest(good)
    assert notebooks.faults(good) == []

    def changed(number: int, stamped: bool = True, **parts) -> list[str]:
        other = copy.deepcopy(good)
        other["cells"][number].update(parts)
        if stamped:
            other["metadata"][notebooks.STAMP] = notebooks.digest(other)
        return notebooks.faults(other)

    for found, words in (
        (changed(1, stamped=False, source="x = 2"), "the code was changed"),
        (changed(0, outputs=[]), "has nothing to show"),
        (changed(1, source="x = 1\nx"), "has nothing to show"),
        (changed(1, execution_count=7), "was run as number 7"),
        (changed(0, outputs=[{"output_type": "error", "ename": "ValueError"}]), "ended in an error"),
        (changed(0, outputs=[{**text, "name": "stderr"}]), "wrote warnings"),
        (changed(0, outputs=[{**text, "text": ["in /home/me/x.edf"]}]), "names a place of the machine, /home/me/x.edf"),
        (changed(0, outputs=[{**text, "text": ["4" * 500_000]}]), "bytes, more than"),
    ):
        assert len(found) == 1 and words in found[0], found


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("%matplotlib inline\nx = 1", False),
        ("for x in y:\n    print(x)", True),
        ("def f():\n    print(1)", False),
        ("f(x)", True),
        ("f(x);", False),
        ("axes.set_title('a')", False),
        ("import torch", False),
    ],
)
def test_which_code_is_bound_to_show_something(source, says):
    assert script("notebooks").speaks(source) is says


def test_the_parity_table_is_whole_and_within_its_limits():
    """Each of EVER's twelve has a row; two are computed anew."""
    rows = json.loads((ROOT / "docs" / "parity.json").read_text("utf-8"))["rows"]
    families = {row["model"].partition(",")[0] for row in rows}
    assert families == {
        *("ViViT", "TimeSformer", "Video Swin", "VideoMAE", "AdaMAE", "TVLT", "HiCMAE"),
        *("PatchTST", "iTransformer", "Crossformer", "Medformer", "Audio-Mamba"),
    }
    for row in rows:
        assert row["logits"] < 1e-5 and (row["double"] or 0) < 1e-10 and (row["gradient"] or 0) < 1e-5, row
    spec = importlib.util.spec_from_file_location("parity", ROOT / "tests" / "benchmarks" / "parity.py")
    parity = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = parity  # where its dataclass looks for its annotations
    spec.loader.exec_module(parity)
    for name in ("tvlt_transformers_a", "aum_fobi_a"):
        row = parity.recorded(name)
        assert row.logits < 1e-5 and row.double < 1e-10 and row.gradient < 1e-5
