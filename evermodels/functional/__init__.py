"""The papers' equations as pure tensor functions: no parameters, no input or output."""

from evermodels.functional.alignment import coral, correlation_alignment, mmd
from evermodels.functional.classification import class_balanced_weights, focal_loss
from evermodels.functional.differential_entropy import band_power, differential_entropy
from evermodels.functional.graph import cosine_adjacency, region_attention_pool, symmetric_normalize
from evermodels.functional.log_mel import log_mel_spectrogram
from evermodels.functional.scan import selective_scan
from evermodels.functional.spectrogram import log_spectrogram

__all__ = [
    "band_power",
    "class_balanced_weights",
    "coral",
    "correlation_alignment",
    "cosine_adjacency",
    "differential_entropy",
    "focal_loss",
    "log_mel_spectrogram",
    "log_spectrogram",
    "mmd",
    "region_attention_pool",
    "selective_scan",
    "symmetric_normalize",
]
