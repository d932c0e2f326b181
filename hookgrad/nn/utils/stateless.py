"""Calling a module with other tensors in the place of its parameters and buffers."""

from contextlib import contextmanager

from ..._C import Tensor

__all__ = ["functional_call"]


def _put(module, path, tensor):
    """Put a tensor in the place of a parameter, a buffer or an attribute, as it is; returns what was there."""
    path, _, name = path.rpartition(".")
    owner = module.get_submodule(path)
    if not (tensor is None or tensor is _NOTHING or isinstance(tensor, Tensor)):
        raise TypeError(f"{tensor} is not an instance of torch.Tensor")
    if name == "":
        raise KeyError('tensor name can\'t be empty string ""')
    for table in (owner._parameters, owner._buffers):
        if name in table:
            was = table[name]
            if tensor is _NOTHING:
                del table[name]
            else:
                table[name] = tensor
            return was
    was = getattr(owner, name, _NOTHING)
    if not (was is None or was is _NOTHING or isinstance(was, Tensor)):
        raise TypeError(f"attribute `{name}`: {was} is not an instance of torch.Tensor")
    if tensor is not _NOTHING:
        setattr(owner, name, tensor)
    elif was is not _NOTHING:
        delattr(owner, name)
    return was


def _named_tensors(module):
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _with_ties(module, tensors):
    """The tensors, and under the other names of the same parameter as well."""
    names = {}  # of each tensor
    for name, tensor in _named_tensors(module).items():
        names.setdefault(id(tensor), []).append(name)
    result = dict(tensors)
    for tied in names.values():
        given = [name for name in tied if name in tensors]
        if len(tied) > 1 and given:
            if len({id(tensors[name]) for name in given}) != 1:
                raise ValueError(
                    f"functional_call got multiple values for keys {sorted(tied)}, which are tied. Consider using "
                    "tie_weights=False"
                )
            result.update(dict.fromkeys(tied, tensors[given[0]]))
    return result


def _check_names(module, tensors):
    known = _named_tensors(module)
    unexpected = [repr(name) for name in sorted(tensors) if name not in known]
    missing = [repr(name) for name in sorted(known) if name not in tensors]
    words = [f"Unexpected key(s): {', '.join(unexpected)}."] if unexpected else []
    if missing:
        words.append(f"Missing key(s): {', '.join(missing)}.")
    if words:
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(words))


_NOTHING = object()


@contextmanager
def _reparametrize_module(module, parameters_and_buffers, tie_weights=False, strict=False):
    tensors = _with_ties(module, parameters_and_buffers) if tie_weights else parameters_and_buffers
    if strict:
        _check_names(module, tensors)
    before = {}
    try:
        for name, tensor in tensors.items():
            before[name] = _put(module, name, tensor)
        yield
    finally:
        for name in reversed(before):
            after = _put(module, name, before[name])
            if name in parameters_and_buffers:  # what forward assigned is the caller's to see
                parameters_and_buffers[name] = after


def _functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights=tie_weights, strict=strict):
        return module(*args, **(kwargs or {}))


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """The older name of `func.functional_call`."""
    import warnings

    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future version "
        "of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
