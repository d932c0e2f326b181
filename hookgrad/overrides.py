"""Tensor classes that take part in what is done with their tensors: `__torch_function__`.

A function called with a tensor of a user's class asks the class: `cls.__torch_function__(func, types, args, kwargs)` gives the
result, or NotImplemented. The one that a class inherits from Tensor runs the function and gives the class to its results.

    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            print(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

A mode, `with Mode():`, is asked of every function called in the block, whatever its arguments are.

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-python-api
"""

import re
import threading
import warnings
from ast import literal_eval
from contextlib import contextmanager
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from types import FunctionType, GetSetDescriptorType, MethodDescriptorType

from . import _C
from ._in_python import names_its_own_class, names_of_functional, passed_on
from ._in_python import table as _in_python
from ._modes import Mode, ModeStack
from ._tensor import DisableTorchFunctionSubclass

Tensor = _C.Tensor


class DisableTorchFunction(DisableTorchFunctionSubclass):
    """A context in which no class is asked, and no mode."""

    _depth = threading.local()

    def __enter__(self):
        super().__enter__()
        self._modes = _stack.without_all()
        self._modes.__enter__()
        DisableTorchFunction._depth.now = getattr(DisableTorchFunction._depth, "now", 0) + 1

    def __exit__(self, *exc):
        DisableTorchFunction._depth.now -= 1
        self._modes.__exit__(None, None, None)
        super().__exit__(*exc)


def _is_torch_function_all_disabled():
    return getattr(DisableTorchFunction._depth, "now", 0) > 0


class _EnableTorchFunction:
    """As long as it lives classes are asked again, within a DisableTorchFunctionSubclass."""

    def __init__(self):
        self._was = _C._override_off(0)
        _C._override_off(-self._was)

    def __del__(self):
        _C._override_off(self._was)


@contextmanager
def _enable_torch_function():
    guard = _EnableTorchFunction()
    yield
    del guard


def is_tensor_like(inp):
    """Is it a tensor, or does its type have a `__torch_function__`?"""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def has_torch_function(relevant_args):
    """Is a mode on, or does one of these belong to a class with a `__torch_function__` of its own?"""
    if not hasattr(type(relevant_args), "__iter__"):
        raise TypeError("expected a sequence")
    if _C._skips():
        return False
    return bool(_stack.modes) or _C._override_off(0) == 0 and any(_overrides(type(arg)) for arg in relevant_args)


