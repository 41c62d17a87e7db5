"""Pictures of what a model read and what it looked at, drawn on matplotlib figures without global state.

Every function makes a ``matplotlib.figure.Figure`` of its own and returns it, or draws into ``axes`` that the caller
brings and returns their figure. Colours: Okabe and Ito's palette for classes and regions, viridis and cividis for
amounts, PuOr around zero for signed values; all of them can be told apart by people with colour blindness. ``theme``
is ``"light"`` or ``"dark"``.
"""

from evermodels.plots.attention import channel_shares, describe_region_share, plot_region_attention
from evermodels.plots.graph import plot_adjacency
from evermodels.plots.inputs import plot_frames, plot_spectrogram, stitch
from evermodels.plots.probabilities import plot_probabilities
from evermodels.plots.style import CLASS_COLOURS, Theme

__all__ = [
    "CLASS_COLOURS",
    "Theme",
    "channel_shares",
    "describe_region_share",
    "plot_adjacency",
    "plot_frames",
    "plot_probabilities",
    "plot_region_attention",
    "plot_spectrogram",
    "stitch",
]
