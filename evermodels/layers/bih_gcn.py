"""Brain anatomy-aware inter-modal hierarchical graph convolution, the fusion of EVER."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evermodels.core.config import check_num_classes
from evermodels.core.errors import ConfigError, ShapeError, check_axes, did_you_mean
from evermodels.core.outputs import EmotionOutput
from evermodels.core.presence import presence
from evermodels.functional._graph import cosines, node_shares, normalized, pooled
from evermodels.layers._brain_graphs import channel_data, region_data
from evermodels.layers.graph_convolution import GraphConvolution

if TYPE_CHECKING:
    from torch_geometric.data import Data

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
_READOUTS = ("global", "with_regions")


@dataclass
class BIHGCNOutput:
    """Output of :class:`BIHGCN`; a registered pytree.

    Args:
        logits: Fused class scores, eq. 14, ``(batch, num_classes)``.
        embedding: What stage 2's weight reads, fused as eq. 14 fuses the logits, ``(batch, dim)``: by linearity the
            logits are its product with that weight.
        node_logits: Every node of stage 2 after its graph convolution, eq. 13, ``(batch, 2 + regions, num_classes)``:
            EEG, video, then the regions.
        channel_attention: Weight of each channel within its region, eq. 10, ``(batch, channels)``; 0 for channels
            without region and for samples without EEG.
        region_embeddings: Pooled regions, eq. 10, ``(batch, regions, dim)``; the learned token for samples without EEG.
        adjacency_local: Normalised adjacency of stage 1, eq. 8, ``(batch, channels, channels)``.
        adjacency_region: Normalised adjacency of stage 2, ``(batch, 2 + regions, 2 + regions)``.
        node_shares: How much of what reaches the logits came through each node of stage 2, ``(batch, 2 + regions)``,
            EEG, video, then the regions; sums to 1, without gradient. See :class:`BIHGCN`.
        omega: Weight of EEG in eq. 14, ``(batch,)``; 0 or 1 for samples that lack a modality.

    Example:
        >>> import torch
        >>> fusion = BIHGCN(4, 8, num_classes=2, regions={"frontal": [0, 1]})
        >>> output = fusion(torch.rand(1, 2, 2, 2), torch.rand(1, 8), torch.rand(1, 8))
        >>> round(float(output.channel_attention.sum()), 4), output.region_embeddings.shape
        (1.0, torch.Size([1, 1, 8]))
    """

    logits: Tensor
    embedding: Tensor
    node_logits: Tensor
    channel_attention: Tensor
    region_embeddings: Tensor
    adjacency_local: Tensor
    adjacency_region: Tensor
    node_shares: Tensor
    omega: Tensor


torch.export.register_dataclass(BIHGCNOutput, serialized_type_name="evermodels.BIHGCNOutput")


def _check_regions(regions: Mapping[str, Sequence[int]], in_chans: int | None) -> dict[str, tuple[int, ...]]:
    if not isinstance(regions, Mapping) or not regions:
        raise ConfigError(
            f"regions: expected {{name: [channel index, ...]}} with at least one region, got {regions!r}. "
            f"evermodels.montage.regions(ch_names) makes it from channel names."
        )
    owner: dict[int, str] = {}
    for name, channels in regions.items():
        if len(channels) == 0:
            raise ConfigError(f"regions: region {name!r} has no channels. Leave it out, or give its channels.")
        for channel in channels:
            if isinstance(channel, bool) or not isinstance(channel, int) or channel < 0:
                raise ConfigError(f"regions: region {name!r} has {channel!r}; expected channel indices of at least 0.")
            if in_chans is not None and channel >= in_chans:
                raise ConfigError(
                    f"regions: region {name!r} has channel {channel}; in_chans={in_chans} allows 0 to {in_chans - 1}."
                )
            if channel in owner:
                raise ConfigError(
                    f"regions: channel {channel} is in {owner[channel]!r} and in {name!r}. A channel has one region."
                )
            owner[channel] = name
    return {str(name): tuple(channels) for name, channels in regions.items()}


class BIHGCN(nn.Module):
    r"""Fuse EEG channels, brain regions and the embeddings of EEG and video through two graph convolutions.

    EVER, section 3.2, eq. 5-14. Stage 1, over channels:

    .. math::
        &H = \mathrm{proj}(\mathrm{flatten}(\tilde E)) & (5) \\
        &\tilde A_{ij} = \cos(h_i, h_j) \, M^{local}_{ij}, \quad M^{local}_{ij} = [\text{same region}] & (6, 7) \\
        &\hat A = D^{-1/2} \tilde A D^{-1/2}, \quad H^{local} = \mathrm{ReLU}(\hat A H W_1 + b_1) & (8, 9) \\
        &\alpha_i = \mathrm{softmax}_{i \in C_r}(w^\top h^{local}_i), \quad
          z_r = \textstyle\sum_{i \in C_r} \alpha_i h^{local}_i & (10)

    Stage 2, over the two modalities and the regions:

    .. math::
        &H^{region} = [z_e, z_v, z_{r_1}, \dots, z_{r_K}] & (11) \\
        &\hat A^{region} \text{ from cosines under the mask } M^{region} \text{, as (6) and (8)} & (12) \\
        &\hat H = \hat A^{region} H^{region} W_2 + b_2, \quad
          z_{fused} = \omega \hat h_e + (1 - \omega) \hat h_v & (13, 14)

    Choices where the paper is silent or ambiguous: the degree is :math:`\sum_j |A_{ij}|` (a cosine can be negative);
    both graphs are symmetric with self loops, although eq. 12 as printed has none and is one-directional (without them
    :math:`\hat h_e` holds nothing of :math:`z_e`); ReLU and a bias in stage 1, a bias alone in stage 2; one :math:`w`
    for all regions; :math:`\omega` is the sigmoid of a scalar and starts at 0.5. Channels without a region stay out of
    the graph. A sample without EEG gets learned tokens for :math:`z_e` and every region, one without video a token for
    :math:`z_v`, and :math:`\omega` becomes 0 or 1.

    What came through which node: (13) and (14) are linear in the nodes given the graph, so that the logits are a sum
    over nodes n and a bias, and the share of a node is the size of its term,

    .. math::
        z_{fused} = b_2 + \sum_n c_n, \quad
        c_n = (\omega \hat A_{e,n} + (1 - \omega) \hat A_{v,n}) \, h_n W_2, \quad
        s_n = \frac{\lVert c_n - \bar c_n \rVert}{\sum_m \lVert c_m - \bar c_m \rVert}

    with :math:`\bar c_n` the mean over the classes, which no decision sees. That a node also changes the other nodes'
    degrees in (8) is not counted. With ``global_layers=2`` the hidden nodes' activation is held at its slope from 0,
    :math:`\mathrm{act}(x) / x`, which is exact for ReLU.

    As printed, stage 2 has one layer and only its two global nodes are read. An edge between two regions therefore
    reaches the logits through the degrees alone, and ``region_edges=False`` (Table 4) changes next to nothing by
    construction; ``global_layers`` and ``readout`` are our extensions that let the regions say more.

    Args:
        in_features: Values of one channel's spectrogram, ``F * T``.
        dim: Width of the nodes, ``d``; that of ``z_eeg`` and ``z_video``.
        num_classes: Number of classes ``L``; 0 for the fused embedding alone: stage 2 without weight and bias.
        regions: Channel indices by region name, for example from ``montage.regions``; a channel has at most one region.
        self_loops: Whether channels (stage 1) and nodes (stage 2) are their own neighbours.
        local_mask: Whether only channels of the same region are joined; ``False`` joins all that have a region
            (Table 4, "w/o stage 1").
        region_edges: Whether regions are joined with each other (Table 4, "w/o stage 2" drops it).
        directed: Whether the mask of eq. 12 holds only in the direction in which it is printed: :math:`\hat h_e` takes
            from video and regions, :math:`\hat h_v` from regions, regions from other regions; degrees are those of
            the rows. With ``self_loops=(True, False)`` it is the literal reading, in which :math:`z_e` reaches the
            logits through cosines alone, and a lone region (or ``region_edges=False``) has degree 0 and sends nothing.
        readout: ``"global"`` (eq. 14) or ``"with_regions"``, not in the paper:
            :math:`(1 - \rho) z_{fused} + \rho \frac1K \sum_k \hat h_{r_k}`, ρ the sigmoid of a scalar that starts
            at 0.5, and 0 for a sample without EEG.
        global_layers: Graph convolutions of stage 2: 1 as printed, or 2, not in the paper: one of width ``dim`` with
            the activation of stage 1 before that of eq. 13, over the same graph.
        activation: Of stage 1, and of stage 2's first of two layers: ``"relu"``, ``"gelu"``, ``"elu"``, ``"tanh"`` or
            ``"identity"``.
        in_chans: Number of channels of the spectrogram (default: any number that holds the regions' indices).

    Raises:
        ConfigError: If a value cannot be used: a region without channels, a channel out of range or in two regions.

    Example:
        >>> import torch
        >>> from evermodels.layers import BIHGCN
        >>> fusion = BIHGCN(16 * 8, 32, num_classes=4, regions={"frontal": [0, 1], "occipital": [2]})
        >>> output = fusion(torch.rand(2, 3, 16, 8), torch.rand(2, 32), torch.rand(2, 32))
        >>> output.logits.shape, output.adjacency_region.shape
        (torch.Size([2, 4]), torch.Size([2, 4, 4]))
        >>> output.channel_attention[:, 2]  # alone in its region
        tensor([1., 1.], grad_fn=<SelectBackward0>)
    """

    region_index: Tensor
    local_edges: Tensor
    region_edges_mask: Tensor
    global_gcn: GraphConvolution
    rho_logit: nn.Parameter

    def __init__(
        self,
        in_features: int,
        dim: int,
        num_classes: int,
        regions: Mapping[str, Sequence[int]],
        *,
        self_loops: tuple[bool, bool] = (True, True),
        local_mask: bool = True,
        region_edges: bool = True,
        directed: bool = False,
        readout: Literal["global", "with_regions"] = "global",
        global_layers: Literal[1, 2] = 1,
        activation: str = "relu",
        in_chans: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("dim", dim)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name}: expected an integer of at least 1, got {value!r}.")
        check_num_classes(num_classes)
        if len(self_loops) != 2:
            raise ConfigError(f"self_loops: expected (stage 1, stage 2), got {self_loops!r}.")
        if isinstance(global_layers, bool) or global_layers not in (1, 2):
            raise ConfigError(f"global_layers: expected 1 or 2, got {global_layers!r}.")
        for name, chosen, names in (("readout", readout, _READOUTS), ("activation", activation, tuple(_ACTIVATIONS))):
            if chosen not in names:
                raise ConfigError(
                    f"{name}: expected one of {', '.join(names)}, got {chosen!r}.{did_you_mean(chosen, names)}"
                )
        self._regions = _check_regions(regions, in_chans)
        self.in_features, self.dim, self.num_classes = in_features, dim, num_classes
        self.self_loops = (bool(self_loops[0]), bool(self_loops[1]))
        self.local_mask, self.region_edges, self.directed = local_mask, region_edges, directed
        self.readout, self.global_layers = readout, global_layers
        self.in_chans = in_chans
        self.proj = nn.Linear(in_features, dim)
        self.local_gcn = GraphConvolution(dim, dim)
        self.activation = _ACTIVATIONS[activation]()
        self.attention = nn.Linear(dim, 1, bias=False)
        self.region_gcn = GraphConvolution(dim, num_classes) if num_classes else None
        self.omega_logit = nn.Parameter(torch.empty(()))
        self.eeg_token = nn.Parameter(torch.empty(dim))
        self.video_token = nn.Parameter(torch.empty(dim))
        self.region_token = nn.Parameter(torch.empty(dim))
        if global_layers == 2:
            self.global_gcn = GraphConvolution(dim, dim)
        if readout == "with_regions":
            self.rho_logit = nn.Parameter(torch.empty(()))
        self.reset_parameters()
        self._register_masks(None)

    def reset_parameters(self) -> None:
        """Draw all parameters anew; ω (and ρ) start at 0.5."""
        self.proj.reset_parameters()
        self.local_gcn.reset_parameters()
        self.attention.reset_parameters()
        if self.region_gcn is not None:
            self.region_gcn.reset_parameters()
        nn.init.zeros_(self.omega_logit)
        for token in (self.eeg_token, self.video_token, self.region_token):
            nn.init.normal_(token, std=0.02)
        if self.global_layers == 2:
            self.global_gcn.reset_parameters()
        if self.readout == "with_regions":
            nn.init.zeros_(self.rho_logit)

    def reset_buffers(self) -> None:
        """Compute the masks again, on the device of the parameters."""
        self._register_masks(self.omega_logit.device)

    def _register_masks(self, device: torch.device | None) -> None:
        count = len(self._regions)
        width = self.in_chans or 1 + max(max(channels) for channels in self._regions.values())
        rows = [[c in channels for c in range(width)] for channels in self._regions.values()]
        members = torch.tensor(rows, device=device)
        together = members[:, :, None] & members[:, None, :]  # eq. 7, region by region
        graph = members.any(0)
        local = together.any(0) if self.local_mask else graph[:, None] & graph[None, :]
        if not self.self_loops[0]:
            local = local & ~torch.eye(width, dtype=torch.bool, device=device)
        # Eq. 12: the two modalities with each other and with every region, and regions among themselves.
        node = torch.arange(2 + count, device=device)
        between_regions = (node[:, None] >= 2) & (node[None, :] >= 2)
        diagonal = torch.eye(2 + count, dtype=torch.bool, device=device)
        mask = (node[:, None] < node[None, :]) | between_regions if self.directed else ~diagonal
        mask = mask & ~(diagonal if self.region_edges else between_regions)
        if self.self_loops[1]:
            mask = mask | diagonal
        self.register_buffer("region_index", members, persistent=False)
        self.register_buffer("local_edges", local, persistent=False)
        self.register_buffer("region_edges_mask", mask, persistent=False)

    @property
    def regions(self) -> dict[str, list[int]]:
        """Channel indices by region name, in the order of the region nodes."""
        return {name: list(channels) for name, channels in self._regions.items()}

    @property
    def node_names(self) -> tuple[str, ...]:
        """Names of stage 2's nodes: ``"eeg"``, ``"video"``, then the regions."""
        return ("eeg", "video", *self._regions)

    @property
    def omega(self) -> Tensor:
        """Weight of EEG in the fusion, eq. 14, a scalar in (0, 1)."""
        return self.omega_logit.sigmoid()

    def reset_classifier(self, num_classes: int) -> None:
        """Give stage 2 a new weight and bias for other classes; nothing else changes.

        Args:
            num_classes: Number of classes, or 0 for the fused embedding alone.

        Raises:
            ConfigError: If it is negative.
        """
        check_num_classes(num_classes)
        self.num_classes = num_classes
        anchor = self.proj.weight
        new = GraphConvolution(self.dim, num_classes) if num_classes else None
        self.region_gcn = None if new is None else new.to(device=anchor.device, dtype=anchor.dtype)

    def _inputs(self, spectrogram: Tensor | None, z_eeg: Tensor | None, z_video: Tensor | None) -> int:
        if (spectrogram is None) != (z_eeg is None):
            missing, given = ("z_eeg", "spectrogram") if z_eeg is None else ("spectrogram", "z_eeg")
            raise ShapeError(f"{missing}: missing, while {given} is given. EEG takes both, or None for both.")
        first = z_eeg if z_eeg is not None else z_video
        if first is None:
            raise ShapeError("z_eeg, z_video: both are None. Give at least one modality.")
        check_axes("z_eeg" if z_eeg is not None else "z_video", first, "batch dim", dim=self.dim)
        batch = first.shape[0]
        if z_video is not None:
            check_axes("z_video", z_video, "batch dim", batch=batch, dim=self.dim)
        if spectrogram is not None:
            axes = "batch channels frequency time"
            if self.in_chans is None:
                check_axes("spectrogram", spectrogram, axes, batch=batch)
                if spectrogram.shape[1] < self.local_edges.shape[0]:
                    raise ShapeError(
                        f"spectrogram: expected at least channels={self.local_edges.shape[0]} as the regions' highest "
                        f"index needs, got {spectrogram.shape[1]}. Give all channels that the regions were built from."
                    )
            else:
                check_axes("spectrogram", spectrogram, axes, batch=batch, channels=self.in_chans)
            if spectrogram.shape[2] * spectrogram.shape[3] != self.in_features:
                raise ShapeError(
                    f"spectrogram: expected frequency * time = in_features = {self.in_features}, got "
                    f"{spectrogram.shape[2]} * {spectrogram.shape[3]}. Resize it, or build BIHGCN for this size."
                )
        return batch

    def _stage_one(self, spectrogram: Tensor, has_eeg: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Eq. 5-10: region embeddings, channel attention and the normalised adjacency."""
        members, edges = self.region_index, self.local_edges
        extra = spectrogram.shape[1] - members.shape[1]
        if extra:
            members, edges = F.pad(members, (0, extra)), F.pad(edges, (0, extra, 0, extra))
        if has_eeg is not None:
            # What stands in for an absent recording may hold anything, NaN too.
            spectrogram = torch.where(has_eeg[:, None, None, None], spectrogram, 0)
        nodes = self.proj(spectrogram.flatten(2))  # eq. 5
        adjacency = normalized(cosines(nodes, edges))  # eq. 6-8
        if has_eeg is not None:
            adjacency = adjacency * has_eeg[:, None, None]
        local = self.activation(self.local_gcn(nodes, adjacency))  # eq. 9
        scores = self.attention(local).squeeze(-1)
        regions, weights = pooled(local, scores, members)  # eq. 10
        attention = weights.sum(1)
        if has_eeg is not None:
            attention = attention * has_eeg[:, None]
            regions = torch.where(has_eeg[:, None, None], regions, self.region_token.to(regions.dtype))
        return regions, attention, adjacency

    def forward(
        self,
        spectrogram: Tensor | None,
        z_eeg: Tensor | None,
        z_video: Tensor | None,
        present: Mapping[str, Tensor] | None = None,
    ) -> BIHGCNOutput:
        """Fuse a batch.

        Args:
            spectrogram: Log spectrograms, ``(batch, channels, F, T)``, or None where the whole batch has no EEG.
            z_eeg: EEG embeddings, ``(batch, dim)``, or None together with the spectrogram.
            z_video: Video embeddings, ``(batch, dim)``, or None where the whole batch has no video.
            present: ``(batch,)`` bool by ``"eeg"`` and ``"video"`` (default: every sample has what is given).

        Returns:
            Logits, node logits, attention, region embeddings and both adjacencies.

        Raises:
            ShapeError: If shapes do not fit, or a sample has no modality at all (the latter in eager mode only).
            ConfigError: If ``present`` names another modality or is not bool.
        """
        batch = self._inputs(spectrogram, z_eeg, z_video)
        flags = presence({"eeg": z_eeg, "video": z_video}, present) or {}
        has_eeg, has_video = flags.get("eeg"), flags.get("video")
        z_e = _or_token(z_eeg, self.eeg_token, has_eeg, batch)
        z_v = _or_token(z_video, self.video_token, has_video, batch)
        if spectrogram is None:
            channels, count = self.region_index.shape[1], len(self._regions)
            regions = self.region_token.expand(batch, count, self.dim)
            attention = regions.new_zeros(batch, channels)
            adjacency_local = regions.new_zeros(batch, channels, channels)
        else:
            regions, attention, adjacency_local = self._stage_one(spectrogram, has_eeg)
        dtype = torch.promote_types(torch.promote_types(z_e.dtype, z_v.dtype), regions.dtype)
        nodes = torch.cat([z_e[:, None].to(dtype), z_v[:, None].to(dtype), regions.to(dtype)], dim=1)  # eq. 11
        adjacency = normalized(cosines(nodes, self.region_edges_mask))  # eq. 12
        hidden = self.activation(self.global_gcn(nodes, adjacency)) if self.global_layers == 2 else nodes
        if self.region_gcn is None:
            node_logits = hidden.new_zeros(*hidden.shape[:2], 0)
        else:
            node_logits = self.region_gcn(hidden, adjacency)  # eq. 13
        omega = self.omega
        if has_eeg is not None and has_video is not None:
            omega = torch.where(has_eeg & has_video, omega, has_eeg.to(omega.dtype))[:, None]
        logits = self._read(node_logits, omega, has_eeg)  # eq. 14
        weights = self._read(adjacency, omega, has_eeg)
        embedding = torch.einsum("bn,bnd->bd", weights.to(hidden.dtype), hidden)
        shares = self._shares(nodes.detach(), adjacency.detach(), weights.detach())
        omega = omega.reshape(-1).expand(batch)
        return BIHGCNOutput(
            logits, embedding, node_logits, attention, regions, adjacency_local, adjacency, shares, omega
        )

    def _read(self, rows: Tensor, omega: Tensor, has_eeg: Tensor | None) -> Tensor:
        """Bring ``(batch, nodes, width)`` to ``(batch, width)`` as eq. 14 does, or with the regions."""
        fused = torch.lerp(rows[:, 1], rows[:, 0], omega.to(rows.dtype))
        if self.readout == "global":
            return fused
        rho = self.rho_logit.sigmoid() if has_eeg is None else (self.rho_logit.sigmoid() * has_eeg)[:, None]
        return torch.lerp(fused, rows[:, 2:].mean(1), rho.to(rows.dtype))

    def _shares(self, nodes: Tensor, adjacency: Tensor, weights: Tensor) -> Tensor:
        """Return how much of what reaches the logits came through each node, ``(batch, nodes)``."""
        weights = weights[:, :, None]
        if self.global_layers == 2:
            weight, bias = self.global_gcn.weight.detach(), self.global_gcn.bias.detach()
            support = F.linear(nodes, weight).to(adjacency.dtype)
            before = torch.baddbmm(bias.to(adjacency.dtype), adjacency, support)
            slope = self.activation(before) / before.masked_fill(before == 0, torch.inf)
            nodes, weights = support, (adjacency * weights).mT @ slope
        last = self.region_gcn
        return node_shares(nodes, weights, None if last is None else last.weight.detach())

    def to_torch_geometric(
        self, output: BIHGCNOutput | EmotionOutput, index: int = 0, *, ch_names: Sequence[str] | None = None
    ) -> tuple[Data, Data]:
        """Return one sample's two graphs as torch-geometric ``Data``.

        An edge stands for every entry of a normalised adjacency that is not 0, loops included, so that
        ``GCNConv(normalize=False)`` on ``edge_index`` and ``edge_weight`` does what this layer does.

        Args:
            output: Output of this layer, or of a system that holds its attention.
            index: Which sample of the batch.
            ch_names: Names of the channels (default: their numbers).

        Returns:
            The channel graph (``x``: attention of each channel ``(channels, 1)``; ``region``: index of its region, -1
            for none; ``ch_names``; ``region_names``) and the region graph (``x``: node logits; ``node_names``).

        Raises:
            ShapeError: If ``ch_names`` has another length than the channels, or ``index`` is out of range.

        Example:
            >>> import torch
            >>> from evermodels.layers import BIHGCN
            >>> fusion = BIHGCN(4, 8, num_classes=2, regions={"frontal": [0, 1], "occipital": [2]})
            >>> output = fusion(torch.rand(1, 3, 2, 2), torch.rand(1, 8), torch.rand(1, 8))
            >>> channels, regions = fusion.to_torch_geometric(output, ch_names=["Fp1", "Fp2", "Oz"])
            >>> channels.num_edges, regions.node_names
            (5, ['eeg', 'video', 'frontal', 'occipital'])
        """
        if isinstance(output, EmotionOutput):
            attention, node_logits = output.attention["channels"], None
            local, region = output.attention["adjacency_local"], output.attention["adjacency_region"]
        else:
            attention, node_logits = output.channel_attention, output.node_logits
            local, region = output.adjacency_local, output.adjacency_region
        batch = attention.shape[0]
        if not -batch <= index < batch:
            raise ShapeError(f"index: expected a sample of 0 to {batch - 1}, got {index}.")
        channel_graph = channel_data(attention[index], local[index], self.regions, ch_names)
        x = None if node_logits is None else node_logits[index]
        return channel_graph, region_data(region[index], self.node_names, x)

    def extra_repr(self) -> str:
        """Return the settings for ``repr``."""
        return (
            f"in_features={self.in_features}, dim={self.dim}, num_classes={self.num_classes}, "
            f"regions={list(self._regions)}, self_loops={self.self_loops}, local_mask={self.local_mask}, "
            f"region_edges={self.region_edges}, directed={self.directed}, readout={self.readout!r}, "
            f"global_layers={self.global_layers}"
        )


def _or_token(z: Tensor | None, token: Tensor, has: Tensor | None, batch: int) -> Tensor:
    if z is None:
        return token.expand(batch, -1)
    return z if has is None else torch.where(has[:, None], z, token.to(z.dtype))
