# A unittest.TestCase about module hooks, with PyTorch's phrases in its assertRaisesRegex and assertWarnsRegex.
import copy
import io
import pickle
import unittest
import warnings
from collections import namedtuple

import torch
import torch.nn as nn
from torch.utils.hooks import RemovableHandle


class ToyModel(nn.Module):
    def __init__(self, with_named_tuple=False):
        super().__init__()
        self.net1 = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.net2 = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
        self.with_named_tuple = with_named_tuple

    def forward(self, x):
        res = self.net2(self.net1(x))
        return ToyNamedTuple(res) if self.with_named_tuple else (res,)


ToyNamedTuple = namedtuple("ToyNamedTuple", "content")


def forward_hook(self, fired, hook_id, module, inp, out):
    fired.append(hook_id)
    self.assertEqual(id(module), id(self.model.net1[0]) if hasattr(self, "model") else id(module))
    self.assertEqual(len(inp), 1)


def kwarg_forward_hook(self, fired, hook_id, module, args, kwargs, out):
    fired.append(hook_id)
    return out + kwargs["bias"] if "bias" in kwargs else None


class KwModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net1 = Kw()

    def forward(self, x, bias=None):
        return self.net1(x, bias=bias)


class Kw(nn.Module):
    def forward(self, x, bias=None):
        return x + (0 if bias is None else bias)


class Failing(nn.Module):
    def __init__(self, fail=True):
        super().__init__()
        self.fail = fail

    def forward(self, x):
        if self.fail:
            raise RuntimeError("failing in forward")
        return x * 2


