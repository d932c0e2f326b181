"""Whether operations are recorded: context managers that are decorators as well."""

from .. import _C

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled", "set_multithreading_enabled"]


class _DecoratorContextManager:
    """A setting for the length of a `with` block, of a function it decorates, or of a generator's every step."""

    def __call__(self, function):
        # torch lets `@no_grad` stand without parentheses for `@no_grad()`: __new__ sees to that.
        from functools import wraps

        if isinstance(function, type):
            import warnings

            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
                "functions or methods. To preserve the current behavior of class decoration, you can directly decorate the "
                "`__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & 0x20:  # a generator: the mode holds while it runs, not while it waits
            return wraps(function)(self._stepwise(function))

        @wraps(function)
        def wrapped(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)

        return wrapped

    def _stepwise(self, function):
        def wrapped(*args, **kwargs):
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            try:
                while True:
                    with self.clone():
                        result = step(value)
                    try:
                        value = yield result
                        step = generator.send
                    except GeneratorExit:
                        with self.clone():
                            generator.close()
                        raise
                    except BaseException as error:
                        step, value = generator.throw, error
            except StopIteration as stop:
                return stop.value

        return wrapped

    def clone(self):
        return type(self)()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """One that takes no settings, so that it decorates with and without parentheses."""

    def __new__(cls, orig_func=None):
        return super().__new__(cls) if orig_func is None else cls()(orig_func)


class no_grad(_C.GradMode, _DecoratorContextManager):
    """Operations inside are not recorded: what they make requires no gradient.

    >>> import hookgrad as torch
    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False

    Source: https://docs.pytorch.org/docs/stable/generated/torch.no_grad.html
    """

    _mode = False


class enable_grad(_C.GradMode, _DecoratorContextManager):
    """Operations inside are recorded, within `no_grad` as well.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.enable_grad.html
    """

    _mode = True


class set_grad_enabled(_DecoratorContextManager):
    """Record operations or not, from the call on; as a context manager, until the block ends.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_grad_enabled.html
    """

    def __init__(self, mode):
        self.mode = mode
        self.prev = _C._grad_mode(mode)

    def __call__(self, function):
        _C._grad_mode(self.prev)  # what it decorates is changed, not what follows
        return super().__call__(function)

    def __enter__(self):
        _C._grad_mode(self.mode)

    def __exit__(self, *exc):
        _C._grad_mode(self.prev)

    def __str__(self):
        return f"{type(self).__module__}.{type(self).__name__}(mode={self.mode})"

    __repr__ = __str__

    def clone(self):
        return type(self)(self.mode)


class inference_mode(_DecoratorContextManager):
    """As `no_grad`, and the tensors made inside can never take part in a graph; `enable_grad` inside changes nothing about
    that, `inference_mode(False)` does: it turns recording on.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html
    """

    def __new__(cls, mode=True):
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode=True):
        self.mode = mode

    def __enter__(self):
        self._was = _C._set_inference_mode(self.mode)
        self._grad_was = _C._grad_mode(not self.mode)
        self._duals = None
        if _C._has_duals():
            self._duals = _C._is_fwd_grad_enabled()
            _C._set_fwd_grad_enabled(not self.mode)

    def __exit__(self, *exc):
        _C._set_inference_mode(self._was)
        _C._grad_mode(self._grad_was)
        if self._duals is not None:
            _C._set_fwd_grad_enabled(self._duals)

    def clone(self):
        return type(self)(self.mode)


class set_multithreading_enabled(_DecoratorContextManager):
    """Remembers what is set, from the call on or until the block ends; the engine runs in the calling thread either way.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.set_multithreading_enabled.html
    """

    def __init__(self, mode):
        self.mode = mode
        self._was = _C._is_multithreading_enabled()
        _C._set_multithreading_enabled(mode)

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        _C._set_multithreading_enabled(self._was)

    def clone(self):
        return type(self)(self.mode)


class _Remembered(_DecoratorContextManager):
    """A setting that is kept, from the call on or until the block ends."""

    def __init__(self, mode=True):
        self._was = self._get()
        self.mode = mode
        self._set(mode)

    def __call__(self, function):
        self._set(self._was)
        return super().__call__(function)

    def __enter__(self):
        self._set(self.mode)

    def __exit__(self, *exc):
        self._set(self._was)

    def clone(self):
        return type(self)(self.mode)


class _force_original_view_tracking(_Remembered):
    """Whether a view of a changed base has the history of how it was made, or one by strides."""

    _get = staticmethod(_C._is_view_replay_enabled)
    _set = staticmethod(_C._set_view_replay_enabled)


class enforce_grad_layout_policy(_Remembered):
    """Whether `.grad` must lie in memory as its tensor does; else it may lie as the first gradient that arrives.

    >>> import hookgrad as torch
    >>> x = torch.ones(3, 2, requires_grad=True)
    >>> with torch.autograd.enforce_grad_layout_policy(False):
    ...     x.t().contiguous().sum().backward()

    Source: https://docs.pytorch.org/docs/stable/autograd.html
    """

    def __init__(self, enable=True):
        super().__init__(enable)

    _get = staticmethod(_C._is_grad_layout_enforcement_enabled)
    _set = staticmethod(_C._set_grad_layout_enforcement_enabled)


class _unsafe_preserve_version_counter(_DecoratorContextManager):
    """Inside, changes in place to a tensor, or several, do not count: derivatives that need the old values are wrong."""

    def __init__(self, tensors):
        self.tensors = (tensors,) if isinstance(tensors, _C.Tensor) else tuple(tensors)
        self.versions = tuple([t._version for t in self.tensors])

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        _C._unsafe_set_version_counter(self.tensors, self.versions)

    def clone(self):
        return type(self)(self.tensors)
