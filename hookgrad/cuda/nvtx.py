"""Marks for NVIDIA's profiler, of which there is none."""


def range_push(msg):
    """Fails, as what follows does."""
    raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")


range = range_pop = range_start = range_end = mark = range_push
