"""What this build is made of."""

from ._C import get_num_threads
from .version import __version__


def show():
    """A description in words."""
    return f"hookgrad {__version__}: a C core for the CPU; matrix products and LAPACK from OpenBLAS\n"


def parallel_info():
    """How many threads work, in words."""
    return f"hookgrad parallel info:\n\tget_num_threads() : {get_num_threads()}\n"
