"""The classes that programs ask whether a module is one of: none is, for hookgrad has no quantised numbers."""

from ..nn.modules.module import Module


class ObserverBase(Module):
    """A module that would watch the range of what passes."""


class FakeQuantizeBase(Module):
    """A module that would round what passes, as quantised numbers are."""


class QuantStub(Module):
    """Where a model would begin to be quantised: nothing is changed."""

    def __init__(self, qconfig=None):
        super().__init__()

    def forward(self, x):
        return x


class DeQuantStub(QuantStub):
    """Where it would end."""
