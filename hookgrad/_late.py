"""Attributes of classes that come with their first use."""


class Annotation:
    """One of the names in _typing.py, as an attribute of a class: `typing` is loaded when it is asked for."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        from . import _typing

        return getattr(_typing, self.name)
