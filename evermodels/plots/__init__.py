"""Pictures of what a model read and what it looked at, drawn on matplotlib figures without global state.

Every function makes a ``matplotlib.figure.Figure`` of its own and returns it, or draws into ``axes`` that the caller
brings and returns their figure. Colours: Okabe and Ito's palette for classes and regions, viridis for
amounts, PuOr around zero for signed values; all of them can be told apart by people with colour blindness. ``theme``
is ``"light"`` or ``"dark"``.
"""

from evermodels.plots.adjacency import plot_adjacency
from evermodels.plots.frames import plot_frames
from evermodels.plots.head import channel_shares, describe_region_share, plot_region_attention
from evermodels.plots.pictures import plot_result
from evermodels.plots.probabilities import plot_modality_attention, plot_probabilities
from evermodels.plots.regions import plot_region_shares
from evermodels.plots.spectrogram import plot_features, plot_spectrogram, stitch
from evermodels.plots.style import CLASS_COLOURS, Theme
from evermodels.plots.time import plot_time_attention
from evermodels.plots.traces import plot_traces

__all__ = [
    "CLASS_COLOURS",
    "Theme",
    "channel_shares",
    "describe_region_share",
    "plot_adjacency",
    "plot_features",
    "plot_frames",
    "plot_modality_attention",
    "plot_probabilities",
    "plot_region_attention",
    "plot_region_shares",
    "plot_result",
    "plot_spectrogram",
    "plot_time_attention",
    "plot_traces",
    "stitch",
]
