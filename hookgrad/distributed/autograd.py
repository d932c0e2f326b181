"""Graphs that go through several processes, which hookgrad does not have: for programs to ask about."""


def is_available():
    return False


class context:
    """Fails: there is one process."""

    def __init__(self):
        raise RuntimeError("hookgrad has no torch.distributed: it works in one process")
