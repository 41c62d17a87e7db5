"""Recipes: what they hold, what they refuse."""

from __future__ import annotations

import copy
import datetime
import json

import pytest
import torch

from evermodels.checkpoints.load import from_pretrained
from evermodels.core.errors import ConfigError, EvermodelsError, UnknownNameError
from evermodels.core.registry import model_class
from evermodels.training import build_model, list_recipes, load_recipe
from evermodels.training.recipe import Recipe, Row, parse_override

MINIMAL = 'name = "x"\n'


def write(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", list_recipes())
def test_every_bundled_recipe_loads_and_its_rows_fit_their_model(name):
    recipe = load_recipe(name)
    for row in recipe.rows:
        model = recipe.for_row(row.name).model
        model_class(model.architecture).presets[model.architecture].replace(**model.config)


def test_the_rows_are_those_of_tables_3_and_4():
    recipe = load_recipe("ever_tiny_quadrant")
    by_table = {t: [row.name for row in recipe.rows if row.table == t] for t in (3, 4)}
    assert by_table[3] == ["eeg", "video", "naive", "naive_align", "bih_gcn", "ever"]
    assert by_table[4] == ["ever_no_local", "ever_no_region_edges", "ever_no_both"]
    assert recipe.row(None).name == "ever"
    config = {row.name: recipe.for_row(row.name).model.config for row in recipe.rows}
    assert config["eeg"]["modalities"] == ["eeg"]
    assert config["video"]["modalities"] == ["video"]
    assert (config["naive"]["fusion"], config["naive"]["alignment"]) == ("naive", "none")
    assert (config["naive_align"]["fusion"], config["naive_align"]["alignment"]) == ("naive", "correlation")
    assert config["bih_gcn"].get("fusion", "bih_gcn") == "bih_gcn" and config["bih_gcn"]["alignment"] == "none"
    assert config["ever"]["alignment"] == "correlation"
    assert {row.name for row in recipe.rows if not row.table} == {
        "eeg_recordings",
        "ever_recordings",
        "eeg_raw",
        "ever_raw",
    }
    assert config["ever_no_both"]["local_mask"] is False and config["ever_no_both"]["region_edges"] is False


@pytest.mark.parametrize(
    ("kind", "differs"), [("recordings", {"baseline": ""}), ("raw", {"baseline": "", "whiten": False})]
)
def test_the_rows_without_a_baseline_differ_in_nothing_else(kind, differs):
    recipe = load_recipe("ever_tiny_quadrant")
    for name in ("eeg", "ever"):
        plain, other = (recipe.for_row(row).to_dict() for row in (name, f"{name}_{kind}"))
        eeg = plain["model"]["config"]["input_spec"]["eeg"]
        assert eeg == {"whiten": True, "baseline": "rest"}
        eeg |= differs
        for whole in (plain, other):
            whole.pop("rows")
        assert plain == other
    assert recipe.row(f"ever_{kind}").init_from == {"eeg": f"eeg_{kind}", "video": "video"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optim]\nepochss = 3", r"unknown key 'epochss'. Did you mean 'epochs'"),
        ("[optim]\nepochs = '3'", r"OptimSettings.epochs: expected int, got '3' \(str\)"),
        ("[optim]\nepochs = 0", r"OptimSettings.epochs: expected at least 1, got 0"),
        (
            "[optim]\nlr = {eeg_encoder = -1.0}",
            r"OptimSettings.lr.eeg_encoder: expected 0 \(frozen\), or at least min_lr",
        ),
        ("[loss]\nconsistency = -1.0", r"LossSettings.consistency: expected 0 or more"),
        ("[loss]\nday = 2020-01-01", r"LossSettings.values: expected numbers, texts"),
        (
            "[data]\ndataset = 'quadrant'",
            r"Recipe.data.dataset: expected one of .*'quadrant_pairs'.*'recordings'.*, got 'qu",
        ),
        ("[data]\nlength = 12", r"Recipe.data: unknown key 'length'.* Allowed: dataset, num_workers"),
        ("[data]\ndataset = 'quadrant_pairs'\nlength = 10", r"multiple of 4"),
        ("[data]\ndataset = 'quadrant_pairs'\naugment = {blend = 2.0}", r"blend: expected a probability"),
        ("[data]\ndataset = ['quadrant_pairs']", r"DataSettings.dataset: expected str, got"),
        ("[model]\npretrained = 'a.b'\nconfig = {dim = 3}", r"a checkpoint brings its own config"),
        ("full = 'x'", r"Recipe.full: expected one of the rows"),
        ("[[rows]]\nname = 'a'\ntable = 3\n[[rows]]\nname = 'a'\ntable = 3", r"'a' occurs twice"),
        ("[[rows]]\nname = 'a'\ntable = 3\ninit_from = {eeg = 'b'}", r"'a' starts from 'b', which is not an earlier"),
        ("[[rows]]\nname = '../a'\ntable = 3", r"Row.name: expected 1 to 100 letters"),
        ("[[rows]]\nname = 'a'\ntable = 3\noverrides.optm.epochs = 3", r"no section 'optm'. Did you mean 'optim'"),
        ("[[rows]]\nname = 'a'\ntable = 3\noverrides.optim.epoch = 3", r"unknown key 'epoch'"),
        ("[optim", r"not a TOML file"),
        ("rows = 5", r"Recipe.rows: expected a list of Row, got 5"),
        ("rows = [5]", r"Recipe.rows\[0\]: expected Row, got 5"),
        ("[comparison]\nmargin = 0", r"ComparisonSettings.margin: expected a number between 0 and 1, got 0"),
        ("[model.config]\nday = 2020-01-01", r"ModelSettings.config: expected numbers, texts"),
        ("[data]\nnum_workers = 1000000", r"num_workers: expected 0 to 1024"),
        ("optim = " + 3000 * "[" + 3000 * "]", r"not a TOML file \(RecursionError"),
        ("optim = " + 5000 * "9", r"not a TOML file \(ValueError"),
        ("[[rows]]\nname = 'a'\ntable = -1", r"Row.table: expected a table's number"),
    ],
    ids=lambda text: text[:40],
)
def test_a_wrong_recipe_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(write(tmp_path, MINIMAL + text))