class TestHooks(unittest.TestCase):
    def test_forward_hooks(self):
        fired = []
        m = nn.Linear(3, 3)
        x = torch.randn(2, 3)
        hooks = [m.register_forward_hook(lambda *a, i=i: fired.append(i), prepend=i % 2 == 0) for i in range(5)]
        m(x)
        self.assertEqual(fired, [4, 2, 0, 1, 3])
        for h in hooks[::2]:
            h.remove()
        fired.clear()
        m(x)
        self.assertEqual(fired, [1, 3])

    def test_named_tuple(self):
        for nt in (True, False):
            m = ToyModel(nt)
            m.register_full_backward_hook(lambda m, gi, go: self.assertEqual((len(gi), len(go)), (1, 1)))
            out = m(torch.randn(1, 3, requires_grad=True))
            self.assertEqual(type(out).__name__, "ToyNamedTuple" if nt else "tuple")
            out[0].sum().backward()
            if nt:
                self.assertTrue(out.content is out[0])

    def test_kwargs(self):
        m = KwModel()
        b = torch.ones(3)

        def pre(mod, args, kwargs):
            kwargs["bias"] = 2 * kwargs["bias"]
            return args, kwargs

        def post(mod, args, kwargs, out):
            self.assertEqual(list(kwargs), ["bias"])
            return out + 1

        m.register_forward_pre_hook(pre, with_kwargs=True)
        m.register_forward_hook(post, with_kwargs=True)
        self.assertEqual(m(torch.zeros(3), bias=b).tolist(), [3.0] * 3)
        m2 = KwModel()
        m2.register_forward_pre_hook(lambda m, a, k: (1,), with_kwargs=True)
        with self.assertRaisesRegex(RuntimeError, "forward pre-hook must return None or a tuple"):
            m2(torch.zeros(3), bias=b)

    def test_always_call(self):
        m = Failing()
        log = []
        m.register_forward_hook(lambda m, i, o: log.append(("always", o)), always_call=True)
        m.register_forward_hook(lambda m, i, o: log.append("plain"))
        with self.assertRaisesRegex(RuntimeError, "failing in forward"):
            m(torch.ones(1))
        self.assertEqual(log, [("always", None)])

        def bad(m, i, o):
            raise ValueError("hook failed")

        m.register_forward_hook(bad, always_call=True)
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            with self.assertRaisesRegex(RuntimeError, "failing in forward"):
                m(torch.ones(1))
        print([str(x.message)[:120] for x in w])
        m.fail = False
        with self.assertRaisesRegex(ValueError, "hook failed"):
            m(torch.ones(1))

    def test_bw_hook_inplace_error_or_not(self):
        with self.assertWarnsRegex(FutureWarning, "Using a non-full backward hook"):
            m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            m.register_backward_hook(lambda m, gi, go: None)
            m(torch.ones(1, 2, requires_grad=True)).sum().backward()

    def test_mixing(self):
        m = nn.Linear(1, 1)
        m.register_backward_hook(lambda *a: None)
        with self.assertRaisesRegex(RuntimeError, "Cannot use both regular backward hooks and full backward hooks"):
            m.register_full_backward_hook(lambda *a: None)
        m = nn.Linear(1, 1)
        m.register_full_backward_hook(lambda *a: None)
        with self.assertRaisesRegex(RuntimeError, "Cannot use both regular backward hooks and full backward hooks"):
            m.register_backward_hook(lambda *a: None)

    def test_bw_wrong(self):
        m = nn.Linear(2, 2)
        h = m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
        with self.assertRaisesRegex(
            RuntimeError, "Backward hook returned an invalid number of grad_input, got 2, but expected 1"
        ):
            m(torch.ones(1, 2, requires_grad=True)).sum().backward()
        h.remove()
        m.register_full_backward_pre_hook(lambda m, go: (go[0], go[0], go[0]))
        with self.assertRaisesRegex(RuntimeError, "invalid number"):
            m(torch.ones(1, 2, requires_grad=True)).sum().backward()

    def test_backward_non_tensor(self):
        class N(nn.Module):
            def forward(s, x):
                return {"a": x}

        m = N()
        m.register_full_backward_hook(lambda *a: None)
        with self.assertWarnsRegex(
            UserWarning, "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors"
        ):
            m(torch.ones(1, requires_grad=True))

    def test_no_input_grad(self):
        m = nn.Linear(2, 2)
        seen = []
        m.register_full_backward_hook(lambda m, gi, go: seen.append(gi))
        with self.assertWarnsRegex(
            UserWarning,
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require gradients",
        ):
            m(torch.ones(1, 2)).sum().backward()
        self.assertEqual(seen, [(None,)])

    def test_global(self):
        from torch.nn.modules import module as M

        order = []
        hs = [
            M.register_module_forward_pre_hook(lambda m, i: order.append("gpre")),
            M.register_module_forward_hook(lambda m, i, o: order.append("gfwd")),
            M.register_module_full_backward_hook(lambda m, gi, go: order.append("gbwd")),
            M.register_module_full_backward_pre_hook(lambda m, go: order.append("gbpre")),
        ]
        m = nn.Linear(1, 1)
        m.register_forward_hook(lambda *a: order.append("fwd"))
        m(torch.ones(1, 1, requires_grad=True)).sum().backward()
        [h.remove() for h in hs]
        self.assertEqual(order, ["gpre", "gfwd", "fwd", "gbpre", "gbwd"])
        m(torch.ones(1, 1))
        self.assertEqual(len(order), 6)

    def test_remove_twice_and_ctx(self):
        m = nn.Linear(1, 1)
        with m.register_forward_hook(lambda *a: None) as h:
            self.assertIsInstance(h, RemovableHandle)
            self.assertEqual(len(m._forward_hooks), 1)
        self.assertEqual(len(m._forward_hooks), 0)
        h.remove()
        h.remove()

    def test_pickle_and_copy(self):
        m = nn.Linear(1, 1)
        m.register_forward_hook(print_hook)
        m2 = copy.deepcopy(m)
        self.assertEqual(len(m2._forward_hooks), 1)
        m3 = pickle.loads(pickle.dumps(m))
        self.assertEqual(list(m3._forward_hooks.values()), [print_hook])
        b = io.BytesIO()
        torch.save(m.state_dict(), b)
        b.seek(0)
        self.assertEqual(list(torch.load(b)), ["weight", "bias"])

    def test_sd(self):
        m = ToyModel()
        calls = []
        m.register_state_dict_pre_hook(lambda mod, prefix, keep: calls.append((prefix, keep)))
        m.net1.register_state_dict_post_hook(
            lambda mod, sd, prefix, meta: calls.append((prefix, len(sd), sorted(meta)))
        )
        m.state_dict()
        print(calls)
        m.register_load_state_dict_pre_hook(
            lambda mod, sd, prefix, meta, strict, missing, unexpected, errs: calls.append(
                ("pre", prefix, strict, missing, unexpected, errs)
            )
        )
        m.register_load_state_dict_post_hook(lambda mod, inc: calls.append(inc))
        calls.clear()
        with self.assertRaisesRegex(RuntimeError, 'Missing key\\(s\\) in state_dict: "net2.0.weight", "net2.0.bias"'):
            m.load_state_dict({k: v for k, v in m.state_dict().items() if "net2" not in k})
        print(calls)
        with self.assertRaisesRegex(
            RuntimeError,
            "size mismatch for net1.0.weight: copying a param with shape torch.Size\\(\\[1\\]\\) from checkpoint, the shape in current model is torch.Size\\(\\[4, 3\\]\\)",
        ):
            m.load_state_dict({**m.state_dict(), "net1.0.weight": torch.ones(1)})
        print(m.load_state_dict({}, strict=False))


def print_hook(*a):
    pass


if __name__ == "__main__":
    s = unittest.defaultTestLoader.loadTestsFromTestCase(TestHooks)
    r = unittest.TestResult()
    s.run(r)
    print(r.testsRun, [(str(t), e[-400:]) for t, e in r.failures + r.errors])
