"""CUDA, which hookgrad does not have: enough for programs to ask and go on without."""


def __getattr__(name):
    if name == "amp":
        from importlib import import_module

        return import_module(".amp", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_available():
    return False


def device_count():
    return 0


def is_initialized():
    return False


def is_bf16_supported(including_emulation=True):
    return False


def _nothing(*args, **kwargs):
    """Accepted, for there is no device it would concern."""


manual_seed = manual_seed_all = seed = seed_all = empty_cache = synchronize = reset_peak_memory_stats = _nothing


def memory_allocated(device=None):
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def current_device():
    raise AssertionError("Torch not compiled with CUDA enabled: hookgrad runs on the CPU")


get_device_name = get_device_properties = get_device_capability = set_device = lambda *args, **kwargs: current_device()
