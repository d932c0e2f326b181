"""Graphs that go through several processes, which hookgrad does not have: for programs to ask about."""


def is_available():
    return False
