"""Channels dealt out again."""

from .. import functional as F
from .module import Module


class ChannelShuffle(Module):
    """(N, g * C, *) with its channels in another order: those that come first in each of g groups, then the second ...

    >>> import hookgrad as torch
    >>> ChannelShuffle(2)(torch.arange(4.0).view(1, 4, 1, 1)).flatten()
    tensor([0., 2., 1., 3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html
    """

    __constants__ = ["groups"]

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        return f"groups={self.groups}"
