"""Run the notebooks in ``examples/`` and keep their outputs in them, so that whoever looks at the files sees them.

From the project's root, with the folder of public recordings for those that train (``EVERMODELS_DATA``):

    python docs/notebooks.py            all of them
    python docs/notebooks.py --check    only say which do not fit their outputs

``tests/test_notebooks.py`` runs the check. The documentation executes them again when it is built.
"""

from __future__ import annotations

import argparse
import ast
import base64
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "examples"
STAMP = "executed_source"  # in the metadata: digest of the code that gave the outputs
LARGEST = 400_000  # bytes of a notebook
_PLACE = re.compile(r"(?:/home/|/root/|/Users/|/tmp/|/work/|[A-Z]:\\\\)\S*")


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells with code.

    Args:
        notebook: The notebook, as its file has it.
    """
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def digest(notebook: Any) -> str:
    """Return the digest of a notebook's code.

    Args:
        notebook: The notebook.
    """
    code = "\0".join("".join(cell["source"]) for cell in code_cells(notebook))
    return hashlib.sha256(code.encode("utf-8")).hexdigest()


def speaks(source: str) -> bool:
    """Whether code is bound to show something: it prints at the top level, or ends with an expression.

    Args:
        source: Source of a cell; lines that begin with ``%`` are left out.
    """
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    tree = ast.parse("\n".join(lines))
    prints = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for statement in tree.body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
    )
    last = tree.body[-1] if tree.body else None
    quiet = source.rstrip().endswith(";") or (isinstance(last, ast.Expr) and _is_call_of_statement(last.value))
    return prints or (isinstance(last, ast.Expr) and not quiet)


def _is_call_of_statement(value: ast.expr) -> bool:
    """Whether an expression is called for what it does, as ``axes.set(...)`` is."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr.startswith("set")


def faults(notebook: Any) -> list[str]:
    """Return what does not fit between a notebook's code and its outputs.

    Args:
        notebook: The notebook.
    """
    found = []
    if notebook["metadata"].get(STAMP) != digest(notebook):
        found.append("the code was changed after it had been run")
    for number, cell in enumerate(code_cells(notebook), 1):
        source, outputs = "".join(cell["source"]), cell["outputs"]
        where = f"code cell {number} ({source.partition(chr(10))[0][:50]})"
        if cell["execution_count"] != number:
            found.append(f"{where} was run as number {cell['execution_count']}")
        if any(output["output_type"] == "error" for output in outputs):
            found.append(f"{where} ended in an error")
        if speaks(source) and not outputs:
            found.append(f"{where} has nothing to show")
        if any(output.get("name") == "stderr" for output in outputs):
            found.append(f"{where} wrote warnings")
        if named := _PLACE.search("\n".join("".join(output.get("text", "")) for output in outputs)):
            found.append(f"{where} names a place of the machine, {named[0]}")
    if (size := len(json.dumps(notebook).encode("utf-8"))) > LARGEST:
        found.append(f"it has {size:,} bytes, more than {LARGEST:,}")
    return found


def execute(path: Path) -> None:
    """Run a notebook and write it with its outputs.

    Args:
        path: The notebook.

    Raises:
        SystemExit: If the outputs do not fit the code; nothing is written then.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, coalesce_streams=True, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    count = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it was run: no two runs would be equal
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _smaller(output.data["image/png"])
                    output.data.pop("text/plain", None)
    notebook.metadata = {**{k: notebook.metadata[k] for k in ("kernelspec",)}, "language_info": {"name": "python"}}
    notebook.metadata[STAMP] = digest(notebook)
    if wrong := faults(notebook):
        raise SystemExit(f"{path.name}: not written.\n  " + "\n  ".join(wrong))
    nbformat.write(notebook, path)


def _smaller(png: str) -> str:
    """Return a picture with at most 256 colours."""
    from PIL import Image

    stream = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(256).save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii") + "\n"


def main(arguments: list[str]) -> int:
    """Run or check the notebooks; see the module.

    Args:
        arguments: Names in ``examples/``, and ``--check``.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="notebooks in examples/ (all)")
    parser.add_argument("--check", action="store_true", help="run nothing")
    given = parser.parse_args(arguments)
    paths = [FOLDER / f"{Path(name).stem}.ipynb" for name in given.names] or sorted(FOLDER.glob("*.ipynb"))
    code = 0
    for path in paths:
        if not given.check:
            execute(path)
        for fault in faults(json.loads(path.read_text(encoding="utf-8"))):
            print(f"{path.name}: {fault}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
