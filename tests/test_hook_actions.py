"""Every kind of hook does what it should not: nothing crashes, nothing stays alive, memory stays flat.

HOOKGRAD_ROUNDS says how often each does it (`make stress`: 10,000 times, under the sanitizers; a tenth of that where threads are
started).
"""

import contextlib
import ctypes
import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.autograd import Function, Variable, graph
from hookgrad.nn.modules import module as modules
from hookgrad.optim import optimizer as optimizers

ROUNDS = int(os.environ.get("HOOKGRAD_ROUNDS", "20"))
SECOND = []  # the second thread: a pool of one, another one for each hundred rounds


class Stopped(Exception):
    pass


class Setup:
    """One round: what a hook is registered on, who else knows that, and how the hook is set off.

    `owner` is alone in holding it, but for `parents`: containers of modules, which have others when it is dropped.
    """

    def __init__(self, owner, register, run, *, result=lambda *args: None, parents=(), watch=None):
        self.box, self.register, self.result, self.parents = [owner], register, result, parents
        self.start, self.handle, self.is_busy = run, None, False
        self.ref = weakref.ref(owner if watch is None else watch)

    def hook_up(self, action):
        def hook(*args):
            if not self.is_busy:  # what packs a tensor may save another one
                self.is_busy = True
                try:
                    action(self)
                finally:
                    self.is_busy = False
            return self.result(*args)

        self.handle = self.register(self.box[0], hook)
        return self

    def remove(self):
        if self.handle is not None:
            self.handle.remove()

    def add(self):
        if self.box:
            self.register(self.box[0], lambda *args: self.result(*args))

    def drop(self):
        self.box.clear()
        for parent in self.parents:
            for name in parent._modules:
                parent._modules[name] = nn.Identity()
        gc.collect(0)


# ---- What a hook does ---------------------------------------------------------------------------------------------------


def removes_itself(setup):
    setup.remove()


def adds_another(setup):
    setup.add()


def raises(setup):
    raise Stopped


def calls_backward(setup):
    with torch.enable_grad():
        z = torch.ones(2, requires_grad=True)
        (z * z).sum().backward()


def drops_its_owner(setup):
    setup.drop()


def runs_a_thread(setup):
    SECOND[0].submit(calls_backward, setup).result()


ACTIONS = [removes_itself, adds_another, raises, calls_backward, drops_its_owner, runs_a_thread]


# ---- The kinds ------------------------------------------------------------------------------------------------------------


def ones():
    return torch.ones(2, requires_grad=True)


def a_result():
    y = ones() * 2
    return Setup(y, lambda t, f: t.register_hook(f), y.sum().backward)


def a_result_that_retains():
    y = ones() * 2
    y.retain_grad()
    return Setup(y, lambda t, f: t.register_hook(f), y.sum().backward)


def a_leaf():
    x = ones()
    return Setup(x, lambda t, f: t.register_hook(f), (x * 2).sum().backward)


def a_leaf_of_grad():
    x = ones()
    loss = (x * 2).sum()
    return Setup(x, lambda t, f: t.register_hook(f), lambda s: torch.autograd.grad(loss, s.box[:]))


def an_accumulated_leaf():
    x = ones()
    return Setup(x, lambda t, f: t.register_post_accumulate_grad_hook(f), (x * 2).sum().backward)


def a_node():
    y = ones().exp()
    return Setup(y.grad_fn, lambda n, f: n.register_hook(f), y.sum().backward)


def a_node_before():
    y = ones().exp()
    return Setup(y.grad_fn, lambda n, f: n.register_prehook(f), y.sum().backward)


def an_accumulator():
    x = ones()
    y = x * 2
    return Setup(y.grad_fn.next_functions[0][0], lambda n, f: n.register_hook(f), y.sum().backward, watch=x)


def an_accumulator_before():
    x = ones()
    y = x * 2
    return Setup(y.grad_fn.next_functions[0][0], lambda n, f: n.register_prehook(f), y.sum().backward, watch=x)


def a_functions_node(register):
    def make():
        class Doubles(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, grad):
                return grad * 2

        y = Doubles.apply(ones())
        return Setup(y.grad_fn, lambda n, f: getattr(n, register)(f), y.sum().backward, watch=y)

    make.__name__ = f"a_functions_node_{register}"
    return make


def several_tensors(mode):
    def make():
        x, y = ones(), ones()

        def register(t, f):
            return graph.register_multi_grad_hook((t, y), f, mode=mode)

        return Setup(x, register, (x * y).sum().backward)

    make.__name__ = f"several_tensors_{mode}"
    return make


def a_module(register, **options):
    """Inside a container that lets go of it when it is dropped."""

    def make():
        child = nn.Linear(2, 2)
        parent = nn.Sequential(nn.Sequential(child, nn.ReLU(inplace=True)), nn.Tanh())

        def run(setup):
            parent(torch.ones(1, 2, requires_grad=True)).sum().backward()

        return Setup(child, lambda m, f: getattr(m, register)(f, **options), run, parents=[parent[0], parent])

    make.__name__ = "_".join([register, *options])
    return make


