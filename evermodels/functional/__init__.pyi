from .alignment import (
    canonical_correlation as canonical_correlation,
    coral as coral,
    correlation_alignment as correlation_alignment,
    mmd as mmd,
)
from .classification import class_balanced_weights as class_balanced_weights, focal_loss as focal_loss
from .contrastive import (
    inter_modal_contrastive as inter_modal_contrastive,
    intra_modal_contrastive as intra_modal_contrastive,
    sample_alignment as sample_alignment,
)
from .differential_entropy import band_power as band_power, differential_entropy as differential_entropy
from .graph import (
    cosine_adjacency as cosine_adjacency,
    region_attention_pool as region_attention_pool,
    symmetric_normalize as symmetric_normalize,
)
from .log_mel import log_mel_spectrogram as log_mel_spectrogram
from .matrix_log import matrix_log as matrix_log, upper_triangle as upper_triangle
from .multiple_instance import attention_mil_weights as attention_mil_weights, top_k_instances as top_k_instances
from .scan import selective_scan as selective_scan
from .score_fusion import score_weighted_sum as score_weighted_sum
from .spectrogram import log_spectrogram as log_spectrogram
from .spherical_harmonics import real_spherical_harmonics as real_spherical_harmonics
