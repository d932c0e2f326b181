"""What builds extensions against PyTorch's C++: programs may ask for it, and nothing is built."""

from setuptools.command.build_ext import build_ext as BuildExtension  # noqa: F401

CUDA_HOME = ROCM_HOME = None


def load(name, *args, **kwargs):
    """Fails: RuntimeError."""
    raise RuntimeError(f"hookgrad has no libtorch to build {name} against")


load_inline = CppExtension = CUDAExtension = load
