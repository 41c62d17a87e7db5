"""What every system of the registry keeps, with inputs drawn from its spec alone; a new one joins by its row."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import json

import pytest
import torch
from torch.utils import _pytree as pytree

import evermodels as em
from evermodels.core import registry
from evermodels.core.errors import ConfigError, EvermodelsError, ShapeError
from evermodels.core.kinds import KINDS
from evermodels.core.outputs import ATTENTION, EmotionOutput
from tests import toys

SYSTEMS = toys.smallest("system")


@pytest.fixture(autouse=True, scope="module")
def registered():
    """The toys are in the registry."""
    with pytest.MonkeyPatch.context() as patch:
        toys.register(patch)
        yield


@functools.cache
def pristine(name: str):
    torch.manual_seed(3)
    model = em.create_model(name, **toys.shallow(name))
    model.fit_statistics([draw(model, 4, seed=2)])
    return model.eval()


def build(name: str):
    """The smallest preset of a system, with the same weights each time, statistics taken."""
    return copy.deepcopy(pristine(name))


def draw(model, n: int, seed: int = 1) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {m: 3 * torch.randn(n, *model.input_spec.shape(m), generator=g) for m in model.modalities}


def subsets(model) -> list[tuple[str, ...]]:
    names = model.modalities
    return [s for size in range(1, len(names) + 1) for s in itertools.combinations(names, size)]


def mixed(model) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A batch in which each subset of modalities has a sample, and who has what."""
    rows = subsets(model) if len(model.modalities) > 1 else subsets(model) * 2  # a batch of 1 exports as the number 1
    return draw(model, len(rows)), {m: torch.tensor([m in row for row in rows]) for m in model.modalities}


def assert_same(a: EmotionOutput, b: EmotionOutput, **tolerance) -> None:
    assert pytree.tree_structure(a) == pytree.tree_structure(b)
    for x, y in zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True):
        torch.testing.assert_close(x, y, **tolerance)


def rows(output: EmotionOutput, index) -> EmotionOutput:
    return pytree.tree_map(lambda x: x[index], output)


CLOSE = {"rtol": 1e-4, "atol": 1e-5}
over_systems = pytest.mark.parametrize("name", SYSTEMS)


@pytest.mark.parametrize("name", [n for n, row in registry.MODELS.items() if row.kind == "system"] + toys.SYSTEMS)
def test_forward_takes_what_the_registry_says(name):
    cls, takes = registry.model_class(name), registry.entry(name).takes
    assert cls.presets[name].modalities == takes
    _, *parameters = inspect.signature(cls.forward).parameters.values()
    assert [p.name for p in parameters] == [*takes, "present", "masks"]
    assert all(p.default is None for p in parameters)
    assert [p.kind for p in parameters[-2:]] == [inspect.Parameter.KEYWORD_ONLY] * 2
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters[:-2])
    assert name in em.list_models(kind="system", modality=takes[0])


@over_systems
def test_the_first_of_a_family_is_small(name):
    with torch.device("meta"):
        assert sum(p.numel() for p in em.create_model(name).parameters()) <= 2_000_000


@over_systems
def test_each_subset_of_modalities(name):
    model = build(name)
    inputs = draw(model, 2)
    for there in subsets(model):
        output = model(**{m: inputs[m] for m in there})
        assert isinstance(output, EmotionOutput)
        assert output.logits.shape == (2, model.config.num_classes)
        assert output.embedding.ndim == 2 and len(output.embedding) == 2
        assert set(output.embeddings) == set(there)
        assert all(z.ndim == 2 and len(z) == 2 for z in output.embeddings.values())
        assert set(output.attention) <= set(ATTENTION)
        for kind, values in output.attention.items():
            assert values.shape[0] == 2 and values.ndim == 1 + len(ATTENTION[kind]), kind
        assert all(torch.isfinite(x).all() for x in pytree.tree_leaves(output))
        flags = {m: torch.full((2,), m in there) for m in model.modalities}
        said = model(**inputs, present=flags)
        torch.testing.assert_close(said.logits, output.logits, **CLOSE)
        torch.testing.assert_close(said.embedding, output.embedding, **CLOSE)


