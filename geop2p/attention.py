"""Self-attention: every place of a picture sees every other one, weighted by likeness.

References
----------
Zhang, Goodfellow, Metaxas, Odena: Self-Attention Generative Adversarial Networks, ICML 2019
(arXiv:1805.08318), section 3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NARROWER = 8
"""Queries and keys have one part in so many of the picture's channels."""


class SelfAttention(nn.Module):
    """A picture plus, times a gain that begins at 0, what each place draws from all others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // NARROWER)
        self.query, self.key = (nn.Conv2d(width, inner, 1) for _ in range(2))
        self.value = nn.Conv2d(width, width, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) as it came, and with what was drawn from elsewhere."""
        # (N, C, H, W) -> (N, 1, H * W, C), a head of its own
        query, key, value = (
            part(x).flatten(2).transpose(1, 2).unsqueeze(1)
            for part in (self.query, self.key, self.value)
        )
        drawn = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        attended: Tensor = x + self.gain * drawn.squeeze(1).transpose(1, 2).reshape(x.shape)
        return attended
