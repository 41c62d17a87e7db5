from .videomae import VideoMAE as VideoMAE, VideoMAEConfig as VideoMAEConfig