@over_systems
def test_nothing_and_what_does_not_fit_are_errors(name):
    model = build(name)
    inputs = draw(model, 2)
    with pytest.raises(ShapeError, match="every modality is absent"):
        model()
    for m, x in inputs.items():
        with pytest.raises(ShapeError, match=m):
            model(**{m: x[0]})
        with pytest.raises(ShapeError, match=m):
            model(**{m: torch.cat([x, x], dim=1)})
        with pytest.raises(EvermodelsError, match=m):
            model(**{m: x * float("nan")})
        with pytest.raises(ShapeError, match="have no modality"):
            model(**inputs, present={other: torch.tensor([True, False]) for other in inputs})
        if m not in model.masked:
            with pytest.raises(ConfigError, match="masks"):
                model(**inputs, masks={m: torch.ones(2, 1)})
    with pytest.raises(ConfigError, match="smell"):
        model(**inputs, present={"smell": torch.ones(2).bool()})


@over_systems
def test_what_stands_in_for_the_absent_matters_to_nothing(name):
    model = build(name)
    inputs, flags = mixed(model)
    found = []
    for fill in (float("nan"), 0.0, 1e6):
        filled = {m: x.clone() for m, x in inputs.items()}
        for m, x in filled.items():
            x[~flags[m]] = fill
            x.requires_grad_()
        model.zero_grad()
        output = model(**filled, present=flags)
        (output.logits.square().sum() + output.embedding.square().sum()).backward()
        for m, x in filled.items():
            assert not x.grad[~flags[m]].any() and torch.isfinite(x.grad).all()
        found.append((output, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}))
    for output, gradients in found[1:]:
        assert_same(output, found[0][0], rtol=0, atol=0)
        assert gradients.keys() == found[0][1].keys()
        assert all(torch.equal(gradients[n], found[0][1][n]) for n in gradients)


@over_systems
def test_a_mixed_batch_equals_each_sample_alone(name):
    model = build(name)
    inputs, flags = mixed(model)
    with torch.no_grad():
        whole = model(**inputs, present=flags)
        for index, there in enumerate(subsets(model)):
            alone = model(**{m: inputs[m][index : index + 1] for m in there})
            row = rows(whole, slice(index, index + 1))
            for m in set(row.embeddings) - set(there):
                assert not row.embeddings.pop(m).any()
            assert_same(row, alone, **CLOSE)


@over_systems
def test_the_order_in_a_batch_is_free_and_inputs_stay_as_they_are(name):
    model = build(name)
    inputs, flags = mixed(model)
    before = {m: x.clone() for m, x in inputs.items()}, {m: x.clone() for m, x in flags.items()}
    order = torch.arange(len(flags[model.modalities[0]])).flip(0)
    with torch.no_grad():
        output = model(**inputs, present=flags)
        turned = model(**{m: x[order] for m, x in inputs.items()}, present={m: x[order] for m, x in flags.items()})
        model.train()(**inputs, present=flags)
    assert_same(turned, rows(output, order), **CLOSE)
    for old, new in zip(before, (inputs, flags), strict=True):
        assert all(torch.equal(old[m], new[m]) for m in new)


@over_systems
def test_the_classifier_reads_the_embedding_and_nothing_else_is_renewed(name):
    model = build(name)
    inputs = draw(model, 2)
    before, embedding = model.state_dict(), model(**inputs).embedding
    model.reset_classifier(5)
    after = model.state_dict()
    assert model(**inputs).logits.shape == (2, 5) and model.config.num_classes == 5
    for key in before.keys() | after.keys():
        assert key.startswith(model.head_prefixes) or torch.equal(before[key], after[key]), key
    model.reset_classifier(0)
    output = model(**inputs)
    assert output.logits.shape == (2, 0)
    torch.testing.assert_close(output.embedding, embedding)
    none = em.create_model(name, **toys.shallow(name, num_classes=0))
    assert set(none.state_dict()) == set(model.state_dict())
    assert none.eval()(**inputs).embedding.shape == embedding.shape
    with pytest.raises(ConfigError, match="num_classes"):
        model.reset_classifier(-1)


