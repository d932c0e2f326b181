"""DataParallel, on the one device there is."""

from ..modules.module import Module


class DataParallel(Module):
    """A module that calls another one, `module`, as PyTorch's does where there is no accelerator.

    >>> import hookgrad as torch
    >>> list(DataParallel(torch.nn.Linear(1, 1)).state_dict())
    ['module.weight', 'module.bias']

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.DataParallel.html
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module = module
        self.device_ids = []

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """Fails: RuntimeError, for it wants an accelerator. DataParallel does without."""
    raise RuntimeError("device type could not be determined")
