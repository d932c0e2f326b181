"""The classes that programs ask whether a module is one of: none is, for hookgrad has no quantised numbers."""

from ..nn.modules.module import Module


class ObserverBase(Module):
    """A module that would watch the range of what passes."""


class FakeQuantizeBase(Module):
    """A module that would round what passes, as quantised numbers are."""
