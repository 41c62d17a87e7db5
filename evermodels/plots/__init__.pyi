from .adjacency import plot_adjacency as plot_adjacency
from .frames import plot_frames as plot_frames
from .head import (
    channel_shares as channel_shares,
    describe_region_share as describe_region_share,
    plot_region_attention as plot_region_attention,
)
from .pictures import plot_result as plot_result
from .probabilities import plot_modality_attention as plot_modality_attention, plot_probabilities as plot_probabilities
from .regions import plot_region_shares as plot_region_shares
from .spectrogram import plot_features as plot_features, plot_spectrogram as plot_spectrogram, stitch as stitch
from .style import CLASS_COLOURS as CLASS_COLOURS, Theme as Theme
from .time import plot_time_attention as plot_time_attention
from .traces import plot_traces as plot_traces
