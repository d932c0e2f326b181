"""The order in memory of the weights of convolutions.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv2d_weight_memory_format.html
"""

from ..modules import conv


def _converted(module, kinds, memory_format):
    for m in module.modules():
        if isinstance(m, kinds):
            m.weight.data = m.weight.detach().clone(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """The module, with the weight of each Conv2d and ConvTranspose2d in it in that format.

    >>> import hookgrad as torch
    >>> m = convert_conv2d_weight_memory_format(torch.nn.Conv2d(2, 2, 3), torch.channels_last)
    >>> m.weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    return _converted(module, (conv.Conv2d, conv.ConvTranspose2d), memory_format)


def convert_conv3d_weight_memory_format(module, memory_format):
    """The same for Conv3d and ConvTranspose3d."""
    return _converted(module, (conv.Conv3d, conv.ConvTranspose3d), memory_format)
