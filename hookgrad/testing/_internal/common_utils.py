"""The test case, the parameters and the switches of PyTorch's own tests, as far as tests on a CPU use them.

Source: torch/testing/_internal/common_utils.py, which is private: what it means is known from the tests that use it.
"""

import contextlib
import functools
import gc
import inspect
import itertools
import random
import sys
import unittest
import warnings

import hookgrad
from hookgrad import nn

from .. import (
    assert_close,
    make_tensor,  # noqa: F401 (imported from here by tests)
)

SEED = 1234
IS_WINDOWS, IS_MACOS, IS_LINUX = (sys.platform.startswith(name) for name in ("win32", "darwin", "linux"))
IS_FBCODE = IS_SANDCASTLE = IS_JETSON = IS_PPC = IS_S390X = False
TEST_CUDA = TEST_MULTIGPU = TEST_MPS = TEST_XPU = TEST_WITH_ROCM = TEST_WITH_TORCHDYNAMO = TEST_WITH_TORCHINDUCTOR = (
    False
)
TEST_WITH_CROSSREF = TEST_WITH_SLOW = TEST_WITH_ASAN = TEST_WITH_TSAN = TEST_SCIPY = TEST_MKL = TEST_CUDNN = False
TEST_NUMPY = True


class TestCase(unittest.TestCase):
    """unittest's, with comparisons that know tensors. Each test starts from the same seed."""

    precision = rel_tol = 0

    def setUp(self):
        set_rng_seed(SEED)

    def assertEqual(
        self, x, y, msg=None, *, atol=None, rtol=None, equal_nan=True, exact_dtype=True, exact_device=False,
        exact_layout=False, exact_stride=False, exact_is_coalesced=False,
    ):  # fmt: skip
        """Tensors and numbers within their dtype's tolerance, sequences and mappings (of modules, too) item by item, the rest by ==."""
        if _is_number(x) and isinstance(y, hookgrad.Tensor) and y.numel() == 1:
            y = y.item()
        elif _is_number(y) and isinstance(x, hookgrad.Tensor) and x.numel() == 1:
            x = x.item()
        if _is_number(x) and _is_number(y) and atol is None and rtol is None:
            atol, rtol = (1e-5, 1.3e-6) if isinstance(x, float) or isinstance(y, float) else (0.0, 0.0)  # float32's
        if isinstance(x, hookgrad.Tensor) != isinstance(y, hookgrad.Tensor) and x is not None and y is not None:
            exact_dtype = exact_dtype and _is_array(x if isinstance(y, hookgrad.Tensor) else y)
            x, y = _as_tensor(x), _as_tensor(y)
        if _is_comparable(x) and _is_comparable(y):
            assert_close(
                x,
                y,
                atol=atol,
                rtol=rtol,
                equal_nan=equal_nan,
                check_dtype=exact_dtype and not (_is_number(x) and _is_number(y)),
                check_stride=exact_stride,
                msg=msg,
            )
        elif _is_sequence(x) and _is_sequence(y) and len(x) == len(y):
            for a, b in zip(x, y):
                self.assertEqual(a, b, msg, atol=atol, rtol=rtol, equal_nan=equal_nan, exact_dtype=exact_dtype)
        elif _is_mapping(x) and _is_mapping(y) and set(x.keys()) == set(y.keys()):
            for key in x:
                self.assertEqual(
                    x[key], y[key], msg, atol=atol, rtol=rtol, equal_nan=equal_nan, exact_dtype=exact_dtype
                )
        else:
            super().assertEqual(x, y, msg)

    def compare_with_numpy(self, torch_fn, np_fn, tensor_like, device=None, dtype=None, **options):
        """Do both functions give the same, one of the tensor, one of the array?"""
        tensor = hookgrad.as_tensor(tensor_like, dtype=dtype)
        self.assertEqual(torch_fn(tensor), np_fn(tensor.numpy()), exact_dtype=False, **options)

    def assertNotEqual(self, x, y, msg=None, *, atol=None, rtol=None, **options):
        with self.assertRaises(AssertionError, msg=msg):
            self.assertEqual(x, y, msg, atol=atol, rtol=rtol, **options)

    def assertEqualIgnoreType(self, *args, **options):
        return self.assertEqual(*args, exact_dtype=False, **options)

    def assertExpectedInline(self, actual, expect, skip=0):
        super().assertEqual(str(actual).strip(), expect.strip())

    def assertObjectIn(self, obj, iterable):
        if not any(obj is one for one in iterable):
            raise AssertionError("object not found in iterable")

    @contextlib.contextmanager
    def assertWarnsOnceRegex(self, category, regex=""):
        with self.assertWarnsRegex(category, regex):
            yield

    def assertNotWarn(self, callable, msg=""):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            callable()
        self.assertFalse(seen, msg)


def _is_number(x):
    return isinstance(x, (int, float, complex))


def _is_comparable(x):
    return _is_number(x) or isinstance(x, hookgrad.Tensor) or _is_array(x)


def _as_tensor(x):
    return hookgrad.as_tensor(x) if isinstance(x, (int, float, list, tuple, range)) or _is_array(x) else x


def _is_array(x):
    return type(x).__module__ == "numpy"


