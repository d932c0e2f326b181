"""vmap() under the name that it had before torch.func, which torchmin imports."""

from .func import _vmap  # noqa: F401
