from .frame_encoder import FrameEncoder as FrameEncoder, FrameEncoderConfig as FrameEncoderConfig
from .timesformer import TimeSformer as TimeSformer, TimeSformerConfig as TimeSformerConfig
from .videomae import VideoMAE as VideoMAE, VideoMAEConfig as VideoMAEConfig
from .vivit import ViViT as ViViT, ViViTConfig as ViViTConfig