@over_systems
def test_compiled_and_exported(name):
    model = build(name)
    inputs, flags = mixed(model)
    with torch.no_grad():
        want = model(**inputs, present=flags)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        assert_same(compiled(**inputs, present=flags), want, **CLOSE)
        size = torch.export.Dim("batch", min=2, max=64)
        shapes = {m: {0: size} for m in inputs}
        shapes = {**shapes, "present": {m: {0: size} for m in flags}, "masks": None}
        arguments = {**inputs, "present": flags, "masks": None}
        program = torch.export.export(model, (), arguments, dynamic_shapes=shapes)
        for n in (2, 5):
            other, there = draw(model, n, seed=n), {m: torch.arange(n) != k for k, m in enumerate(flags)}
            if len(there) == 1:
                there = {m: torch.ones(n, dtype=torch.bool) for m in there}
            got = program.module()(**other, present=there, masks=None)
            assert_same(got, model(**other, present=there), **CLOSE)


@over_systems
def test_copies_and_half_precision(name):
    """By autocast, and with weights of half the width whatever the inputs' is, logits are near those of float32."""
    model = build(name)
    inputs = draw(model, 2)
    with torch.no_grad():
        want = model(**inputs).logits
        assert torch.equal(copy.deepcopy(model)(**inputs).logits, want)
        far = 0.1 * want.abs().max()
        for kind in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", kind):
                assert (model(**inputs).logits.float() - want).abs().max() < far
        model.bfloat16()
        for given in (inputs, {m: x.bfloat16() for m, x in inputs.items()}):
            assert (model(**given).logits.float() - want).abs().max() < far


@over_systems
def test_equal_after_save_and_load(name, tmp_path):
    model = build(name)
    inputs, flags = mixed(model)
    loaded = em.from_pretrained(model.save_pretrained(tmp_path / "m"))
    assert loaded.config == model.config and loaded.input_spec == model.input_spec
    assert loaded.has_statistics and type(loaded) is type(model)
    assert_same(loaded(**inputs, present=flags), model(**inputs, present=flags), rtol=0, atol=0)


@over_systems
def test_a_checkpoint_outlives_the_presets_of_its_encoders(name, tmp_path, monkeypatch):
    model = build(name)
    inputs, flags = mixed(model)
    folder = model.save_pretrained(tmp_path / "m")
    for encoder in model.config.encoders.values():
        cls = registry.model_class(encoder.name)
        *_, other = cls.presets.values()
        other = other.replace(width=9) if encoder.name in toys.ROWS else other
        assert other != cls.presets[encoder.name]
        monkeypatch.setattr(cls, "presets", {**cls.presets, encoder.name: other})
    loaded = em.from_pretrained(folder)
    assert_same(loaded(**inputs, present=flags), model(**inputs, present=flags), rtol=0, atol=0)
    again = loaded.save_pretrained(tmp_path / "again")
    written = [json.loads((place / "config.json").read_text()) for place in (folder, again)]
    assert written[0]["config"] == written[1]["config"]
    built = type(model)(loaded.config)
    assert [built.encoder(m).config for m in model.modalities] == [model.encoder(m).config for m in model.modalities]


@over_systems
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(0)
    model = em.create_model(name, **toys.shallow(name, modality_drop_rate=0.5))
    model.load_state_dict(pristine(name).state_dict())
    model.train()
    for _ in range(2):
        inputs, flags = mixed(model)
        for there in (flags, None):
            output = model(**inputs, present=there)
            parts = (output.logits, output.embedding, *output.embeddings.values())
            sum((part * torch.randn_like(part)).sum() for part in parts).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent and all(torch.isfinite(p.grad).all() for p in model.parameters())
    groups = model.parameter_groups()
    assert list(groups) == [*(f"{m}_encoder" for m in model.modalities), "rest"]
    assert sorted(id(p) for g in groups.values() for p in g) == sorted(id(p) for p in model.parameters())
    for m in model.modalities:
        assert {id(p) for p in groups[f"{m}_encoder"]} == {id(p) for p in model.encoder(m).parameters()}


