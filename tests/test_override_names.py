"""The names under which functions show themselves to a mode and to who prints them: PyTorch's, also where they differ from the
name that a program has used; and what else a mode's reach depends on."""

import pytest

import hookgrad as torch
from hookgrad import overrides
from hookgrad.nn import functional as F
from hookgrad.overrides import TorchFunctionMode, resolve_name

X, N, B = torch.ones(2, 2), torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)


class Names(TorchFunctionMode):
    def __init__(self):
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append((func.__name__, resolve_name(func)))
        return func(*args, **(kwargs or {}))


def seen(call):
    with Names() as mode:
        call()
    return mode.seen


OPERATORS = [
    (lambda: X**2, "pow", "__pow__"), (lambda: 2**X, "__rpow__", "__rpow__"), (lambda: 2 / X, "__rdiv__", "__rtruediv__"),
    (lambda: 1 - X, "__rsub__", "__rsub__"), (lambda: 1 + X, "add", "add"), (lambda: True | B, "bitwise_or", "bitwise_or"),
    (lambda: True & B, "bitwise_and", "bitwise_and"), (lambda: 1 << N, "__rlshift__", "__rlshift__"),
]  # fmt: skip


@pytest.mark.parametrize("call, name, method", OPERATORS, ids=[f"{row[1]}" for row in OPERATORS])
def test_operators_have_pytorchs_names(call, name, method):
    assert seen(call) == [(name, f"torch.Tensor.{method}")]


def test_operators_in_place_have_pytorchs_names():
    def change():
        x, n = X.clone(), N.clone()
        x **= 2
        x += 1
        n |= 1
        n <<= 1

    names = [name for name, _ in seen(change)]
    assert names == ["clone", "clone", "pow_", "add_", "__ior__", "__ilshift__"]


FUNCTIONS = [
    (torch.linalg.inv, "linalg_inv", "torch.linalg.inv"),
    (torch.linalg.norm, "linalg_norm", "torch.linalg.norm"),
    (torch.special.erf, "special_erf", "torch.special.erf"),
    (torch.special.psi, "special_psi", "torch.special.psi"),
    (torch.special.ndtr, "special_ndtr", "torch.special.ndtr"),
    (torch.digamma, "digamma", "torch.digamma"),
    (F.logsigmoid, "log_sigmoid", "torch.nn.functional.logsigmoid"),
    (F.interpolate, "interpolate", "torch.nn.functional.interpolate"),
    (torch.angle, "angle", "torch.angle"),
    (torch.conv2d, "conv2d", "torch.nn.functional.conv2d"),
    (torch.Tensor.__pow__, "pow", "torch.Tensor.__pow__"),
    (torch.Tensor.__neg__, "__neg__", "torch.Tensor.neg"),
]


@pytest.mark.parametrize("function, name, resolved", FUNCTIONS, ids=[row[1] for row in FUNCTIONS])
def test_functions_have_pytorchs_names(function, name, resolved):
    assert (function.__name__, resolve_name(function)) == (name, resolved)


def test_what_is_one_function_in_pytorch_is_one_here():
    for name in """adaptive_avg_pool1d avg_pool1d conv1d conv2d conv3d conv_transpose2d cosine_similarity hardshrink pixel_shuffle
            prelu relu_ threshold_""".split():
        assert getattr(F, name) is getattr(torch, name)
    for name in "avg_pool2d gelu linear one_hot scaled_dot_product_attention softplus softshrink".split():
        assert getattr(F, name) is getattr(torch._C._nn, name)
    assert F.logsigmoid is torch._C._nn.log_sigmoid and F.silu is not torch._C._nn.silu


def test_what_is_no_function_of_torchs_has_no_name():
    assert resolve_name(print) is None and resolve_name([]) is None


def test_functions_say_that_they_are_torchs(run_python):
    code = (
        "from hookgrad import _standin; _standin.install()\n"
        "import torch, torch.nn.functional as F\n"
        "print(torch.add.__module__, F.relu.__module__, F.interpolate.__module__, F.mse_loss.__module__)\n"
        "import pickle\n"
        "print(pickle.loads(pickle.dumps([torch.add, F.relu, torch.linalg.inv])) == [torch.add, F.relu, torch.linalg.inv])\n"
    )
    done = run_python("-c", code)
    assert done.stdout.splitlines() == ["torch torch.nn.functional torch.nn.functional torch.nn.functional", "True"], (
        done
    )


def test_an_operator_named_anew_computes_as_it_did():
    class Kept(torch.Tensor):
        pass

    for x in (
        torch.full((2,), 3.0),
        torch.nn.Parameter(torch.full((2,), 3.0)),
        torch.full((2,), 3.0).as_subclass(Kept),
    ):
        assert (x**2).tolist() == [9.0, 9.0] and (2**x).tolist() == [8.0, 8.0] and (6 / x).tolist() == [2.0, 2.0]
        assert pow(x, 2).tolist() == [9.0, 9.0] and x.__pow__(2).tolist() == [9.0, 9.0]
        with pytest.raises(TypeError, match="unsupported operand"):
            x ** "a"


