"""Which test proves each foreign layout by numbers: random weights in it convert and give equal outputs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from evermodels.core import registry

TESTS = Path(__file__).resolve().parent.parent
PROOFS = {
    ("AST", "original"): "backbones/test_ast_foreign.py::test_file_of_the_authors_and_another_length",
    ("AST", "transformers"): "backbones/test_ast_foreign.py::test_classifier_of_transformers",
    ("AudioMamba", "original"): "backbones/test_audio_mamba_foreign.py::test_the_reference_s_numbers",
    ("Crossformer", "original"): "backbones/test_crossformer.py::test_the_authors_numbers",
    ("Crossformer", "time_series_library"): "backbones/test_crossformer.py::test_the_library_s_numbers",
    (
        "FrameEncoder",
        "original_swin",
    ): "backbones/test_frame_encoder.py::test_the_authors_swin_merges_at_the_end_of_a_stage",
    ("FrameEncoder", "timm_swin"): "backbones/test_frame_encoder.py::test_weights_of_timm",
    ("FrameEncoder", "timm_vit"): "backbones/test_frame_encoder.py::test_weights_of_timm",
    ("FrameEncoder", "transformers_swin"): "backbones/test_frame_encoder.py::test_weights_of_transformers",
    ("FrameEncoder", "transformers_vit"): "backbones/test_frame_encoder.py::test_weights_of_transformers",
    ("HiCMAE", "original"): "models/test_hicmae.py::test_converted_to_eeg_and_refused_where_it_is_another_model",
    ("HiCMAEAudio", "original"): "models/test_hicmae.py::test_golden",
    ("ITransformer", "time_series_library"): "backbones/test_itransformer.py::test_the_library_s_numbers",
    ("MBSMEncoder", "original"): "backbones/test_mbsm.py::test_converted_from_the_repository_s_file",
    ("Medformer", "original"): "backbones/test_medformer.py::test_the_authors_numbers",
    ("PatchTST", "time_series_library"): "backbones/test_patchtst.py::test_the_library_s_numbers",
    ("PatchTST", "transformers"): "backbones/test_patchtst.py::test_transformers_numbers",
    ("TVLT", "original"): "models/test_tvlt.py::test_converted_to_another_size_to_eeg_and_not_from_a_neighbour",
    ("TVLT", "transformers"): "models/test_tvlt.py::TestTransformers.test_with_eeg_in_sound_s_place",
    ("TVLTAudio", "original"): "models/test_tvlt.py::test_golden",
    ("TVLTAudio", "transformers"): "models/test_tvlt.py::TestTransformers.test_its_numbers",
    ("TimeSformer", "original"): "backbones/test_timesformer.py::TestConvert.test_the_authors",
    ("TimeSformer", "transformers"): "backbones/test_timesformer.py::TestConvert.test_transformers",
    ("VGGish", "torchvggish"): "backbones/test_vggish.py::test_released_weights_come_in",
    ("ViViT", "transformers"): "backbones/test_vivit.py::TestTransformers.test_the_classifier",
    ("VideoMAE", "original"): "backbones/test_videomae_foreign.py::test_fine_tuned_file_of_the_authors",
    ("VideoMAE", "transformers"): "backbones/test_videomae_foreign.py::test_classifier_of_transformers",
    ("VideoSwin", "original"): "backbones/test_video_swin.py::TestConvert.test_the_authors",
    ("VideoSwin", "torchvision"): "backbones/test_video_swin.py::TestTorchvision.test_any_size",
}


def functions(path: Path) -> set[str]:
    """Names of the tests of a file, those of a class behind its name."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def test_each_layout_has_its_proof():
    classes = {registry.model_class(name) for name in registry.MODELS}
    assert set(PROOFS) == {(cls.__name__, layout.name) for cls in classes for layout in cls.foreign_formats}


@pytest.mark.parametrize("proof", sorted(set(PROOFS.values())))
def test_the_proof_is_there(proof):
    path, _, name = proof.partition("::")
    assert name in functions(TESTS / path)