@over_systems
def test_the_loss_is_the_model_s_own(name):
    model = build(name).train()
    classes = model.config.num_classes
    inputs = draw(model, 4)
    loss = model.make_loss([3] * classes, **model.loss_config_class().to_dict())
    total = loss(model(**inputs), torch.arange(4) % classes).total
    total.backward()
    assert total.shape == () and torch.isfinite(total)
    with pytest.raises(ConfigError, match="gamam"):
        model.make_loss(gamam=1.0)


@over_systems
def test_modality_dropout_leaves_each_sample_one(name):
    model = em.create_model(name, **toys.shallow(name, modality_drop_rate=0.9)).train()
    given = model.given(draw(model, 64), None, None)
    hidden = model.hide(given)
    if len(model.modalities) == 1:
        assert hidden is None  # there is nothing else to answer by
        return
    there = torch.stack(list(hidden.values()))
    assert there.any(0).all() and (~there).any(1).all()
    only = {m: torch.full((64,), m == model.modalities[0]) for m in model.modalities}
    kept = model.hide(model.given(draw(model, 64), only, None))
    assert all(torch.equal(kept[m], only[m]) for m in only)
    some = dict(list(draw(model, 64).items())[:-1])  # without the last modality the others are hidden still
    fewer = model.hide(model.given({**dict.fromkeys(model.modalities), **some}, None, None))
    assert all((~fewer[m]).any() == (len(some) > 1) for m in some)
    assert torch.stack(list(fewer.values())).any(0).all()
    assert model.eval().hide(given) is None


@over_systems
def test_each_encoder_can_be_another_registered_one(name, tmp_path):
    count = 0
    spec = registry.model_class(name).presets[name]
    for modality in spec.modalities:
        for other, row in {**registry.MODELS, **toys.ROWS}.items():
            if row.kind != "backbone" or (other not in toys.ROWS and other not in toys.smallest("backbone")):
                continue
            changed = {"encoders": {modality: {"name": other, "config": toys.shallow(other)}}}
            (kind,) = row.takes
            if pristine(name).encoder_shape(modality, kind) is None:
                with pytest.raises(ConfigError, match=rf"encoders\.{modality}\.name: expected a backbone whose input"):
                    em.create_model(name, **changed)
                continue
            model = em.create_model(name, **changed).eval()
            assert type(model.encoder(modality)) is registry.model_class(other) and KINDS[kind]
            assert model(**draw(model, 2)).logits.shape == (2, model.config.num_classes)
            count += 1
    assert count >= len(spec.modalities)


@over_systems
def test_a_bare_backbone_enters_a_system(name, tmp_path):
    model = build(name)
    for modality in model.modalities:
        encoder = model.encoder(modality)
        torch.manual_seed(9)
        bare = type(encoder)(encoder.config.replace(num_classes=7))
        folder = bare.save_pretrained(tmp_path / modality)
        inputs = draw(model, 2)
        before = model(**inputs).logits
        assert model.load_encoder(modality, folder) == len(encoder.state_dict())
        assert all(torch.equal(v, bare.state_dict()[k]) for k, v in encoder.state_dict().items())
        assert not torch.equal(model(**inputs).logits, before)
    other = em.create_model(name, **toys.shallow(name))
    whole = model.save_pretrained(tmp_path / "system")
    for modality in model.modalities:
        other.load_encoder(modality, whole)
        for k, v in other.encoder(modality).state_dict().items():
            assert torch.equal(v, model.encoder(modality).state_dict()[k])


def test_features_of_eeg_are_no_channels_to_interpolate():
    model = build("toy_three")
    assert model.input_spec.shape("eeg") == (1, 2, 3)
    with pytest.raises(ConfigError, match="ch_names: this ToyThree takes no EEG signals"):
        model.adapt_montage(("Fz", "Cz"))
