from .ever import EVER as EVER, EVERConfig as EVERConfig, EVERLossConfig as EVERLossConfig
from .hicmae import HiCMAE as HiCMAE, HiCMAEAudio as HiCMAEAudio, HiCMAEConfig as HiCMAEConfig
from .mbsm import MBSMAutoencoder as MBSMAutoencoder, MBSMEncoder as MBSMEncoder
from .mercl import MERCL as MERCL, MERCLConfig as MERCLConfig, MERCLLossConfig as MERCLLossConfig
from .milmer import (
    Milmer as Milmer,
    MilmerConfig as MilmerConfig,
    MilmerLossConfig as MilmerLossConfig,
    SpectrogramConfig as SpectrogramConfig,
)
from .mood_reader import (
    MoodReader as MoodReader,
    MoodReaderConfig as MoodReaderConfig,
    MoodReaderLossConfig as MoodReaderLossConfig,
)
from .single_encoder import (
    SingleAudio as SingleAudio,
    SingleEEG as SingleEEG,
    SingleEncoder as SingleEncoder,
    SingleEncoderConfig as SingleEncoderConfig,
    SingleEncoderLossConfig as SingleEncoderLossConfig,
    SingleEye as SingleEye,
    SingleVideo as SingleVideo,
)
from .spectrogram_pair import SpectrogramPairLossConfig as SpectrogramPairLossConfig
from .system import System as System
from .system_config import EncoderConfig as EncoderConfig, SystemConfig as SystemConfig
from .trimodal import (
    TrimodalFusion as TrimodalFusion,
    TrimodalFusionConfig as TrimodalFusionConfig,
    TrimodalLossConfig as TrimodalLossConfig,
)
from .tvlt import TVLT as TVLT, TVLTAudio as TVLTAudio, TVLTConfig as TVLTConfig
