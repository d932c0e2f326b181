"""Devices other than the CPU, of which hookgrad has none."""


def is_available():
    return False


def device_count():
    return 0


def current_accelerator(check_available=False):
    return None


def current_device_index(*args, **kwargs):
    """Fails, as what follows does."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


current_device_idx = set_device_index = set_device_idx = current_stream = set_stream = current_device_index
synchronize = memory_allocated = max_memory_allocated = memory_reserved = empty_cache = current_device_index
