"""The lines of use at the head of each model's page run, and what they say of shapes is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = [*sorted((DOCS / "models").glob("*.md")), *sorted((DOCS / "parts").glob("*.md")), DOCS / "parity.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
FIRST = {p.stem: found[1] for p in PAGES if (found := BLOCK.search(p.read_text("utf-8")))}
_SIZE = re.compile(r"[\d+·\- ]+")


def steps(code: str) -> list[tuple[ast.stmt, str]]:
    """The statements, each with the comment behind it where it ends in a shape."""
    lines = code.splitlines()
    found = []
    for node in ast.parse(code).body:
        comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
        shape = isinstance(node, ast.Expr) and ast.unparse(node).endswith(".shape") and comment.startswith("(")
        found.append((node, comment if shape else ""))
    return found


def said(comment: str) -> tuple[int, ...] | None:
    """The shape that a comment begins with, products and sums worked out; ``None`` where it has names in it."""
    inside = comment[1 : comment.index(")")].split(",")
    if not all(_SIZE.fullmatch(part) for part in inside if part.strip()):
        return None
    return tuple(eval(part.replace("·", "*")) for part in inside if part.strip())


@pytest.mark.parametrize("page", FIRST)
def test_the_first_lines_run_and_say_what_is(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page}
    for node, comment in steps(FIRST[page]):
        if comment and (want := said(comment)) is not None:
            assert tuple(eval(ast.unparse(node), names)) == want, comment
        else:
            exec(compile(ast.Module([node], []), page, "exec"), names)


def test_what_a_comment_says():
    code = "x.shape  # (2, 8 · 4 · 4, 96): tubelets\nx.shape  # (2, n)\nx  # (2, 3)\n"
    assert [said(comment) if comment else 0 for _, comment in steps(code)] == [(2, 128, 96), None, 0]
