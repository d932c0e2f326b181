"""vmap() under the name that it had before torch.func, which torchmin imports."""

from .func import vmap as _vmap  # noqa: F401
