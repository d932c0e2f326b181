"""CUDA, which hookgrad does not have: enough for programs to ask and go on without."""

import sys

from .._C import OutOfMemoryError  # noqa: F401 (a name of this module)

memory = random = sys.modules[__name__]  # its parts are here

_TYPES = frozenset(f"{kind}Tensor" for kind in "BFloat16 Bool Byte Char Double Float Half Int Long Short".split())


def __getattr__(name):
    if name in ("amp", "nvtx"):
        from importlib import import_module

        return import_module("." + name, __name__)
    if name in _TYPES:
        import hookgrad

        of_cpu = getattr(hookgrad, name)
        return globals().setdefault(name, hookgrad._tensor.legacy_type(name, of_cpu.dtype, is_cuda=True))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_available():
    return False


def device_count():
    return 0


_initialized = False


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
    raise AssertionError("Torch not compiled with CUDA enabled")


get_device_name = get_device_properties = get_device_capability = set_device = lambda *args, **kwargs: current_device()
init = initial_seed = mem_get_info = can_device_access_peer = current_stream = default_stream = get_device_name
get_rng_state = set_rng_state = get_device_name
reset_max_memory_allocated = ipc_collect = set_stream = set_rng_state_all = _nothing
memory_cached = max_memory_cached = memory_allocated
get_rng_state_all = get_arch_list = list
memory_stats = lambda device=None: {}  # noqa: E731 (one of many names for little)
default_generators = ()


class device:
    """A context in which a device is the current one: of CUDA's there is none, and only no device can be asked for."""

    def __init__(self, device=None):
        self.device = device

    def __enter__(self):
        if self.device not in (None, -1):
            raise RuntimeError("PyTorch was compiled without CUDA support: hookgrad runs on the CPU")

    def __exit__(self, *exc):
        return False


stream = StreamContext = device


class Stream:
    """A queue of CUDA's, of which there is none."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"torch.cuda.{type(self).__name__} requires CUDA support: hookgrad runs on the CPU")


class Event(Stream):
    """A mark in such a queue."""


class CUDAGraph(Stream):
    """Work for such a queue."""


class graph(Stream):
    """A context that records work in such a graph."""