def _is_sequence(x):
    return isinstance(x, (list, tuple, range, nn.Sequential, nn.ModuleList, nn.ParameterList))


def _is_mapping(x):
    return isinstance(x, (dict, nn.ModuleDict, nn.ParameterDict))


def run_tests(argv=None):
    """Run the tests of the script that calls it."""
    unittest.main(argv=argv or sys.argv)


# ---- One test for several values -----------------------------------------------------------------------------------------


class subtest:
    """Values for a parametrised test, under a name of their own."""

    def __init__(self, arg_values, name=None, decorators=()):
        self.arg_values, self.name, self.decorators = arg_values, name, decorators


class parametrize:
    """A test for each of several values of its arguments: `@parametrize("a,b", [(1, 2), (3, 4)])`.

    The class of the test needs `instantiate_parametrized_tests`.
    """

    def __init__(self, arg_str, arg_values, name_fn=None):
        self.names = [name.strip() for name in arg_str.split(",")]
        self.values, self.name_fn = list(arg_values), name_fn

    def __call__(self, test):
        test._parameters = [self, *getattr(test, "_parameters", [])]
        return test

    def cases(self):
        """(name, arguments, decorators) of each."""
        for i, values in enumerate(self.values):
            name, decorators = None, ()
            if isinstance(values, subtest):
                name, decorators, values = values.name, values.decorators, values.arg_values
            given = [values] if len(self.names) == 1 and not isinstance(values, (list, tuple)) else list(values)
            given = [values] if len(self.names) == 1 and len(given) != 1 else given
            if name is None:
                name = (
                    self.name_fn(*given)
                    if self.name_fn
                    else "_".join(map(self._said, self.names, given, itertools.repeat(i)))
                )
            yield name, dict(zip(self.names, given)), decorators

    @staticmethod
    def _said(name, value, i):
        if isinstance(value, (bool, int, float, str)) or value is None:
            return f"{name}_{value}".replace(".", "_").replace("-", "neg")
        return f"{name}_{getattr(value, '__name__', i)}" if not isinstance(value, hookgrad.dtype) else f"{name}_{i}"


def instantiate_parametrized_tests(cls):
    """Give the class a test for each case of its parametrised ones, in their place."""
    for name, test in list(vars(cls).items()):
        parameters = getattr(test, "_parameters", None) if inspect.isfunction(test) else None
        if parameters is None:
            continue
        delattr(cls, name)
        for case in itertools.product(*(p.cases() for p in parameters)):
            _add_case(cls, name, test, case)
    return cls


def _add_case(cls, name, test, case):
    arguments = {key: value for _, given, _ in case for key, value in given.items()}

    @functools.wraps(test)
    def one(self, **more):
        return test(self, **arguments, **more)

    for decorator in (d for _, _, decorators in case for d in decorators):
        one = decorator(one)
    del one.__wrapped__
    setattr(cls, "_".join([name, *(said for said, _, _ in case if said)]), one)


# ---- Settings for a while ------------------------------------------------------------------------------------------------


def set_rng_seed(seed=SEED):
    """Seed every generator a test may draw from; NumPy's where it is loaded."""
    hookgrad.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


@contextlib.contextmanager
def freeze_rng_state():
    """The generator goes on after the block as if it had not been there."""
    state = hookgrad.get_rng_state()
    try:
        yield
    finally:
        hookgrad.set_rng_state(state)


@contextlib.contextmanager
def set_default_dtype(dtype):
    was = hookgrad.get_default_dtype()
    hookgrad.set_default_dtype(dtype)
    try:
        yield
    finally:
        hookgrad.set_default_dtype(was)


@contextlib.contextmanager
def set_warn_always_context(new_val):
    """Whether what warns once warns each time: left to Python's filters, as ever."""
    yield


def suppress_warnings(test):
    """A decorator: the test's warnings are not shown."""

    @functools.wraps(test)
    def quiet(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return test(*args, **options)

    return quiet


@contextlib.contextmanager
def disable_gc():
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def gradcheck(fn, inputs, **options):
    """`autograd.gradcheck`; options it lacks are ignored."""
    return hookgrad.autograd.gradcheck(fn, inputs, **_known(hookgrad.autograd.gradcheck, options))


def gradgradcheck(fn, inputs, grad_outputs=None, **options):
    """`autograd.gradgradcheck`; options it lacks are ignored."""
    return hookgrad.autograd.gradgradcheck(fn, inputs, grad_outputs, **_known(hookgrad.autograd.gradgradcheck, options))


def _known(function, options):
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


# ---- Where a test does not apply -----------------------------------------------------------------------------------------


def _as_it_is(test=None, *args, **options):
    """A decorator, with or without arguments, for what is no matter here."""
    return test if inspect.isfunction(test) or inspect.isclass(test) else lambda test: test


skipIfTorchDynamo = skipIfTorchInductor = skipIfCrossRef = skipIfRocm = skipIfMPS = skipIfMps = skipIfWindows = (
    _as_it_is
)
skipIfNoLapack = skipIfXpu = slowTest = slowTestIf = xfailIfTorchDynamo = markDynamoStrictTest = serialTest = _as_it_is


def skipIf(condition, reason):
    return unittest.skipIf(condition, reason)
