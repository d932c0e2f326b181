"""Packages in which a function has the name of the module it comes from."""

from types import ModuleType

from ._C import _Package


class Package(_Package):
    """A package that keeps the functions named in `_functions_over_modules` where an import would put the module.

    The import of `hookgrad.autograd.gradcheck` sets the package's attribute `gradcheck` to the module; in PyTorch
    `torch.autograd.gradcheck` is the function, whatever has been imported before.
    """

    def __setattr__(self, name, value):
        if isinstance(value, ModuleType) and name in self._functions_over_modules:
            return
        super().__setattr__(name, value)
