from .audio.ast import AST as AST, ASTConfig as ASTConfig
from .audio.vggish import VGGish as VGGish, VGGishConfig as VGGishConfig
from .audiovisual.spectrogram_vit import SpectrogramViT as SpectrogramViT, SpectrogramViTConfig as SpectrogramViTConfig
from .audiovisual.tvlt_patches import (
    FramePatches as FramePatches,
    FramePatchesConfig as FramePatchesConfig,
    SpectrogramPatches as SpectrogramPatches,
    SpectrogramPatchesConfig as SpectrogramPatchesConfig,
)
from .base import Backbone as Backbone
from .eeg.audio_mamba import AudioMamba as AudioMamba, AudioMambaConfig as AudioMambaConfig
from .eeg.band_conformer import BandConformer as BandConformer, BandConformerConfig as BandConformerConfig
from .eeg.channel_mlp import (
    ChannelMLP as ChannelMLP,
    ChannelMLPConfig as ChannelMLPConfig,
    SpectrogramChannelMLP as SpectrogramChannelMLP,
)
from .eeg.crossformer import Crossformer as Crossformer, CrossformerConfig as CrossformerConfig
from .eeg.dgcnn import DGCNN as DGCNN, DGCNNConfig as DGCNNConfig
from .eeg.eegformer import EEGformer as EEGformer, EEGformerConfig as EEGformerConfig
from .eeg.eegnet import EEGNet as EEGNet, EEGNetConfig as EEGNetConfig
from .eeg.itransformer import ITransformer as ITransformer, ITransformerConfig as ITransformerConfig
from .eeg.mbsm import MBSMConfig as MBSMConfig, MBSMEncoder as MBSMEncoder
from .eeg.mbsm_autoencoder import (
    MBSMAutoencoder as MBSMAutoencoder,
    MBSMPretrainingConfig as MBSMPretrainingConfig,
)
from .eeg.medformer import Medformer as Medformer, MedformerConfig as MedformerConfig
from .eeg.patchtst import PatchTST as PatchTST, PatchTSTConfig as PatchTSTConfig
from .eeg.rgnn import RGNN as RGNN, RGNNConfig as RGNNConfig
from .eeg.sognn import SOGNN as SOGNN, BFENet as BFENet, BFENetConfig as BFENetConfig, SOGNNConfig as SOGNNConfig
from .eeg.spd_net import SPDNet as SPDNet, SPDNetConfig as SPDNetConfig
from .eye.eye_transformer import EyeTransformer as EyeTransformer, EyeTransformerConfig as EyeTransformerConfig
from .video.frame_encoder import FrameEncoder as FrameEncoder, FrameEncoderConfig as FrameEncoderConfig
from .video.masked_video import (
    MaskedVideoAutoencoder as MaskedVideoAutoencoder,
    MaskedVideoConfig as MaskedVideoConfig,
)
from .video.timesformer import TimeSformer as TimeSformer, TimeSformerConfig as TimeSformerConfig
from .video.video_swin import VideoSwin as VideoSwin, VideoSwinConfig as VideoSwinConfig
from .video.videomae import VideoMAE as VideoMAE, VideoMAEConfig as VideoMAEConfig
from .video.vivit import ViViT as ViViT, ViViTConfig as ViViTConfig
