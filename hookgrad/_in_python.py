"""How a function that is overridden hands on its arguments, and which classes it says take part.

PyTorch's functions in Python hand on what has no default by position and all the rest by name, and name plain tensors among the
types, too. Those in C++ hand on the call as it was and name the classes that override; a method without arguments, and an
attribute, names the tensor's class whatever that is.
"""

from ast import literal_eval
from functools import cache
from inspect import Parameter, Signature

from . import _C, functional

Tensor = _C.Tensor

_METHODS = """backward self gradient=None retain_graph=None create_graph=False inputs=None
    norm self p='fro' dim=None keepdim=False dtype=None
    split self split_size dim=0
    unique self sorted=True return_inverse=False return_counts=False dim=None
    unique_consecutive self return_inverse=False return_counts=False dim=None
    lu self pivot=True get_infos=False
    __repr__ self tensor_contents=None"""
_METHODS_AS_GIVEN = """__array__ __contains__ __deepcopy__ __floordiv__ __format__ __ipow__ __len__ __pow__ __reduce_ex__ __reversed__
    __rfloordiv__ __rlshift__ __rmatmul__ __rmod__ __rpow__ __rrshift__ __rsub__ __rtruediv__ dim_order is_shared module_load
    register_hook register_post_accumulate_grad_hook share_memory_ storage unflatten"""
_FUNCTIONS = """norm input p='fro' dim=None keepdim=False dtype=None
    split tensor split_size_or_sections dim=0
    unique input sorted=True return_inverse=False return_counts=False dim=None
    unique_consecutive input return_inverse=False return_counts=False dim=None
    cdist x1 x2 p=2.0 compute_mode='use_mm_for_euclid_dist_if_necessary'
    tensordot a b dims=2 out=None
    meshgrid *tensors indexing=None"""
_FUNCTIONS_AS_GIVEN = "atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod chain_matmul einsum"
_BARE = """__bool__ __float__ __index__ __int__ __invert__ __len__ data_ptr dim element_size get_device is_complex is_floating_point is_signed item
    ndimension nelement new_tensor numel retain_grad storage_offset tolist untyped_storage""".split()


def _forms(text):
    """{name: Signature} of lines that give a function's name and its parameters."""
    forms = {}
    for name, *given in map(str.split, text.splitlines()):
        parameters = []
        for one in given:
            one, _, default = one.partition("=")
            kind = Parameter.VAR_POSITIONAL if one[0] == "*" else Parameter.POSITIONAL_OR_KEYWORD
            if any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
                kind = Parameter.KEYWORD_ONLY
            default = literal_eval(default) if default else Parameter.empty
            parameters.append(Parameter(one.lstrip("*"), kind, default=default))
        forms[name] = Signature(parameters)
    return forms


@cache
def table():
    """{function: its Signature, or None where it hands on the call as it was}, of what PyTorch has in Python."""
    found = {}
    for named, methods in (
        (_forms(_METHODS).items(), True),
        (dict.fromkeys(_METHODS_AS_GIVEN.split()).items(), True),
        (_forms(_FUNCTIONS).items(), False),
        (dict.fromkeys(_FUNCTIONS_AS_GIVEN.split()).items(), False),
    ):
        for name, form in named:
            for place in (Tensor,) if methods else (_C, functional):
                function = getattr(place, name, None)
                if function is not None:
                    found[function] = form
    return found


def names_of_functional():
    """The names of the functions of torch.functional."""
    return [*_forms(_FUNCTIONS), *_FUNCTIONS_AS_GIVEN.split()]


def passed_on(form, args, kwargs):
    """The arguments of a call, as PyTorch's function of this signature hands them on."""
    bound = form.bind(*args, **kwargs)
    bound.apply_defaults()
    positional, by_name = [], {}
    for name, value in bound.arguments.items():
        parameter = form.parameters[name]
        if parameter.kind is Parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.default is Parameter.empty:
            positional.append(value)
        else:
            by_name[name] = value
    return tuple(positional), by_name


@cache
def _bare():
    """The names of methods that have no arguments."""
    most = {}
    for row in _C.op_table():
        if row["params"] and row["params"][0]["name"] == "self":
            most[row["name"]] = max(most.get(row["name"], 0), len(row["params"]))
    return frozenset([*_BARE, *(name for name, n in most.items() if n == 1)])


def names_its_own_class(function):
    """Is it an attribute, or a method without arguments?"""
    name = getattr(function, "__name__", "")
    if name in ("__get__", "__set__"):
        return True
    return (name in _bare() or name[-1:] == "_" and name[:-1] in _bare()) and function == getattr(Tensor, name, None)