def has_torch_function_unary(arg):
    """The same of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args):
    """The same of several."""
    return has_torch_function(args)


def wrap_torch_function(dispatcher):
    """A decorator for a function that can be overridden; `dispatcher` gives the arguments whose classes are asked."""

    def decorate(func):
        @wraps(func)
        def call(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(call, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return call

    return decorate


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """What the modes, or the classes of `relevant_args`, make of a call of `public_api`."""
    return _ask(public_api, relevant_args, args, kwargs, in_python=True)


def redispatch_function(func, types, args, kwargs):
    """Call the function itself, in a `__torch_function__`: what it calls in turn is asked about again.

    Source: https://docs.pytorch.org/docs/stable/torch.overrides.html
    """
    return _C._skip_one_hop_torch_function(func, types, args, kwargs)


def enable_reentrant_dispatch():
    """Within a `__torch_dispatch__`: a context in which operations are recorded as they are outside of it."""
    from .utils._python_dispatch import _above_again

    return _above_again()


def get_default_nowrap_functions():
    """Functions whose results keep the class they have: those that give what a tensor owns."""
    return {Tensor.__dict__[name].__get__ for name in _OWNED}


# ---- Asking ------------------------------------------------------------------------------------------------------------

_OWNED = ("_base", "grad")
_TENSORS_OWN = ("tanh", "sigmoid")  # functions of nn.functional that are the methods


def _overrides(cls):
    if cls is Tensor or not hasattr(cls, "__torch_function__"):
        return False
    return cls.__torch_function__ is not _C._disabled_torch_function_impl


@cache
def _names_in_nn():
    return {op: name for name, op in vars(_C.nn).items() if isinstance(op, _METHODS) and name[0] != "_"}


def _call(function, args, kwargs):
    """A call that a mode is to see, or in which a tensor of an overriding class takes part."""
    name = _names_in_nn().get(function, "")
    if name not in _AS_GIVEN and name and name[-1] != "_":
        composed = getattr(_F(), name)
        if isinstance(composed, FunctionType) and name in _within.names:
            return _ask(function, _flat(args, kwargs), args, kwargs)
        if isinstance(composed, FunctionType):  # what a layer calls directly is seen under the function's signature
            return composed(*args, **kwargs)
        if name in _TENSORS_OWN:
            return _call(getattr(Tensor, name), args, kwargs)
        args, kwargs = passed_on(_signature_of_op(name), args, kwargs)
        return _ask(function, _flat(args, kwargs), args, kwargs, in_python=True)
    own = _in_python()
    if function in own:
        relevant = _flat(args, kwargs)
        if own[function] is not None:
            args, kwargs = passed_on(own[function], args, kwargs)
            relevant = args if args[0] is relevant[0] else relevant
        return _ask(function, relevant, args, kwargs, in_python=True)
    return _ask(function, _flat(args, kwargs), args, kwargs)


def _flat(args, kwargs):
    found = []
    for arg in (*args, *kwargs.values()):
        found.extend(arg if isinstance(arg, (list, tuple)) else [arg])
    return found


def _ask(function, relevant_args, args, kwargs, in_python=False):
    """The answer of the first mode or class that has one. Without keyword arguments a function in C++ hands on none, not {}."""
    asked = []  # one of each class, derived classes before their bases
    on = not _C._override_off(0)
    for arg in relevant_args:
        cls = type(arg)
        if (on and _overrides(cls) or in_python and cls is Tensor) and cls not in map(type, asked):
            place = next((i for i, other in enumerate(asked) if issubclass(cls, type(other))), len(asked))
            asked.insert(place, arg)
    types = tuple(map(type, asked))
    if not types and names_its_own_class(function):
        types = (type(args[0]),)
    by_python = in_python and getattr(function, "__name__", "") not in _AS_GIVEN
    call = (function, types, args, kwargs) if kwargs or by_python else (function, types, args)
    if _stack.modes and not (_stack.top().is_last and on and any(_overrides(cls) for cls in types)):
        with _stack.without_top() as mode:
            answer = mode.__torch_function__
            if getattr(answer, "__self__", mode) is not mode:
                raise RuntimeError(
                    "Defining your mode's `__torch_function__` as a classmethod is not supported, please make it a plain method"
                )
            result = answer(*call)
        if result is not NotImplemented:
            return result
    for arg in asked:
        answer = arg.__torch_function__
        if getattr(answer, "__self__", None) is arg:
            _warn_of_plain_method(by_python)
        result = answer(*call)
        if result is not NotImplemented:
            return result
    name = getattr(function, "__name__", repr(function))
    if by_python:
        raise TypeError(
            f"no implementation found for '{resolve_name(function) or name}' on types that implement __torch_function__: "
            f"{list(types)}"
        )
    given = "".join(f"\n\n  - tensor subclass {cls!r}" for cls in types)
    raise TypeError(
        f"Multiple dispatch failed for 'torch.{name}'; all __torch_function__ handlers returned NotImplemented:{given}"
    )


def _warn_of_plain_method(by_python):
    """Functions in Python say each time that a `__torch_function__` is no classmethod, those in C++ once."""
    if by_python or _C._is_news("plain method"):
        words = "Defining your `__torch_function__` as a plain method is deprecated and will be an error in future"
        category = DeprecationWarning if by_python else UserWarning
        warnings.warn(f"{words}, please define it as a classmethod.", category, stacklevel=3 + (not by_python))


def _default(cls, func, types, args=(), kwargs=None):
    """Run the function on plain tensors; its tensors become ones of this class."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        result = func(*args, **(kwargs or {}))
        return result if func in get_default_nowrap_functions() else _converted(result, cls)