# ---- Who is asked ----------------------------------------------------------------------------------------------------------


class Stranger:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__, types


@pytest.mark.parametrize("call", [lambda s: X[s], lambda s: X[0, s]])
def test_a_stranger_as_an_index_is_asked(call):
    assert call(Stranger()) == ("__getitem__", (Stranger,))


def test_a_stranger_in_an_assignment_is_asked():
    asked = []

    class Told(Stranger):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            asked.append((func.__name__, len(args)))

    x = torch.ones(2)
    x[Told()] = 1
    x[0] = Told()
    assert asked == [("__setitem__", 3)] * 2 and x.tolist() == [1.0, 1.0]
    with pytest.raises(IndexError, match="only integers"):
        x[object()]


def test_a_stranger_in_a_list_is_asked():
    assert torch.stack([Stranger()]) == ("stack", (Stranger,))
    assert torch.cat([X, Stranger()])[0] == "cat"


def test_a_table_of_functions_made_before_is_found_in(run_python):
    code = (
        "import hookgrad as torch, hookgrad.nn.functional as F\n"
        "from hookgrad.nn.functional import interpolate\n"
        "table = {F.cross_entropy: 'ce', F.mse_loss: 'mse', torch.einsum: 'einsum', torch.linalg.pinv: 'pinv', interpolate: 'up',\n"
        "         F.linear: 'linear', torch.angle: 'angle'}\n"
        "class Duck:\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, func, types, args=(), kwargs=None):\n"
        "        return table.get(func, NotImplemented)\n"
        "d = Duck()\n"
        "print(torch.add(torch.ones(1), 1).item(), F.mse_loss(torch.ones(1), torch.zeros(1)).item())\n"
        "try: torch.ones(1) + d\n"
        "except TypeError as error: print('TypeError')\n"
        "print(F.cross_entropy(d, d), F.mse_loss(d, d), torch.einsum('i', d), torch.linalg.pinv(d), interpolate(d, 2),\n"
        "      F.linear(d, d), torch.angle(d))\n"
        "print(F.mse_loss(torch.ones(2), torch.zeros(2), reduction='sum').item(), F.mse_loss.__name__)\n"
        "try: F.dropout(d)\n"
        "except TypeError as error: print(error)\n"
    )
    done = run_python("-c", code)
    assert done.stdout.splitlines() == [
        "2.0 1.0",
        "TypeError",
        "ce mse einsum pinv up linear angle",
        "2.0 mse_loss",
        "no implementation found for 'torch.nn.functional.dropout' on types that implement __torch_function__: "
        "[<class '__main__.Duck'>]",
    ], done


def test_strangers_in_products_and_in_autograd_are_asked():
    s = Stranger()
    assert (torch.ones(2, 2) @ s)[0] == "matmul"
    assert torch.autograd.grad(s, s)[0] == "grad" and torch.autograd.backward(s)[0] == "backward"
    with pytest.raises(TypeError):
        torch.ones(2, 2) @ object()
    x = torch.ones(2, requires_grad=True)
    (grad,) = torch.autograd.grad([x.sum()], iter([x]))
    assert grad.tolist() == [1.0, 1.0]


def test_modes_are_off_where_all_is_disabled():
    with Names() as mode:
        assert torch._C._len_torch_function_stack() == 1 and torch._C._get_function_stack_at(0) is mode
        with torch._C.DisableTorchFunction():
            assert torch._C._is_torch_function_all_disabled()
            X.sum()
        with torch._C.DisableTorchFunctionSubclass():
            assert not torch._C._is_torch_function_all_disabled()
            X.mean()
    assert mode.seen == [("mean", "torch.Tensor.mean")] and not torch._C._len_torch_function_stack()


def test_classes_are_asked_again_where_they_are_enabled():
    class Kept(torch.Tensor):
        pass

    x = X.as_subclass(Kept)
    with torch._C.DisableTorchFunctionSubclass():
        assert type(x + 1) is torch.Tensor
        guard = torch._C._EnableTorchFunction()
        assert type(x + 1) is Kept
        del guard
        assert type(x + 1) is torch.Tensor
        with overrides._enable_torch_function():
            assert type(x + 1) is Kept
    assert type(x + 1) is Kept


def test_a_mode_that_declines_is_asked_again_about_plain_tensors():
    class Kept(torch.Tensor):
        pass

    class Plain(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.calls += 1
            return NotImplemented if any(t is not torch.Tensor for t in types) else func(*args, **(kwargs or {}))

    with Plain() as mode:
        assert type(torch.neg(X.as_subclass(Kept))) is Kept
    assert mode.calls == 2


def test_a_classmethod_of_a_mode_is_refused():
    class Wrong(TorchFunctionMode):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func(*args)

    with pytest.raises(RuntimeError, match="classmethod is not supported, please make it a plain method"), Wrong():
        X + X
