"""Calling a module with other tensors in the place of its parameters and buffers."""

from contextlib import contextmanager

__all__ = ["functional_call"]


def _owner(module, name):
    """The module that `name` is a member of, and its name there."""
    path, _, name = name.rpartition(".")
    return module.get_submodule(path), name


def _put(module, name, tensor):
    """Put a tensor in the place of a parameter, a buffer or an attribute, as it is; returns what was there."""
    owner, name = _owner(module, name)
    for table in (owner._parameters, owner._buffers):
        if name in table:
            was = table[name]
            table[name] = tensor
            return was
    was = getattr(owner, name, _NOTHING)
    if tensor is _NOTHING:
        delattr(owner, name)
    else:
        setattr(owner, name, tensor)
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
    unexpected = [repr(name) for name in tensors if name not in known]
    missing = [repr(name) for name in known if name not in tensors]
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
