from .frame_encoder import FrameEncoder as FrameEncoder, FrameEncoderConfig as FrameEncoderConfig
from .masked_video import (
    MaskedVideoAutoencoder as MaskedVideoAutoencoder,
    MaskedVideoConfig as MaskedVideoConfig,
)
from .timesformer import TimeSformer as TimeSformer, TimeSformerConfig as TimeSformerConfig
from .video_swin import VideoSwin as VideoSwin, VideoSwinConfig as VideoSwinConfig
from .videomae import VideoMAE as VideoMAE, VideoMAEConfig as VideoMAEConfig
from .vivit import ViViT as ViViT, ViViTConfig as ViViTConfig