def a_module_of_two_derivatives(register):
    """The gradients that the hook sees have a history, which leads back to the module."""

    def make():
        child = nn.Linear(2, 2)
        parent = nn.Sequential(child, nn.Tanh())

        def run(setup):
            x = torch.ones(1, 2, requires_grad=True)
            (grad,) = torch.autograd.grad(parent(x).sum(), x, create_graph=True)
            grad.sum().backward()

        return Setup(child, lambda m, f: getattr(m, register)(f), run, parents=[parent])

    make.__name__ = f"a_module_of_two_derivatives_{register}"
    return make


def a_module_of_two_threads(register):
    """Both call it at the same time."""

    def make():
        child = nn.Linear(2, 2)
        parent = nn.Sequential(child, nn.Tanh())

        def call():
            with contextlib.suppress(Stopped):
                parent(torch.ones(1, 2, requires_grad=True)).sum().backward()

        def run(setup):
            threads = [threading.Thread(target=call) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return Setup(child, lambda m, f: getattr(m, register)(f), run, parents=[parent])

    make.__name__, make.starts_threads = f"a_module_of_two_threads_{register}", True
    return make


def a_module_that_failed():
    def fails(x):
        raise Stopped

    m = nn.Identity()
    m.forward = fails
    return Setup(m, lambda m, f: m.register_forward_hook(f, always_call=True), lambda s: s.box[0](ones()))


def every_module(register):
    def make():
        m = nn.Sequential(nn.Linear(2, 2))

        def run(setup):
            try:
                m(ones()).sum().backward()
            finally:
                setup.remove()
                getattr(modules, table_of(register)).clear()
                modules._global_is_full_backward_hook = None

        return Setup(m[0], lambda m, f: getattr(modules, register)(f), run, parents=[m])

    make.__name__ = register
    return make


def table_of(register):
    kind = register.removeprefix("register_module_").removesuffix("_hook").replace("full_backward", "backward")
    return f"_global_{kind}_hooks"


def every_registration(what):
    """Of a parameter, buffer or submodule."""
    register = f"register_module_{what}_registration_hook"

    def make():
        m = nn.Identity()

        def run(setup):
            try:
                if what == "module":
                    setup.box[0].child = nn.Identity()
                elif what == "buffer":
                    setup.box[0].register_buffer("child", torch.ones(1))
                else:
                    setup.box[0].child = nn.Parameter(torch.ones(1))
            finally:
                setup.remove()
                getattr(modules, table_of(register)).clear()

        return Setup(m, lambda m, f: getattr(modules, register)(f), run)

    make.__name__ = register
    return make


def a_state_dict(register, *, loads=False):
    def make():
        m = nn.Linear(1, 1)
        state = dict(m.state_dict())

        def run(setup):
            return setup.box[0].load_state_dict(state) if loads else setup.box[0].state_dict()

        return Setup(m, lambda m, f: getattr(m, register)(f), run)

    make.__name__ = register.strip("_")
    return make


def an_optimizer(register, run):
    def make():
        p = torch.ones(2, requires_grad=True)
        p.grad = torch.ones(2)
        optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9)
        return Setup(optimizer, lambda o, f: getattr(o, register)(f), lambda s: run(s.box[0]))

    make.__name__ = f"optimizer_{register}"
    return make


def every_optimizer(register):
    def make():
        p = torch.ones(2, requires_grad=True)
        optimizer = torch.optim.SGD([p], lr=0.1)

        def run(setup):
            try:
                setup.box[0].step()
            finally:
                setup.remove()
                optimizers._global_optimizer_pre_hooks.clear()
                optimizers._global_optimizer_post_hooks.clear()

        return Setup(optimizer, lambda o, f: getattr(optimizers, register)(f), run)

    make.__name__ = register
    return make


class Level:
    """Saved-tensor hooks in force until removed."""

    def __init__(self, pack, unpack):
        self.level = graph.saved_tensors_hooks(pack, unpack)
        self.level.__enter__()

    def remove(self):
        level, self.level = self.level, None
        if level is not None:
            level.__exit__()


def saved_tensors(which):
    def make():
        x = ones()

        def register(t, f):
            return Level(f, lambda t: t) if which == "pack" else Level(lambda t: t, f)

        def run(setup):
            x = setup.box[0]
            try:
                y = x.exp() * x
                setup.remove()
                y.sum().backward()
            finally:
                while graph._C._autograd._top_saved_tensors_default_hooks(True) is not None:
                    graph._C._autograd._pop_saved_tensors_default_hooks()

        return Setup(x, register, run, result=lambda t: t)

    make.__name__ = f"saved_tensors_{which}"
    return make


def a_raw_saved_tensor(which):
    def make():
        y = ones().exp()
        loss = y.sum()

        def register(node, f):
            saved = node._raw_saved_result
            try:
                saved.register_hooks(*([f, lambda t: t] if which == "pack" else [lambda t: t, f]))
            except RuntimeError as e:
                assert "hooks have already been set" in str(e)

        def run(setup):
            loss.backward()

        return Setup(y.grad_fn, register, run, result=lambda t: t)

    make.__name__ = f"a_raw_saved_tensor_{which}"
    return make


