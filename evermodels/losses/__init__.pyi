from .alignment import (
    CoralLoss as CoralLoss,
    CorrelationAlignmentLoss as CorrelationAlignmentLoss,
    DeepCCALoss as DeepCCALoss,
    MMDLoss as MMDLoss,
)
from .classification import ClassBalancedCrossEntropy as ClassBalancedCrossEntropy, FocalLoss as FocalLoss
from .emotion import EmotionLoss as EmotionLoss, EmotionLossOutput as EmotionLossOutput
from .gathering import gathered as gathered
from .mercl import MERCLLoss as MERCLLoss, MERCLLossOutput as MERCLLossOutput