def _converted(result, cls):
    if isinstance(result, Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        return type(result)([_converted(r, cls) for r in result])
    return result


# ---- Modes ---------------------------------------------------------------------------------------------------------------


def _modes_changed(by):
    _begin()
    _C._override_modes(by, _attribute)


_stack = ModeStack(_modes_changed)


class TorchFunctionMode(Mode):
    """A context whose `__torch_function__(func, types, args, kwargs)` is asked of each function called in it.

    >>> import hookgrad as torch
    >>> class Logged(TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(resolve_name(func))
    ...         return func(*args, **(kwargs or {}))
    >>> with Logged():
    ...     _ = torch.ones(2).add(1)
    torch.ones
    torch.Tensor.add

    Inside of `__torch_function__` the mode is off, those around it are on.
    """

    _modes_on = _stack
    is_last = False

    def __init__(self):
        pass

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that calls each function as it is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _get_current_function_mode():
    return _stack.top()


def _get_current_function_mode_stack():
    return list(_stack.modes)


def _len_torch_function_stack():
    return len(_stack.modes)


def _get_function_stack_at(place):
    return _stack.modes[place]


def _F():
    from .nn import functional

    return functional


# ---- Names ------------------------------------------------------------------------------------------------------------------


def get_overridable_functions():
    """{namespace: list of the functions in it that a `__torch_function__` is asked of}."""
    import hookgrad as torch

    found = {}
    places = {
        torch: vars(_C),
        torch.nn.functional: vars(_F()),
        Tensor: Tensor.__dict__,
        torch.linalg: vars(torch.linalg),
    }
    for place, names in places.items():
        ops = [value for name, value in names.items() if isinstance(value, _METHODS) and not name.startswith("_")]
        found[place] = [f for f in ops if getattr(f, "__module__", "") != __name__]
    return found


@cache
def get_testing_overrides():
    """{each of these functions: a function that takes what it takes and returns -1}."""
    return {f: lambda *args, **kwargs: -1 for functions in get_overridable_functions().values() for f in functions}


# What PyTorch says it does not ask about: what takes no tensor, or asks for a new one.
_IGNORED = {
    "torch": """arange are_deterministic_algorithms_enabled as_strided as_tensor asarray bartlett_window blackman_window broadcast_shapes
    can_cast clear_autocast_cache compile cond device dtype empty empty_permuted empty_strided enable_grad eye fill finfo
    from_numpy frombuffer full get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype get_autocast_ipu_dtype get_autocast_xla_dtype
    get_default_device get_default_dtype get_deterministic_debug_mode get_float32_matmul_precision get_num_interop_threads get_num_threads
    get_rng_state hamming_window hann_window iinfo inference_mode initial_seed is_anomaly_check_nan_enabled is_anomaly_enabled
    is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled is_autocast_ipu_enabled is_autocast_xla_enabled
    is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled is_storage is_tensor is_warn_always_enabled
    kaiser_window layout linspace load logspace manual_seed memory_format no_grad normal ones promote_types rand rand_like randint
    randint_like randn randn_like randperm range result_type save scalar_tensor seed set_anomaly_enabled set_autocast_cache_enabled
    set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
    set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled set_default_device
    set_default_tensor_type set_deterministic_debug_mode set_float32_matmul_precision set_flush_denormal set_grad_enabled
    set_num_interop_threads set_num_threads set_printoptions set_rng_state set_warn_always tensor tril_indices triu_indices typename
    use_deterministic_algorithms vander vmap zeros""",
    "torch.nn.functional": "hardsigmoid hardswish sigmoid tanh upsample upsample_bilinear upsample_nearest",
    "torch.nn.init": """calculate_gain constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform xavier_normal
    xavier_uniform""",
    "torch.Tensor": """__delattr__ __delitem__ __dir__ __getattribute__ __hash__ __init__ __init_subclass__ __iter__ __new__ __setattr__
    __subclasshook__ __torch_function__ _make_subclass _typed_storage as_subclass new new_empty new_empty_strided
    new_full new_ones new_tensor new_zeros stride unflatten""",
}


@cache
def get_ignored_functions():
    """The functions that no `__torch_function__` is asked of, a set: PyTorch's list of them, as far as hookgrad has what is in it.

    >>> import hookgrad as torch
    >>> torch.zeros in get_ignored_functions(), torch.add in get_ignored_functions()
    (True, False)
    """
    import hookgrad as torch

    places = {"torch": torch, "torch.nn.functional": _F(), "torch.nn.init": torch.nn.init, "torch.Tensor": Tensor}
    found = {handle_torch_function}
    for place, names in _IGNORED.items():
        found |= {getattr(places[place], name) for name in names.split()}
    return found


def _index():
    if not _index_of:
        import hookgrad as torch

        for prefix, names in (
            ("torch", vars(_C)),
            ("torch.functional", {name: getattr(torch, name) for name in names_of_functional()}),
            ("torch.nn.init", vars(torch.nn.init)),
            ("torch.linalg", vars(_C.linalg)),
            ("torch.nn.functional", vars(_C.nn)),
            ("torch.nn.functional", vars(_F())),
            ("torch.Tensor", Tensor.__dict__),
        ):
            for name, value in names.items():
                _put_into_index(prefix, name, value)
        for name, public in {"__abs__": "abs", "__neg__": "neg", "__pos__": "positive"}.items():
            _index_of[getattr(Tensor, name)] = f"torch.Tensor.{public}"
    return _index_of


def _put_into_index(prefix, name, value):
    if prefix == "torch" and name in _AS_GIVEN:
        prefix = "torch.nn.functional"
    if isinstance(value, _METHODS) or callable(value) and (name[0] != "_" or name.endswith("__")):
        try:
            if name[0] != "_" or value not in _index_of:
                _index_of[value] = f"{prefix}.{name}"
        except TypeError:
            pass  # it cannot be hashed, and is no function


_index_of = {}


@cache
def _index_of_late():
    """The same with what comes late: names that nobody has used so far."""
    import hookgrad as torch

    for prefix, place in (
        ("torch.nn.functional", _F()),
        ("torch", torch),
        ("torch.linalg", torch.linalg),
        ("torch.special", torch.special),
    ):
        for name in dir(place):
            if name[0] != "_" and name != "Tensor":
                value = getattr(place, name, None)
                if getattr(value, "__hash__", None) and value not in _index_of:
                    _put_into_index(prefix, name, value)
    return _index_of


def resolve_name(f):
    """The name of a function that was overridden, "torch.Tensor.add"; None of one that is not known."""
    from ._ops import OpOverload, OpOverloadPacket

    if isinstance(f, (OpOverload, OpOverloadPacket)):
        return str(f)
    owner = getattr(f, "__self__", None)
    if owner is not None and getattr(f, "__name__", "") in ("__get__", "__set__"):
        return f"torch.Tensor.{owner.fget.__name__ if isinstance(owner, property) else owner.__name__}.{f.__name__}"
    if getattr(f, "__hash__", None) is None:
        return None
    return _index().get(f) or _names_of_asking.get(f) or _index_of_late().get(f)


def is_tensor_method_or_property(func):
    """Is it a method of Tensor, or what reads one of its attributes?"""
    return func.__name__ in ("__get__", "__set__") or func in Tensor.__dict__.values()


# ---- Functions of layers -------------------------------------------------------------------------------------------------

# Those that PyTorch has in C: their arguments come as they were given.
_AS_GIVEN = frozenset(
    """adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d
    conv_transpose2d conv_transpose3d cosine_similarity gelu hardshrink linear logsigmoid native_channel_shuffle one_hot
    log_sigmoid pairwise_distance pdist pixel_shuffle pixel_unshuffle prelu scaled_dot_product_attention softplus softshrink""".split()
)


@cache
def _begin():
    """Something overrides, for the first time: functions of nn.functional that are made of others are asked about as one.

    Before, none of them pays for it.
    """
    import hookgrad as torch

    _C._override_with(_call)
    F = _F()
    for name in dir(F):
        function = getattr(F, name)
        if isinstance(function, FunctionType) and name[0] != "_" and function.__module__.endswith("nn.functional"):
            vars(F)[name] = _asking(function)  # not by setattr(): that is a program's way (py_package.c)
            _names_of_asking[function] = f"torch.nn.functional.{name}"
            if vars(torch).get(name) is function:
                vars(torch)[name] = vars(F)[name]

    for prefix, place in (("torch", torch), ("torch.linalg", torch.linalg), ("torch.special", torch.special)):
        for name, function in list(vars(place).items()):
            vars(place)[name] = asked_about(function, name, prefix)
    for name in torch._VF.__all__:
        vars(torch._VF)[name] = getattr(torch, name)
    for name, function in Tensor.__dict__.items():
        if isinstance(function, FunctionType) and name[0] != "_" and not _is_of_program(function):
            _asking(function)  # called as Tensor.angle(x), too: of x.angle() the class is asked anyway


_HOMES = frozenset(
    "composites functional linalg old_linalg special windows _gamma _rare _recurrent _statistics".split()
)
_NO_OPS = frozenset(
    """broadcast_shapes can_cast is_storage is_tensor result_type compile set_default_device get_default_device use_deterministic_algorithms
    typename""".split()
)


def asked_about(function, name, prefix="torch"):
    """A function of torch's, or of one of its modules', that hookgrad has in Python: asked about as one. Others: as they are."""
    if (
        isinstance(function, FunctionType)
        and name[0] != "_"
        and name not in _NO_OPS
        and function.__module__.partition(".")[2] in _HOMES
    ):
        asking = _asking(function)
        _names_of_asking[asking] = _names_of_asking[function] = f"{prefix}.{name}"
        return asking
    return function


_names_of_asking = {}


def _is_of_program(method):
    """Did a program put it there? It may look at who called it, as nnsight's `backward` does."""
    return method.__globals__.get("__name__", "").partition(".")[0] != __package__


@cache
def _asking(function):
    """The function, asked about as one from here on.

    It stays the object it is, and a program's table of functions has it still, whenever that was made: its code is exchanged.
    """
    code = function.__code__
    inner = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    inner.__kwdefaults__, inner.__module__ = function.__kwdefaults__, function.__module__
    if hasattr(function, "__wrapped__"):
        inner.__wrapped__ = function.__wrapped__
    function.__globals__["_asked_functions"] = _asked_functions
    free = code.co_freevars  # as many as there are cells
    lines = ["def outer():", *[f"    {name} = None" for name in free], "    def call(*args, **kwargs):"]
    lines += [f"        {name}" for name in free]
    lines += [f"        return _asked_functions[{len(_asked_functions)}](args, kwargs)", "    return call"]
    made = {}
    exec(compile("\n".join(lines), code.co_filename, "exec"), made)
    _asked_functions.append(_asked(inner, function))
    function.__wrapped__ = inner
    function.__code__ = made["outer"]().__code__.replace(co_name=function.__name__)
    function.__defaults__ = function.__kwdefaults__ = None
    return function


_asked_functions = []


def _asked(inner, public):
    """What a call of `public` does, `inner` being the function that computes."""
    is_method = Tensor.__dict__.get(public.__name__) is public
    own = _in_python()
    key = public if public in own else inner
    if key in own and own[key] is None:
        as_given, in_python = True, True
    else:
        in_python = key in own or inner.__module__.endswith("nn.functional")
        as_given = not in_python or public.__name__ in _AS_GIVEN or public.__name__.endswith("_")

    def asked(args, kwargs):
        if _C._skips():  # it has been asked about: what it calls is
            _within.names.append(public.__name__)
            try:
                return inner(*args, **kwargs)
            finally:
                _within.names.pop()
        relevant = _flat(args, kwargs)
        if not has_torch_function(relevant):
            return inner(*args, **kwargs)
        if is_method:
            return _call(public, args, kwargs)
        if not as_given:
            args, kwargs = passed_on(_signature(inner), args, kwargs)
        return _ask(public, relevant, args, kwargs, in_python=in_python)

    return asked


class _Within(threading.local):
    """The functions of nn.functional that run, having been asked about."""

    def __init__(self):
        self.names = []


_within = _Within()
_signature = cache(signature)


@cache
def _signature_of_op(name):
    """The signature of an op of nn.functional, from the table of ops."""
    schema = max((row["schema"] for row in _C.op_table() if row["name"] == name and row["flags"] & _NN), key=len)
    found = re.findall(r"[(,] ?[\w?\[\]]+ (\w+)(?:=([^,)]+))?", schema)
    return Signature(
        [
            Parameter(
                "input" if name == "self" else name,
                Parameter.POSITIONAL_OR_KEYWORD,
                default=_DEFAULTS.get(name, literal_eval(default)) if default else Parameter.empty,
            )
            for name, default in found
        ]
    )


_DEFAULTS = {
    "_stacklevel": 3,
    "alpha": 1.0,
    "min_val": -1.0,
    "max_val": 1.0,
}  # what PyTorch's have, where the table has another


_NN = 4  # in the flags of such an op


# ---- Attributes and methods ----------------------------------------------------------------------------------------------


_NOT_ASKED = frozenset(["as_subclass"])
_METHODS = (FunctionType, MethodDescriptorType, type(Tensor.__dict__["add"]), type(_C.add))


def _attribute(self, name):
    """`__getattribute__` of overriding classes, and of all tensors while a mode is on: methods and attributes that are Tensor's own
    are asked about."""
    if name.startswith("__") or not _stack.modes and (_C._override_off(0) or not _overrides(type(self))):
        return _unasked(self, name)
    home = next((cls for cls in type(self).__mro__ if name in cls.__dict__), None)
    inherited = Tensor.__dict__[name] if home is Tensor else None
    if isinstance(inherited, (GetSetDescriptorType, property)):
        return _call(inherited.__get__, (self,), {})
    if not isinstance(inherited, _METHODS) or name in _NOT_ASKED:
        return _unasked(self, name)

    def method(*args, **kwargs):
        return _call(getattr(Tensor, name), (self, *args), kwargs)

    method.__name__ = name
    return method


def _unasked(self, name):
    if not _stack.modes:
        return object.__getattribute__(self, name)
    with _stack.without_all():
        return object.__getattribute__(self, name)


def _watch(cls):
    """A subclass of Tensor that does not count as a plain tensor has been made: from here on functions ask it."""
    _begin()
    if cls.__getattribute__ is Tensor.__getattribute__:
        cls.__getattribute__ = _attribute
