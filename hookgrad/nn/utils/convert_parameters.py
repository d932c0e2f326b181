"""Parameters as one vector, and back."""

import hookgrad


def parameters_to_vector(parameters):
    """All elements of all parameters in a row.

    >>> import hookgrad as torch
    >>> parameters_to_vector([torch.zeros(2), torch.ones(1, 2)])
    tensor([0., 0., 1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parameters_to_vector.html
    """
    return hookgrad.cat([p.view(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """Give the parameters, one after another, the elements of a vector: they become views of it.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.vector_to_parameters.html
    """
    if not isinstance(vec, hookgrad.Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    start = 0
    for p in parameters:
        p.data = vec[start : start + p.numel()].view_as(p).data
        start += p.numel()
