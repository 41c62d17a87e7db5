"""The recorded commands make the same again: the command line reads back what was given."""

from __future__ import annotations

import shlex

import pytest

from evermodels.cli import build_parser
from evermodels.training import load_recipe
from evermodels.training.provenance import command, table_command

CHANGES = ["optim.epochs=1", "model.config.eeg_config={depth = 1}", "description=a b"]


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "my recipe.toml"
    path.write_text('name = "mine"\n[[rows]]\nname = "a"\n[[rows]]\nname = "b"\n')
    return path


def parsed(line):
    words = shlex.split(line)
    assert words[0] == "evermodels"
    return build_parser().parse_args(words[1:])


def test_a_table_is_repeated_with_its_rows_and_changes(recipe_file):
    recipe = load_recipe(recipe_file, CHANGES)
    args = parsed(table_command(recipe, [0, 2], ["a"]))
    assert (args.recipe, args.set, args.seeds, args.rows) == (str(recipe_file), CHANGES, (0, 2), ("a",))
    again = load_recipe(args.recipe, args.set)
    assert again == recipe and again.optim.epochs == 1
    assert parsed(table_command(recipe, [0], ["a", "b"])).rows is None  # all of them


def test_a_run_is_repeated_with_its_row_and_changes(recipe_file):
    recipe = load_recipe(recipe_file, CHANGES)
    args = parsed(command(recipe.for_row("b"), "b", 3))
    assert (args.recipe, args.set, args.row, args.seed) == (str(recipe_file), CHANGES, "b", 3)
    assert parsed(command(load_recipe("ever_tiny_quadrant"), None, 0)).recipe == "ever_tiny_quadrant"
