from . import (
    backbones as backbones,
    datasets as datasets,
    functional as functional,
    interop as interop,
    layers as layers,
    losses as losses,
    models as models,
    montage as montage,
    plots as plots,
    samples as samples,
    signals as signals,
    training as training,
)
from ._version import __version__ as __version__
from .checkpoints.load import from_pretrained as from_pretrained
from .recognizer import Recognizer as Recognizer
from .zoo import create_model as create_model, list_models as list_models
