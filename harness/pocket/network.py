"""The torch model behind all four kinds: a small decoder whose feed-forward is dense or a mixture of experts.

Imported inside functions only, since it needs torch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.pocket.recipe import EPSILON, ROPE_THETA, Shape


class Block(nn.Module):
    """One layer. All experts lie side by side in one wide feed-forward whose columns the router scales.

    A column that is scaled by zero adds nothing, so this equals running only the chosen experts, and every tensor
    keeps a fixed shape.
    """

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.norms = nn.Parameter(torch.ones(2, width))
        self.attention = nn.Parameter(torch.randn(4, width, width) * width**-0.5)
        self.up = nn.Parameter(torch.randn(2, shape.ffn_width, width) * width**-0.5)
        self.down = nn.Parameter(torch.randn(shape.ffn_width, width) * 0.02)
        with torch.no_grad():
            self.attention[3].mul_(0.16)
        if shape.qkv_bias:
            self.bias = nn.Parameter(torch.zeros(3, width))
        if shape.experts:
            self.router = nn.Parameter(torch.randn(shape.experts, width) * 0.1)
        if shape.shared_width:
            self.shared_gate = nn.Parameter(torch.zeros(1, width))

    def forward(self, hidden: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden states [rows, length, width] -> the same, and this layer's share of the extra loss."""
        hidden = hidden + self.attend(norm(hidden, self.norms[0]), turn)
        inner = norm(hidden, self.norms[1])
        mixed = F.silu(F.linear(inner, self.up[0])) * F.linear(inner, self.up[1])
        extra = hidden.new_zeros(())
        if self.shape.experts:
            gates, extra = self.route(inner)
            mixed = mixed * gates
        return hidden + mixed @ self.down, extra

    def attend(self, inner: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Causal attention over normed states [rows, length, width]."""
        rows, length, width = inner.shape
        query, key, value = (F.linear(inner, self.attention[part]) for part in range(3))
        if self.shape.qkv_bias:
            query, key, value = query + self.bias[0], key + self.bias[1], value + self.bias[2]
        heads = (rows, length, self.shape.heads, width // self.shape.heads)
        query, key, value = (part.view(heads).transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(rotate(query, turn), rotate(key, turn), value, is_causal=True)
        return F.linear(mixed.transpose(1, 2).reshape(rows, length, width), self.attention[3])

    def route(self, inner: Tensor) -> tuple[Tensor, Tensor]:
        """A factor for each column of the wide feed-forward, and the balancing loss."""
        shape = self.shape
        logits = F.linear(inner, self.router)
        chances = logits.softmax(-1)
        least = chances.topk(shape.top_k, -1).values[..., -1:]
        chosen = (chances >= least).to(chances.dtype)
        gates = chances * chosen
        gates = gates / gates.sum(-1, keepdim=True)
        columns = gates.repeat_interleave(shape.expert_width, -1)
        if shape.shared_width:
            shared = torch.sigmoid(F.linear(inner, self.shared_gate)).expand(*inner.shape[:-1], shape.shared_width)
            columns = torch.cat([columns, shared], -1)
        load, weight = chosen.mean((0, 1)) / shape.top_k, chances.mean((0, 1))
        balance = shape.experts * (load * weight).sum()
        return columns, shape.balance * balance + shape.z_loss * logits.logsumexp(-1).square().mean()


class Network(nn.Module):
    """Embedding, blocks, norm, and the embedding again as the head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, shape.width) * 0.05)
        self.blocks = nn.ModuleList(Block(shape, shape.width) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [rows, length] -> logits [rows, length, vocabulary]."""
        return F.linear(self.hidden(tokens)[0], self.embedding)

    def hidden(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids [rows, length] -> the last states [rows, length, width] and the extra loss."""
        hidden = F.embedding(tokens, self.embedding)
        turn = angles(tokens.shape[1], self.shape.width // self.shape.heads)
        extra = hidden.new_zeros(())
        for block in self.blocks:
            hidden, part = block(hidden, turn)
            extra = extra + part
        return norm(hidden, self.norm), extra

    def layers(self) -> list[Block]:
        """The blocks, first to last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def loss(self, tokens: Tensor, weights: Tensor, places: Tensor) -> Tensor:
        """Weighted cross entropy of the tokens at `places`, plus the extra loss."""
        hidden, extra = self.hidden(tokens[:, :-1])
        logits = F.linear(hidden.flatten(0, 1)[places], self.embedding)
        each = F.cross_entropy(logits, tokens[:, 1:].flatten()[places], reduction="none")
        wanted = weights[:, 1:].flatten()[places]
        mean: Tensor = (each * wanted).sum() / wanted.sum() + extra
        return mean


def norm(hidden: Tensor, weight: Tensor) -> Tensor:
    """Root mean square norm."""
    return hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + EPSILON) * weight


def angles(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [length, head width] of the rotary position embedding."""
    rates = ROPE_THETA ** (-torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    turn = torch.arange(length, dtype=torch.float32)[:, None] * rates
    turn = torch.cat([turn, turn], -1)
    return turn.cos(), turn.sin()


def rotate(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turns queries or keys [rows, heads, length, head width] by their position."""
    left, right = heads.chunk(2, -1)
    return heads * turn[0] + torch.cat([-right, left], -1) * turn[1]
