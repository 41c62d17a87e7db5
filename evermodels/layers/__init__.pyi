from .bih_gcn import BIHGCN as BIHGCN, BIHGCNOutput as BIHGCNOutput
from .differential_entropy import DifferentialEntropy as DifferentialEntropy
from .mamba import MambaBlock as MambaBlock
from .montage_adapter import MontageAdapter as MontageAdapter
from .self_attention import SelfAttention as SelfAttention
from .spectrogram_front_end import SpectrogramFrontEnd as SpectrogramFrontEnd
from .spectrogram_norm import SpectrogramNorm as SpectrogramNorm
from .squared_change import SquaredChange as SquaredChange
from .stft_spectrogram import STFTSpectrogram as STFTSpectrogram
from .transformer_block import TransformerBlock as TransformerBlock