@pytest.mark.parametrize("name", ["", ".", "..", "/tmp/x", "../x", "a/b", "a\0b", "a b", "a\n", "x" * 101, "C:x"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    for make in (lambda: Recipe.from_dict({"name": name}), lambda: Row(name=name)):
        with pytest.raises(ConfigError, match=r"name: expected 1 to 100 letters, digits, - and _"):
            make()


def test_a_file_that_is_not_utf8_or_no_recipe_at_all_is_refused(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes('name = "x"\ndescription = "Gefühl"\n'.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"cannot be read \(UnicodeDecodeError.*Write it in UTF-8"):
        load_recipe(path)
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="larger than 1,000,000 bytes"):
        load_recipe(path)


@pytest.mark.parametrize(
    "override",
    [
        "rows=5",
        "rows.a=3",
        "optim=5",
        "optim.lr=[]",
        ".".join("a" * 3000) + "=1",
        "optim.lr.rest=" + 5000 * "9",
        "optim.epochs=" + 3000 * "[",
        "name=..",
        "model.config.x=2020-01-01",
    ],
    ids=lambda override: override[:20],
)
def test_no_override_gets_past_the_checks(override):
    with pytest.raises(ConfigError):
        load_recipe("ever_tiny_quadrant", [override]).digest()


WRONG = [None, True, -1, 10**400, 1e308, float("nan"), "", "x\0", [], [[]], {}, {"a": 1}, datetime.date(2020, 1, 1)]


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    if isinstance(value, list):
        for key, inner in enumerate(value):
            yield from leaves(inner, (*path, key))
    if path:
        yield path


def test_a_wrong_value_anywhere_is_ours_or_harmless():
    row = {"name": "a", "table": 3, "init_from": {}, "overrides": {"optim": {"epochs": 2}, "model": {"config": {}}}}
    plain = Recipe.from_dict({"name": "x", "full": "a", "rows": [row]}).to_dict()
    refused = 0
    for path in leaves(plain):
        for wrong in WRONG:
            changed = copy.deepcopy(plain)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = wrong
            try:
                recipe = Recipe.from_dict(changed)
                json.dumps(recipe.for_row("a").to_dict(), allow_nan=False)
                assert recipe.digest() and recipe.for_row("a").digest()
            except EvermodelsError:
                refused += 1
    assert refused > 400


def test_congruence_starts_from_encoders_of_the_halves():
    recipe = load_recipe("ever_tiny_congruence")
    for row in recipe.rows:
        own = recipe.for_row(row.name)
        fused = len(row.init_from) == 2
        assert own.data.label_rule == ("congruence" if fused else "quadrant")
        assert own.optim.lr[f"{'eeg' if row.name == 'eeg' else 'video'}_encoder"] == 0 or not fused
        assert build_model(own).config.num_classes == (2 if fused else 4)
    assert build_model(recipe.for_row("mlp")).config.fusion == "mlp"
    assert recipe.for_row("bih_gcn_4").data.train_people == 4


def test_congruence_of_whole_systems_keeps_their_trained_encoders():
    recipe = load_recipe("systems_tiny_congruence")
    for row in recipe.rows:
        own = recipe.for_row(row.name)
        assert own.data.label_rule == "congruence" and own.model.config["num_classes"] == 2
        assert own.optim.lr["eeg_encoder"] == own.optim.lr["video_encoder"] == 0 < own.optim.lr["rest"]
        source = own.model.architecture + ".quadrant"
        assert own.model.encoders_from == dict.fromkeys(own.model.config.get("modalities", ("eeg", "video")), source)
        if row.name in ("ever", "milmer", "mercl", "trimodal"):
            model, trained = build_model(own), from_pretrained(source)
            for m in ("eeg", "video"):
                theirs = trained.encoder(m).state_dict()
                assert all(torch.equal(x, theirs[key]) for key, x in model.encoder(m).state_dict().items())
    assert recipe.comparison.late_fusion == ("eeg", "video") and recipe.full == "mlp"


def test_the_model_checks_its_own_loss():
    plain = load_recipe("ever_tiny_quadrant")
    assert plain.loss.to_dict()["label_smoothing"] == 0.05 == plain.for_row("eeg").loss.values["label_smoothing"]
    for change, message in (
        ("loss.beta=1.0", r"EVERLossConfig.beta: expected a number in \[0, 1\)"),
        ("loss.gama=1.0", r"loss: unknown key 'gama'. Did you mean 'gamma'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_model(load_recipe("ever_tiny_quadrant", [change]).for_row("eeg"))
    with pytest.raises(ConfigError, match="expected a whole system, such as ever_tiny, got videomae_nano"):
        build_model(Recipe.from_dict({"name": "x", "model": {"architecture": "videomae_nano"}}))


def test_unknown_recipes_and_rows_are_named():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ever_tiny_quadrant'"):
        load_recipe("ever_tiny_quadrants")
    with pytest.raises(UnknownNameError, match=r"there is no file"):
        load_recipe("nowhere.toml")
    with pytest.raises(UnknownNameError, match=r"has no 'evr'. Did you mean 'ever'"):
        load_recipe("ever_tiny_quadrant").row("evr")


def test_overrides_win_over_the_recipe_and_over_its_rows(tmp_path):
    path = write(
        tmp_path,
        MINIMAL + "[optim]\nepochs = 9\nema_decay = 0.9\n[[rows]]\nname = 'a'\ntable = 3\noverrides.optim.epochs = 5",
    )
    recipe = load_recipe(path, ["optim.epochs=3", "optim.ema_decay=none", "model.config.fusion=naive"])
    assert (recipe.optim.epochs, recipe.optim.ema_decay, recipe.model.config) == (3, None, {"fusion": "naive"})
    assert recipe.for_row("a").optim.epochs == 3
    assert recipe.for_row("a").changes == ("optim.epochs=3", "optim.ema_decay=none", "model.config.fusion=naive")
    assert load_recipe(path).for_row("a").optim.epochs == 5
    with pytest.raises(ConfigError, match="expected key=value"):
        load_recipe(path, ["optim.epochs"])
    with pytest.raises(ConfigError, match="unknown key 'epoch'"):
        load_recipe(path, ["optim.epoch=3"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=true", True), ("a=[1, 2]", [1, 2]), ("a='1'", "1"), ("a=naive", "naive"), ("a=None", None)],
)
def test_values_are_read_as_toml(text, value):
    assert parse_override(text) == (("a",), value)


def test_the_digest_is_about_results_only():
    recipe = Recipe.from_dict({"name": "x"})
    assert recipe.digest() == recipe.replace(name="y", description="z").digest()
    assert recipe.digest() == recipe.replace(data=recipe.data.replace(num_workers=4)).digest()
    assert recipe.digest() != recipe.replace(optim=recipe.optim.replace(epochs=31)).digest()
    assert recipe.digest() != recipe.replace(model=recipe.model.replace(config={"dim": 8})).digest()
