"""Inputs spread over several devices, of which there is one."""

from ... import cuda


def scatter(inputs, target_gpus, dim=0):
    """Fails: AssertionError, for the devices are CUDA's."""
    cuda.current_device()


def gather(outputs, target_device, dim=0):
    """Fails: AssertionError, for the devices are CUDA's."""
    cuda.current_device()


scatter_kwargs = scatter
