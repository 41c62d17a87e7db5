from .attention_maps import attention_maps as attention_maps
from .bih_gcn import BIHGCN as BIHGCN, BIHGCNOutput as BIHGCNOutput
from .cross_attention import CrossAttention as CrossAttention
from .cross_attention_block import CrossAttentionBlock as CrossAttentionBlock
from .cross_modal_attention import CrossModalAttention as CrossModalAttention
from .differential_entropy import DifferentialEntropy as DifferentialEntropy
from .feature_norm import FeatureNorm as FeatureNorm
from .interlinked_attention import (
    InterlinkedOutput as InterlinkedOutput,
    InterlinkedSpatioTemporalAttention as InterlinkedSpatioTemporalAttention,
)
from .mamba import MambaBlock as MambaBlock
from .montage_adapter import MontageAdapter as MontageAdapter
from .multi_level_score_fusion import (
    FlattenProjection as FlattenProjection,
    MultiLevelScoreFusion as MultiLevelScoreFusion,
    MultiLevelScoreFusionOutput as MultiLevelScoreFusionOutput,
)
from .random_augmentation import RandomAugmentation as RandomAugmentation
from .residual_attention import ResidualAttention as ResidualAttention, WeighingAttention as WeighingAttention
from .residual_tcn import ResidualTCN as ResidualTCN
from .self_attention import SelfAttention as SelfAttention
from .shared_attention_fusion import (
    SharedAttentionFusion as SharedAttentionFusion,
    SharedAttentionOutput as SharedAttentionOutput,
)
from .spectrogram_front_end import SpectrogramFrontEnd as SpectrogramFrontEnd
from .spectrogram_norm import SpectrogramNorm as SpectrogramNorm
from .squared_change import SquaredChange as SquaredChange
from .stft_spectrogram import STFTSpectrogram as STFTSpectrogram
from .token_compressor import TokenCompressor as TokenCompressor
from .top_k_mil import TopKAMIL as TopKAMIL, TopKAMILOutput as TopKAMILOutput
from .transformer_block import TransformerBlock as TransformerBlock