def a_queued_callback():
    x = ones()

    def register(t, f):
        return t.register_hook(lambda grad: Variable._execution_engine.queue_callback(f))

    return Setup(x, register, (x * 2).sum().backward)


def a_function(which):
    """Forward and backward as places where things happen."""

    def make():
        x = ones()
        inner = []

        class Calls(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                if which == "forward":
                    inner[0]()
                return x * 2

            @staticmethod
            def backward(ctx, grad):
                if which == "backward":
                    inner[0]()
                return grad * ctx.saved_tensors[0]

        def run(setup):
            Calls.apply(setup.box[0]).sum().backward()

        return Setup(x, lambda t, f: inner.append(f), run)

    make.__name__ = f"a_function_{which}"
    return make


KINDS = [
    a_result, a_result_that_retains, a_leaf, a_leaf_of_grad, an_accumulated_leaf, a_node, a_node_before, an_accumulator,
    an_accumulator_before, a_functions_node("register_hook"), a_functions_node("register_prehook"),
    several_tensors("all"), several_tensors("any"),
    a_module("register_forward_pre_hook"), a_module("register_forward_pre_hook", with_kwargs=True, prepend=True),
    a_module("register_forward_hook"), a_module("register_forward_hook", with_kwargs=True, always_call=True),
    a_module_that_failed, a_module("register_full_backward_pre_hook"), a_module("register_full_backward_hook"),
    a_module("register_backward_hook"),
    *map(a_module_of_two_derivatives, ["register_full_backward_pre_hook", "register_full_backward_hook"]),
    *map(a_module_of_two_threads, ["register_forward_pre_hook", "register_forward_hook", "register_full_backward_hook"]),
    every_module("register_module_forward_pre_hook"), every_module("register_module_forward_hook"),
    every_module("register_module_full_backward_pre_hook"), every_module("register_module_full_backward_hook"),
    every_module("register_module_backward_hook"),
    every_registration("parameter"), every_registration("buffer"), every_registration("module"),
    a_state_dict("register_state_dict_pre_hook"), a_state_dict("register_state_dict_post_hook"),
    a_state_dict("_register_state_dict_hook"), a_state_dict("register_load_state_dict_pre_hook", loads=True),
    a_state_dict("_register_load_state_dict_pre_hook", loads=True),
    a_state_dict("register_load_state_dict_post_hook", loads=True),
    an_optimizer("register_step_pre_hook", lambda o: o.step()), an_optimizer("register_step_post_hook", lambda o: o.step()),
    an_optimizer("register_state_dict_pre_hook", lambda o: o.state_dict()),
    an_optimizer("register_state_dict_post_hook", lambda o: o.state_dict()),
    an_optimizer("register_load_state_dict_pre_hook", lambda o: o.load_state_dict(o.state_dict())),
    an_optimizer("register_load_state_dict_post_hook", lambda o: o.load_state_dict(o.state_dict())),
    every_optimizer("register_optimizer_step_pre_hook"), every_optimizer("register_optimizer_step_post_hook"),
    saved_tensors("pack"), saved_tensors("unpack"), a_raw_saved_tensor("pack"), a_raw_saved_tensor("unpack"),
    a_queued_callback, a_function("forward"), a_function("backward"),
]  # fmt: skip


# ---- The rounds -----------------------------------------------------------------------------------------------------------


ALLOCATED = getattr(ctypes.CDLL(None), "__sanitizer_get_current_allocated_bytes", None)
SLACK = 2**20 if ALLOCATED else 2**23


def memory():
    """Bytes in use: as AddressSanitizer counts them where it runs, else what the process has resident."""
    if ALLOCATED:
        ALLOCATED.restype = ctypes.c_size_t
        return ALLOCATED()
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


@pytest.fixture(autouse=True, scope="module")
def what_was_there_before():
    """Is left out of collections, and of the search for a module's path."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def one_round(make, action):
    setup = make()
    run = setup.start
    try:
        setup.hook_up(action)
        run(setup) if run.__name__ in ("run", "<lambda>") else run()
    except Stopped:
        assert action is raises or make is a_module_that_failed
    return setup.ref


def rounds(make, action, n):
    """Objects and bytes that are in use after n rounds; whatever a hook was registered on is gone."""
    for first in range(0, n, 100):
        with ThreadPoolExecutor(1) as thread:
            SECOND[:] = [thread]
            refs = [one_round(make, action) for _ in range(min(100, n - first))]
        SECOND.clear()
        del thread
        gc.collect()
        assert all(ref() is None for ref in refs)
    del refs
    return len(gc.get_objects()), memory()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("action", ACTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda f: f.__name__)
def test_hooks_that_meddle(kind, action):
    n = max(ROUNDS // 10, 20) if hasattr(kind, "starts_threads") else ROUNDS  # each of which takes ten times as long
    rounds(kind, action, max(n // 50, 20))
    objects, before = rounds(kind, action, max(n // 50, 20))
    more_objects, after = rounds(kind, action, n)
    assert more_objects <= objects + 50
    assert after < before + SLACK + n * 8, f"memory grew from {before} to {after} bytes in {n} rounds"
