"""A Llama-shaped model of under a million parameters, with a cache for generating many rows at once.

Rows of different lengths are aligned at the left, and each continues at its own end: a token has the same
position in training, in a batch and alone.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. The defaults give half a million parameters."""

    width: int = 96
    layers: int = 4
    heads: int = 3
    hidden: int = 256
    context: int = 512
    products: torch.dtype = torch.bfloat16
    """Type of matrix products; bfloat16 halves their time on CPUs that support it. Everything else, including
    the weights, is float32."""


class Cache:
    """Keys and values of all layers, for `rows` rows of up to `length` tokens."""

    def __init__(self, shape: Shape, rows: int, length: int) -> None:
        size = (shape.layers, rows, shape.heads, length, shape.width // shape.heads)
        self.keys, self.values = torch.zeros(size), torch.zeros(size)

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


class TinyLlama(nn.Module):
    """A transformer with rotary positions, RMS norms, SwiGLU, and one matrix for embedding and output."""

    rotation: Tensor
    """Cosines and sines, shape (2, tokens, half a head)."""

    def __init__(self, vocabulary: int, shape: Shape = Shape()) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(vocabulary, shape.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width)
        half = shape.width // shape.heads // 2
        angles = torch.outer(torch.arange(shape.context), 10_000 ** -(torch.arange(half) / half))
        self.register_buffer("rotation", torch.stack([angles.cos(), angles.sin()]), persistent=False)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Final states, (rows, tokens, width), of whole rows; stores their keys and values in the cache."""
        x = self._embedded(ids)
        rotation = self.rotation[:, None, None, : ids.shape[1]]
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, cache, layer)
        states: Tensor = self.norm(x)
        return states

    def step(self, ids: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Final states, (rows, width), of one more token of each row, at its own position."""
        x = self._embedded(ids[:, None])
        rotation = self.rotation[:, positions][:, :, None, None]
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, cache, layer, positions)
        states: Tensor = self.norm(x[:, 0])
        return states

    def _embedded(self, ids: Tensor) -> Tensor:
        # Scaled to what the blocks add; tokens drowned out by it are learned to be found again only late.
        embedded: Tensor = self.embedding(ids) * math.sqrt(self.shape.width)
        return embedded

    def logits(self, states: Tensor) -> Tensor:
        return functional.linear(states, self.embedding.weight)


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.before_attention, self.before_mlp = nn.RMSNorm(shape.width), nn.RMSNorm(shape.width)
        self.qkv = _Linear(shape.width, 3 * shape.width, shape.products)
        self.out = _Linear(shape.width, shape.width, shape.products, scale=0.15)
        self.up = _Linear(shape.width, 2 * shape.hidden, shape.products)
        self.down = _Linear(shape.hidden, shape.width, shape.products, scale=0.15)

    def forward(
        self, x: Tensor, rotation: Tensor, cache: Cache | None, layer: int, positions: Tensor | None = None
    ) -> Tensor:
        """Process whole rows or, given positions, one more token per row, which attends to the cache."""
        q, k, v = self._project(x, rotation)
        if positions is None or cache is None:
            if cache is not None:
                cache.keys[layer, :, :, : k.shape[2]] = k
                cache.values[layer, :, :, : v.shape[2]] = v
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            rows, length = torch.arange(len(positions)), int(positions.max()) + 1
            keys, values = cache.keys[layer], cache.values[layer]
            keys[rows, :, positions] = k[:, :, 0]
            values[rows, :, positions] = v[:, :, 0]
            seen = (torch.arange(length) <= positions[:, None])[:, None, None]
            attended = functional.scaled_dot_product_attention(
                q, keys[:, :, :length], values[:, :, :length], attn_mask=seen
            )
        x = x + self.out(attended.transpose(1, 2).flatten(-2))
        gate, up = self.up(self.before_mlp(x)).chunk(2, dim=-1)
        result: Tensor = x + self.down(functional.silu(gate) * up)
        return result

    def _project(self, x: Tensor, rotation: Tensor) -> list[Tensor]:
        q, k, v = self.qkv(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return [
            _rotated(q.transpose(1, 2), rotation),
            _rotated(k.transpose(1, 2), rotation),
            v.transpose(1, 2),
        ]


class _Linear(nn.Linear):
    def __init__(self, width: int, to: int, products: torch.dtype, scale: float = 1.0) -> None:
        super().__init__(width, to, bias=False)
        nn.init.normal_(self.weight, std=scale * width**-0.5)
        self.products = products

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.to(self.products), self.weight.to(self.products)).to(x.dtype)


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
