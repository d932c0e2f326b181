"""Apple's graphics processors, which hookgrad does not use."""


def is_available():
    return False


def device_count():
    return 0


def manual_seed(seed):
    """Accepted, for there is no device it would concern."""


def empty_cache():
    """Accepted, for there is no device it would concern."""
