"""iTransformer: a token for each channel's whole window, attention among channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from evermodels.backbones.eeg.itransformer_foreign import FORMATS
from evermodels.backbones.eeg.series import SeriesBlock, SeriesConfig, SeriesEncoder


@dataclass(frozen=True)
class ITransformerConfig(SeriesConfig):
    """Configuration of :class:`ITransformer`.

    Args:
        in_chans: EEG channels C.
        num_samples: Samples of a window T.
        num_classes: Classes of the head; 0 for the embedding.
        embed_dim: Width D of the tokens, a multiple of ``num_heads``.
        depth: Number of blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLPs over ``embed_dim``.
        scale: How µV become numbers around 1: ``"channel"``, ``"window"`` or ``"none"``. The reference's classifier
            has none and takes data that are standardised; its forecaster has ``"channel"``.
        scale_eps: Added to the variance that is divided by.
        pool: ``"flatten"``, the channels' tokens one behind the other (the reference); ``"channels"`` is the same here;
            ``"mean"``, over channels, for which any number of channels has the same weights.
        norm_eps: Epsilon of the norms.
        drop_rate: Dropout of the tokens and of the outputs of attention and MLP.
        attn_drop_rate: Dropout of the attention weights.
        head_drop_rate: Dropout before the head.

    Example:
        >>> ITransformerConfig(embed_dim=100)
        Traceback (most recent call last):
            ...
        evermodels.core.errors.ConfigError: ITransformerConfig.embed_dim: expected a multiple of num_heads (8), got 100.
    """

    def check(self) -> None:
        """Refuse windows of more tokens than any machine holds, too."""
        super().check()
        self.check_tokens(self.in_chans, "in_chans")


class ITransformer(SeriesEncoder):
    r"""iTransformer: the inverted embedding, a token for each channel.

    Source: Liu et al., *iTransformer: Inverted Transformers Are Effective for Time Series Forecasting*, ICLR 2024,
    section 3; the classifier is that of Time-Series-Library (thuml), whose numbers it equals. The T samples of a
    channel become one token, and attention mixes channels, not moments:

    .. math::
        h_c = W_e\, x_c + b_e, \quad H' = \mathrm{LN}(H + \mathrm{MSA}(H)), \quad
        H'' = \mathrm{LN}(H' + \mathrm{MLP}(H')), \quad
        \text{logits} = W\, \mathrm{flatten}(\mathrm{GELU}(\mathrm{LN}(H'')))

    No position is added, so the tokens follow whatever order the channels come in; a channel is known by its place in
    the head alone. The width of the embedding's weights is the window, so another window needs another training.

    Args:
        config: An :class:`ITransformerConfig`.

    Raises:
        ConfigError: If ``config`` is something else.

    Example:
        >>> import torch
        >>> model = ITransformer.from_preset("itransformer_tiny", num_classes=2).eval()
        >>> eeg = 20 * torch.randn(3, 19, 1000)  # µV
        >>> model(eeg).shape, model.forward_features(eeg).shape
        (torch.Size([3, 2]), torch.Size([3, 19, 128]))
        >>> from evermodels.layers import attention_maps
        >>> attention_maps(model, eeg)["blocks.0.attn"].shape  # who reads whom, by head
        torch.Size([3, 8, 19, 19])
    """

    config_class = ITransformerConfig
    foreign_formats = FORMATS
    presets: ClassVar[Mapping[str, ITransformerConfig]] = {
        "itransformer_tiny": ITransformerConfig(scale="window", drop_rate=0.1),
        "itransformer_small": ITransformerConfig(in_chans=30, depth=6, drop_rate=0.1),
        "itransformer_base": ITransformerConfig(in_chans=30, embed_dim=512, mlp_ratio=1.0, drop_rate=0.1),
    }

    def __init__(self, config: ITransformerConfig) -> None:
        super().__init__(config)
        c = config
        self.activation = nn.GELU()
        self.embed = nn.Linear(c.num_samples, c.embed_dim)
        self.embed_drop = nn.Dropout(c.drop_rate)
        self.blocks = nn.ModuleList(SeriesBlock(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.embed_dim, eps=c.norm_eps)

    @property
    def token_grid(self) -> tuple[int, int]:
        """Channels, and the one token of each."""
        return self.config.in_chans, 1

    def forward_features(self, x: Tensor) -> Tensor:
        """Return a token for each channel, behind the last norm.

        Args:
            x: EEG in µV, ``(batch, channels, time)``.

        Returns:
            ``(batch, channels, embed_dim)``.

        Raises:
            ShapeError: If it has other axes than the configuration says.
        """
        tokens = self.embed_drop(self.embed(self.checked(x)))
        return self.norm(self.through(self.blocks, tokens))
