"""Weak references to tensors, and dictionaries keyed by what a tensor is, not by what it equals.

Source: https://docs.pytorch.org/docs/stable/generated/torch.utils.weak.html
"""

import weakref
from collections.abc import MutableMapping

from .. import _C

__all__ = ["TensorWeakRef", "WeakIdKeyDictionary", "WeakIdRef", "WeakTensorKeyDictionary"]


class WeakIdRef(weakref.ref):
    """A weak reference that is equal to another one only of the same object."""

    __slots__ = ("_id",)

    def __init__(self, key, callback=None):
        super().__init__(key, callback)
        self._id = id(key)

    def __call__(self):
        return super().__call__()

    def __hash__(self):
        return self._id

    def __eq__(self, other):
        mine, others = self(), other()
        return mine is others if mine is not None and others is not None else self is other


class TensorWeakRef:
    """A weak reference to a tensor: called, it gives the tensor, or None."""

    def __init__(self, tensor):
        if not isinstance(tensor, _C.Tensor):
            raise AssertionError(f"expected torch.Tensor, got {type(tensor)}")
        self.ref = weakref.ref(tensor)

    def __call__(self):
        return self.ref()


class WeakIdKeyDictionary(MutableMapping):
    """A dictionary whose keys are told apart by identity, and leave it when they go.

    >>> import hookgrad as torch
    >>> names = WeakIdKeyDictionary()
    >>> x = torch.ones(2)
    >>> names[x] = "x"
    >>> names[x], torch.ones(2) in names
    ('x', False)
    """

    def __init__(self, dict=None, ref_type=WeakIdRef):
        self.ref_type = ref_type
        self.data = {}
        if dict is not None:
            self.update(dict)

    def _ref(self, key):
        mine = weakref.ref(self)

        def gone(ref):
            me = mine()
            if me is not None:
                me.data.pop(ref, None)

        return self.ref_type(key, gone)

    def __getitem__(self, key):
        return self.data[self.ref_type(key)]

    def __setitem__(self, key, value):
        self.data[self._ref(key)] = value

    def __delitem__(self, key):
        del self.data[self.ref_type(key)]

    def __contains__(self, key):
        try:
            return self.ref_type(key) in self.data
        except TypeError:
            return False

    def __iter__(self):
        for ref in list(self.data):
            key = ref()
            if key is not None:
                yield key

    def __len__(self):
        return len(self.data)

    def __repr__(self):
        return f"<{self.__class__.__name__} at {id(self):#x}>"

    def copy(self):
        """Another dictionary of the same keys and values."""
        return type(self)(self)

    __copy__ = copy


class WeakTensorKeyDictionary(WeakIdKeyDictionary):
    """The same, of tensors."""
