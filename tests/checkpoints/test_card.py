"""The card: metadata that the Hub's own tools accept, and what the model is not."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard

import evermodels as em
from evermodels import cli
from evermodels.checkpoints.card import CardInfo, check_card, model_card
from evermodels.checkpoints.config_file import CheckpointConfig, parse_config
from evermodels.checkpoints.scores import Score, read_scores
from evermodels.core.errors import ConfigError
from evermodels.recognizer import describe

TRAINING = {
    "licence": "apache-2.0",
    "datasets": ["eegmat", "london-faces"],
    "protocol": "Six folds over people.",
    "recipe": "ever_tiny_quadrant",
    "scores": {"UAR": {"value": 0.731, "low": 0.69, "high": 0.77}, "accuracy": 0.7},
    "not_this": ["It has never seen an emotion."],
    "attribution": ["Zyma et al. 2019"],
    "epochs": 12,
    "history": list(range(500)),
    "validation": {"samples": 288, "uar": 0.8402777761220932, "recall": [0.8611111, 0.8472222], "by": {"a": 1}},
}


def card_of(model, tmp_path, **arguments):
    text = (model.save_pretrained(tmp_path / "own", **arguments) / "README.md").read_text(encoding="utf-8")
    return text, ModelCard(text)


def test_metadata(model, tmp_path):
    text, card = card_of(model, tmp_path, classes=("a", "b", "c"), training=TRAINING)
    data = card.data.to_dict()
    assert data == {
        "license": "apache-2.0",
        "library_name": "evermodels",
        "tags": ["emotion-recognition", "eeg", "tiny_test"],
        "datasets": ["eegmat", "london-faces"],
        "metrics": ["UAR", "accuracy"],
        "model-index": [
            {
                "name": "own",
                "results": [
                    {
                        "task": {"type": "classification"},
                        "dataset": {"name": "eegmat, london-faces", "type": "eegmat"},
                        "metrics": [
                            {"type": "UAR", "value": 0.731, "name": "UAR"},
                            {"type": "accuracy", "value": 0.7, "name": "accuracy"},
                        ],
                    }
                ],
            }
        ],
    }
    assert text.startswith("---\n")


def test_text(model, tmp_path):
    text, _ = card_of(model, tmp_path, classes=("a", "b", "c"), training=TRAINING, card={"title": "Own", "tags": ["t"]})
    for piece in (
        "# Own\n",
        'em.from_pretrained("own")',
        "- windows: 1 s.\n- EEG: 3 channels (Fz, Cz, T7) in µV, 10 Hz, reference as recorded, scaling none.\n",
        "0. a\n1. b\n2. c",
        "Six folds over people.",
        "| UAR | 0.731 | 0.690 to 0.770 |",
        "| accuracy | 0.700 |  |",
        "- recipe: ever_tiny_quadrant",
        "- epochs: 12",
        "- history: 500 values, see `training` in config.json\n",
        '- validation: samples: 288; uar: 0.8403; recall: 0.8611, 0.8472; by: {"a": 1}\n',
        "## What this is not\n\n- It does not know what a person feels.",
        "- It has never seen an emotion.",
        "- Zyma et al. 2019",
        '"in_features": 6',
        "- t\n",
    ):
        assert piece in text, piece


def test_nothing_given_nothing_claimed(model, tmp_path):
    text, card = card_of(model, tmp_path)
    assert "None were recorded with this checkpoint." in text
    assert "Nothing was recorded with this checkpoint." in text
    assert "## What this is not" in text
    assert card.data.license is None
    assert card.data.metrics is None


def test_a_text_of_its_own(model, tmp_path):
    text, _ = card_of(model, tmp_path, card="# Mine\n")
    assert text == "# Mine\n"


def test_provenance_of_the_wrong_type(model, tmp_path):
    with pytest.raises(ConfigError, match=r"CardInfo.licence: expected str or None, got 3"):
        card_of(model, tmp_path, training={"licence": 3})
    assert not (tmp_path / "own").exists()


def test_metadata_hold_no_prose(model, tmp_path):
    """The Hub refuses a commit whose card names a data set in prose."""
    training = {
        "datasets": ["EEGMAT (PhysioNet, ODC-By 1.0)", "Face Set (CC BY 4.0)", "org/own", "(?)"],
        "scores": {"weighted F1": 0.5, "arousal half (balanced accuracy)": {"value": 0.6}, "n": 3, "%": 0.1},
        "base_model": ["org/base"],
    }
    text, card = card_of(model, tmp_path, training=training)
    assert card.data.datasets == ["EEGMAT", "Face-Set", "org/own"]
    assert card.data.metrics == ["weighted-F1", "arousal-half", "n"]
    assert card.data.base_model == ["org/base"]
    assert [(r.metric_type, r.metric_name, r.metric_value) for r in card.data.eval_results] == [
        ("weighted-F1", "weighted F1", 0.5),
        ("arousal-half", "arousal half (balanced accuracy)", 0.6),
        ("n", "n", 3.0),
    ]
    assert "| arousal half (balanced accuracy) | 0.600 |" in text and "EEGMAT (PhysioNet, ODC-By 1.0)" in text


def test_scores_without_data_are_not_metadata(model, tmp_path):
    _, card = card_of(model, tmp_path, training={"scores": {"UAR": 0.5}})
    assert card.data.eval_results is None
    assert card.data.metrics == ["UAR"]


SLICES = {
    "UAR": [
        {"value": 0.7118, "low": 0.5977, "high": 0.8194, "people": "6 test people", "transductive": True},
        {"value": 0.612, "people": "all 36 by folds", "where": "a minute of rest"},
    ],
    "arousal half": {"value": 0.9236, "people": "6 test people", "transductive": True},
}


class TestSlices:
    """A number from six people, or one that has seen the test people, never stands alone."""

    def test_one_table_a_slice(self, model, tmp_path):
        text, _ = card_of(model, tmp_path, training={"scores": {**SLICES, "accuracy": 0.7}, "protocol": "Folds."})
        scores = text.partition("## Scores\n")[2].partition("\n## ")[0]
        head = "| metric | value | 95 % interval |\n|---|---|---|\n"
        assert scores.startswith(f"\nFolds.\n\n{head}| accuracy | 0.700 |  |\n\n### On 6 test people, transductive\n\n")
        assert f"{head}| UAR | 0.712 | 0.598 to 0.819 |\n| arousal half | 0.924 |  |\n" in scores
        assert f"### On all 36 by folds, a minute of rest\n\n{head}| UAR | 0.612 |  |\n" in scores
        assert scores.count("Transductive: unlabelled recordings of the people it was tested on were used") == 1

    def test_in_the_metadata_of_the_hub(self, model, tmp_path):
        _, card = card_of(model, tmp_path, training={"scores": SLICES, "datasets": ["d"]})
        first, second = card.data.to_dict()["model-index"][0]["results"]
        assert first["dataset"]["name"] == "d, 6 test people, transductive"
        assert [(m["name"], m["value"]) for m in first["metrics"]] == [
            ("UAR (6 test people, transductive)", 0.7118),
            ("arousal half (6 test people, transductive)", 0.9236),
        ]
        assert second["dataset"]["name"] == "d, all 36 by folds, a minute of rest"
        assert [m["name"] for m in second["metrics"]] == ["UAR (all 36 by folds, a minute of rest)"]
        assert card.data.metrics == ["UAR", "arousal-half"]

    def test_in_facts(self, model, tmp_path):
        model.save_pretrained(tmp_path / "own", training={"scores": SLICES})
        assert describe(em.from_pretrained(tmp_path / "own"))["scores"] == (
            "UAR 0.712 [0.598, 0.819] (6 test people, transductive); UAR 0.612 (all 36 by folds, a minute of rest); "
            "arousal half 0.924 (6 test people, transductive)"
        )

    @pytest.mark.parametrize(
        ("scores", "match"),
        [
            ({"UAR": "high"}, "expected a finite number|Score.value: expected float, got 'high'"),
            ({"UAR": None}, "Score.value: expected float, got None"),
            ({"UAR": True}, "Score.value: expected float, got True"),
            ({"UAR": {"low": 0.1}}, "scores.UAR: missing key 'value'"),
            ({"UAR": {"value": 0.5, "poeple": "6"}}, "unknown key 'poeple'. Did you mean 'people'"),
            ({"UAR": {"value": 0.5, "low": 0.1}}, "both low and high"),
            ({"UAR": {"value": 0.5, "low": 0.3, "high": 0.1}}, "at most high"),
            ({"UAR": {"value": 0.5, "transductive": "no"}}, "Score.transductive: expected bool, got 'no'"),
            ({"UAR": {"value": 0.5, "metric": "F1"}}, "the metric stands before the value"),
            ({"UAR": [0.5, 0.6]}, "two values for the same people. Say on whom"),
            ({"UAR": [[0.5]]}, "Score.value: expected float"),
            ({"UAR\n## Scores": 0.5}, "Score.metric: expected a name of 1 to 200 visible characters in one line"),
            ({"UAR": {"value": 0.5, "people": "6\u202e"}}, "Score.people: expected a name"),
            ({"": 0.5}, "Score.metric: expected a name"),
            ([0.5], "CardInfo.scores: expected a mapping or None"),
        ],
        ids=str,
    )
    def test_what_is_no_score(self, model, tmp_path, scores, match):
        with pytest.raises(ConfigError, match=f"training: .*(?:{match})"):
            card_of(model, tmp_path, training={"scores": scores})
        assert not (tmp_path / "own").exists()

    def test_a_plain_number_stays_what_it_was(self):
        assert read_scores({"UAR": 0.5, "n": 3}) == (Score("UAR", 0.5), Score("n", 3.0))
        assert str(Score("n", 1e300)) == "n 1e+300"


HOSTILE = (
    "x\n\n## Scores\n\n| UAR | 0.999 |\n---\nlicense: mit\n---\n<script>alert(1)</script>\n```\n\x1b[2J\u202e\u2028# y"
)


class TestInjection:
    """Whatever a text of a checkpoint holds, the card has our sections and our metadata."""

    def card(self, **changes):
        content = {"format_version": 1, "architecture": "ever_tiny", "config": {}, **changes}
        return model_card(parse_config(json.dumps(content).encode(), "config.json"), name="own")

    @pytest.mark.parametrize(
        "training",
        [
            {key: HOSTILE}
            if key in ("title", "summary", "licence", "protocol", "recipe", "free", HOSTILE)
            else {key: [HOSTILE, HOSTILE + "2"]}
            for key in CardInfo().to_dict() | {"free": 0, "free list": 0, HOSTILE: 0}
            if key != "scores"
        ]
        + [{"free": {HOSTILE: {HOSTILE: HOSTILE}}}, {"data": HOSTILE}, {"validation": {HOSTILE: 1.0}}],
        ids=lambda training: ascii(next(iter(training)))[:20],
    )
    def test_texts_forge_nothing(self, training):
        plain = self.card(training={"scores": {"UAR": 0.5}, "datasets": ["d"]})
        text = self.card(training={"scores": {"UAR": 0.5}, "datasets": ["d"], **training})
        check_card(text, "README.md")
        names = re.findall(r"^#+ .*$", text, re.MULTILINE)
        skipped = {"# own", "## Attribution"}
        expected = [name for name in re.findall(r"^#+ .*$", plain, re.MULTILINE) if name not in skipped]
        assert [name for name in names[1:] if name not in skipped] == expected
        assert len(re.findall(r"^---", text, re.MULTILINE)) == 2
        assert text.count("\n```") == plain.count("\n```")
        body = text.split("\n---\n", 1)[1]
        assert "<script" not in body.replace("\\<", "") and "\x1b" not in text and "\u202e" not in text
        assert len(re.findall(r"^\| UAR", text, re.MULTILINE)) == 1
        metadata = yaml.safe_load(text.split("\n---\n")[0])
        assert metadata["library_name"] == "evermodels" and metadata["model-index"][0]["results"][0]["metrics"]
        assert set(metadata) <= {*yaml.safe_load(plain.split("\n---\n")[0]), "license", "base_model"}
        assert "license" in training or metadata.get("license") != "mit"

    @pytest.mark.parametrize("name", [HOSTILE, "<b>|x|</b>", "```", "\u202eevil", "a\nb"], ids=ascii)
    def test_names_of_folders_and_values_of_the_config(self, name, tiny_class):
        content = CheckpointConfig(2, "tiny_test", {"name": name, "depth": 1})
        text = model_card(content, name=name)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800]", text)
        assert text.count("\n```") == 4 and len(re.findall(r"^---", text, re.MULTILINE)) == 2
        assert json.loads(text.rpartition("```json\n")[2].rpartition("\n```")[0]) == content.config

    def test_a_folder_with_a_hidden_character_is_loaded_as_it_is_called(self, model, tmp_path):
        folder = model.save_pretrained(tmp_path / "a\u202eb é")
        call = re.search(r"em\.from_pretrained\((.*)\)", (folder / "README.md").read_text("utf-8"))
        assert json.loads(call[1]) == folder.name and call[1] == '"a\\u202eb é"'


class TestClasses:
    @pytest.mark.parametrize(
        ("classes", "match"),
        [
            ("abc", "classes: expected a list of names, got the text 'abc'"),
            (b"abc", "classes: expected a list of names"),
            ({"a": 1, "b": 2, "c": 3}, "classes: expected a list of names"),
            (3, "classes: expected a list of names"),
            (["a", "b", "b"], "expected names, each once, got 'b' twice"),
            (["\u00e9", "e\u0301", "x"], "each once"),
            (["a", "b", ""], "expected a name of 1 to 200 visible characters in one line, got ''"),
            (["a", "b", "c\n## Scores"], "expected a name"),
            (["a", "b", "\x1b[2J"], "expected a name"),
            (["a", "b", "x\u202ey"], "expected a name"),
            (["a", "b", "x" * 10**7], "expected a name"),
            (["a", "b", 3], "classes: expected a list of str or None, got"),
            (["a", "b"], "3 names, as config.num_classes says"),
        ],
        ids=lambda value: ascii(value)[:30],
    )
    def test_refused_while_saving_and_while_loading(self, model, tmp_path, classes, match):
        with pytest.raises(ConfigError, match=match) as caught:
            model.save_pretrained(tmp_path / "own", classes=classes)
        assert not (tmp_path / "own").exists() and len(str(caught.value)) < 1000
        model.classes = classes
        with pytest.raises(ConfigError, match=match):
            model.save_pretrained(tmp_path / "own")
        if not isinstance(classes, bytes):
            content = {"format_version": 1, "architecture": "tiny_test", "config": {"num_classes": 3}}
            with pytest.raises(ConfigError, match="classes"):
                parse_config(json.dumps({**content, "classes": classes}).encode(), "config.json")

    def test_columns_of_the_table_and_formulas_are_names_like_others(self, model, tmp_path):
        folder = model.save_pretrained(tmp_path / "own", classes=["start", "top", '=HYPERLINK("x")'])
        assert em.from_pretrained(folder).classes == ("start", "top", '=HYPERLINK("x")')


class TestTerminal:
    """What a checkpoint says reaches the terminal as characters."""

    def test_info(self, model, tmp_path, capsys):
        texts = dict.fromkeys(("summary", "licence", "protocol", "recipe"), HOSTILE)
        lists = {key: [HOSTILE] for key in ("datasets", "not_this", "attribution")}
        folder = model.save_pretrained(tmp_path / "own\x1b[31m", training={**texts, **lists})
        assert cli.main(["info", str(folder)]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out and "\u202e" not in out and "\u2028" not in out and "\\u001b[2J\\u202e" in out
        keys = [line.split("  ")[0] for line in out.splitlines() if not line.startswith(" ")]
        expected = [
            "name",
            "kind",
            "architecture",
            "parameters",
            "windows",
            "EEG",
            "summary",
            "protocol",
            "recipe",
            "licence",
        ]
        assert keys == [*expected, "datasets", "weights", "not this", "attribution"]
        assert "\x1b" not in str(em.from_pretrained(folder).load_report)

    def test_errors(self, tmp_path, capsys):
        assert cli.main(["info", str(tmp_path / "own\x1b[31m")]) == 2
        assert (
            cli.main(["convert", "a", str(tmp_path / "b\x1b[2J"), "--architecture", "x\x1b[2J", "--licence", "m"]) == 2
        )
        err = capsys.readouterr().err
        assert "\x1b" not in err and "\\u001b[31m" in err

    @pytest.mark.parametrize(
        "said",
        [{"licence": 3}, {"summary": [1]}, {"datasets": "x"}, {"scores": {"UAR": "x"}}, {"not_this": 3}],
        ids=str,
    )
    def test_provenance_of_the_wrong_type_is_refused_where_it_is_read(self, model, tmp_path, said):
        folder = model.save_pretrained(tmp_path / "own")
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**content, "training": said, "sha256": None}))
        with pytest.raises(ConfigError, match=f"config.json: training: .*{next(iter(said))}|Score.value"):
            em.from_pretrained(folder)
        model.provenance = said
        with pytest.raises(ConfigError, match=r"CardInfo|Score\.value"):
            describe(model)


def test_tags_name_what_this_model_takes(tmp_path):
    model = em.create_model("ever_tiny", modalities=("eeg",))
    tags = ModelCard.load(model.save_pretrained(tmp_path) / "README.md").data.tags
    assert tags == ["emotion-recognition", "eeg", "ever_tiny"]
