from __future__ import annotations

import base64
import copy
import dataclasses
import io
from collections.abc import Mapping
from html.parser import HTMLParser

import numpy as np
import pytest

from evermodels import montage
from evermodels.core.errors import ConfigError
from evermodels.core.factors import Factor, product_classes
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.recognizer import Recognition
from evermodels.report import LIMITS, render_report, write_report
from evermodels.report_result import MOST_ROWS
from evermodels.samples import Attribution

NAMES = montage.preset("muse")
SPEC = InputSpec(
    window_seconds=2.0, eeg=EEGSpec(ch_names=NAMES, sfreq=64.0), video=VideoSpec(num_frames=4, size=(8, 8))
)
TAGS = set(
    "html head meta title style body main header h1 h2 h3 h4 p code section div span i figure figcaption picture "
    "source img table thead tbody tr th td dl dt dd ul li strong footer".split()
)
VOID = {"meta", "img", "source", "br", "link", "input"}


class Page(HTMLParser):
    """Collects text, addresses and pictures, and refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "srcset", "href", "data", "action", "poster"):
                self.addresses.append(value)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += data


def recognition(windows: int = 2, eeg: bool = True, video: bool = True, graph: bool = True, **changes) -> Recognition:
    rng = np.random.default_rng(0)
    inputs, attention = {}, {}
    if eeg:
        inputs["eeg"] = rng.normal(0, 10, (windows, 4, 128)).astype(np.float32)
    if video:
        inputs["video"] = rng.integers(0, 256, (1, 4, 3, 8, 8), dtype=np.uint8)
    if graph:
        attention = {
            "channels": rng.uniform(0.4, 0.6, (windows, 4)),
            "regions": np.full((windows, 2), 0.5),
            "adjacency_region": rng.normal(size=(windows, 4, 4)),
        }
    values = {
        "model": "ever_tiny.test",
        "starts": np.arange(windows) * 2.0,
        "window_seconds": 2.0,
        "probabilities": rng.dirichlet(np.ones(2), windows),
        "classes": ("calm", "tense"),
        "attention": attention,
        "inputs": inputs,
        "input_spec": SPEC,
        "regions": {k: tuple(v) for k, v in montage.regions(NAMES).items()},
        "facts": {"parameters": "1,234", "licence": "Apache-2.0", "not_this": ["It reads no minds."]},
    }
    return Recognition(**{**values, **changes})


@pytest.fixture(autouse=True)
def pictures_are_not_written(monkeypatch):
    monkeypatch.setattr("evermodels.report_pictures._address", lambda figure: "data:,")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evermodels.plots.style.DPI", 60)
        path = write_report(recognition(), folder / "page.html", intro="An introduction.")
    assert [p.name for p in folder.iterdir()] == ["page.html"]
    return path.read_text("utf-8")


def test_a_page_that_stands_alone(whole):
    text, page = whole, Page(whole)
    assert page.addresses and all(a.startswith("data:image/webp;base64,") for a in page.addresses)
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in text
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "prefers-color-scheme: dark" in text
    assert page.headings == [
        "Result",
        "EEG: the signals",
        "EEG: how much of which rhythm, when",
        "Video: the frames used",
        "Which electrodes counted",
        "How the brain regions compare",
        "How modalities and regions are joined",
        "About the model",
        "What this is not",
    ]
    for said in ("An introduction.", "ever_tiny.test", "1,234", "Apache-2.0", "It reads no minds.", *LIMITS):
        assert said in page.text


def test_a_page_says_what_the_eeg_was_compared_with(whole):
    spec = SPEC.replace(eeg=SPEC.eeg.replace(whiten=True, baseline="rest"))
    for against, words in (
        ("baseline", "own spectrum first, that of a baseline of rest"),
        ("recordings", "that of recordings in all states"),
        ("itself", "that of this very recording"),
    ):
        assert (
            words in Page(render_report(recognition(video=False, graph=False, input_spec=spec, against=against))).text
        )
    assert "own spectrum" not in Page(whole).text


def test_every_picture_decodes(whole):
    image = pytest.importorskip("PIL.Image")
    page = Page(whole)
    assert len(page.addresses) == 14  # seven pictures, light and dark
    sizes = []
    for address in page.addresses:
        picture = image.open(io.BytesIO(base64.b64decode(address.partition(",")[2], validate=True)))
        picture.load()
        sizes.append(picture.size)
        assert min(picture.size) > 40
    assert sizes[::2] == sizes[1::2]


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"eeg": False}, ["EEG: the signals", "EEG: how much of which rhythm, when"]),
        ({"video": False}, ["Video: the frames used"]),
        ({"graph": False}, ["Which electrodes counted", "How modalities and regions are joined"]),
    ],
)
def test_sections_without_data_are_left_out(changes, gone):
    headings = Page(render_report(recognition(**changes))).headings
    assert not set(gone) & set(headings) and "Result" in headings


HOSTILE = "<script>{}</script>\"'&$a$"
MEANT = {
    "eeg",
    "video",
    "channels",
    "regions",
    "adjacency_region",
    "not_this",
    "attribution",
}  # keys that say what is there


def hostile(value, said: dict[str, str], where: str = ""):
    """The same value with every string in it, keys too, made hostile; dataclasses past their own checks."""
    if isinstance(value, str):
        text = HOSTILE.format(len(said))
        said[text] = where
        return text
    if isinstance(value, Mapping):
        return {k if k in MEANT else hostile(k, said, where): hostile(v, said, where) for k, v in value.items()}
    if isinstance(value, tuple | list):
        parts = [hostile(part, said, where) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value):
        changed = copy.copy(value)
        for field in dataclasses.fields(value):
            part = hostile(getattr(value, field.name), said, f"{where}.{field.name}".strip("."))
            object.__setattr__(changed, field.name, part)
        return changed
    return value


def test_every_string_of_a_result_is_text_and_nothing_else():
    factors = (Factor("state", ("calm", "tense"), ("eeg",)), Factor("face", ("neutral", "smiling"), ("video",)))
    whole = recognition(
        probabilities=np.random.default_rng(0).dirichlet(np.ones(4), 2),
        classes=product_classes(factors),
        factors=factors,
        quality={"face_share": np.ones(2)},
        notes=("A note.",),
        events=("a", "b"),
        captions={"video": "A caption.", "regions": "Another."},
        facts={"licence": "Apache-2.0", "not_this": ["It reads no minds."], "attribution": ["Somebody"]},
    )
    whole.attention["unknown"] = np.ones((2, 3))
    said: dict[str, str] = {}
    evil = hostile(whole, said)
    object.__setattr__(evil, "classes", product_classes(evil.factors))
    object.__setattr__(evil, "present", evil.present | {f.modalities[0]: np.ones(2, bool) for f in evil.factors})
    given = {key: hostile(key, said) for key in ("title", "intro")}
    name, source = hostile("part", said), hostile(Attribution("data", "citation", "licence", "changes"), said)
    lists = {"truth": {name: hostile("", said)}, "notes": {"video": hostile("", said)}, "limits": [hostile("", said)]}
    page = render_report({name: evil}, sources=[source], **given, **lists)
    parsed = Page(page)
    assert "<script" not in page and set(parsed.tags) <= TAGS and "attention without a picture" in parsed.text
    # These stand in pictures or nowhere; all others are text.
    assert {where.partition(".")[0] for text, where in said.items() if text not in parsed.text} <= {
        *("ch_names", "regions", "events", "against", "input_spec", "classes", "factors"),
    }
    assert all(value in parsed.text for factor in evil.factors for value in (factor.name, *factor.values))


def test_names_with_dollar_signs_are_drawn_as_they_are():
    odd = recognition(classes=("$\\frac$", "a$b$"), graph=False)
    picture = odd.plot()
    picture.savefig(io.BytesIO())  # mathtext would refuse them
    assert [text.get_text() for text in picture.axes[0].get_legend().get_texts()] == ["$\\frac$", "a$b$"]


def test_several_parts_with_what_they_were_recorded_as():
    calm = recognition(probabilities=np.array([[0.9, 0.1], [0.2, 0.8]]))
    tense = recognition(probabilities=np.array([[0.1, 0.9], [0.3, 0.7]]))
    page = Page(render_report({"first": calm, "second": tense}, truth={"first": "calm", "second": "calm"}))
    assert "1 of 2 windows agree" in page.text and "0 of 2 windows agree" in page.text
    assert len(page.addresses) == 28
    for number in ("0.90", "0.20", "55 %", "80 %"):
        assert number in page.text


def test_a_long_recording_is_cut_in_the_table_and_says_so():
    page = Page(render_report(recognition(windows=MOST_ROWS + 3, eeg=False, video=False, graph=False)))
    assert page.tags.count("tr") == MOST_ROWS + 1 and "3 more windows" in page.text


def test_sources_are_named():
    page = Page(
        render_report(
            recognition(eeg=False, video=False, graph=False),
            sources=[Attribution("Data", "Who et al., 2019", "ODC-By 1.0", "cut")],
        )
    )
    assert page.headings[-1] == "Whose recordings these are" and "Who et al., 2019. Licence: ODC-By 1.0" in page.text


def test_a_report_on_nothing():
    with pytest.raises(ConfigError, match="at least one"):
        render_report({})
