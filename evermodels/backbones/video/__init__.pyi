from .frame_encoder import FrameEncoder as FrameEncoder, FrameEncoderConfig as FrameEncoderConfig
from .videomae import VideoMAE as VideoMAE, VideoMAEConfig as VideoMAEConfig
