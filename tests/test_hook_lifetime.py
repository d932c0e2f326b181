"""Hooks own what they close over and nothing else: no leak, and no death before time."""

import contextlib
import functools
import gc
import warnings
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn


def leaf(*values):
    return torch.tensor([float(v) for v in values], requires_grad=True)


class Watched:
    """Something a hook closes over, whose death can be seen."""


@pytest.fixture(autouse=True)
def by_count_alone():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def dies(make, *, at_once):
    """Build a graph with a hook that closes over a Watched; is that gone when everything else is?"""
    watched = Watched()
    seen = weakref.ref(watched)
    make(watched)
    del watched
    by_count = seen() is None
    gc.collect()
    assert seen() is None
    assert by_count == at_once


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.child = nn.Linear(2, 2)

    def forward(self, x):
        return self.child(x * self.w)


# ---- Hooks that close over nothing of the graph ----------------------------------------------------------------------


def tensor(w):
    leaf(1).register_hook(lambda grad: w)


def inner_tensor(w):
    y = leaf(1) * 2
    y.register_hook(lambda grad: w)


def post_accumulate(w):
    leaf(1).register_post_accumulate_grad_hook(lambda p: w)


def node(w):
    y = leaf(1) * 2
    y.grad_fn.register_hook(lambda gi, go: w)
    y.grad_fn.register_prehook(lambda go: w)


def accumulator(w):
    y = leaf(1) * 2
    y.grad_fn.next_functions[0][0].register_hook(lambda gi, go: w and None)
    y.backward()


def forward(w):
    net = Net()
    net.register_forward_pre_hook(lambda m, args, kwargs: w and None, with_kwargs=True)
    net.register_forward_hook(lambda m, args, out: w and None, always_call=True)
    net(torch.ones(2))


def backward(w):
    net = Net()
    net.register_full_backward_pre_hook(lambda m, go: w and None)
    net.register_full_backward_hook(lambda m, gi, go: w and None)
    net(leaf(1, 2)).sum().backward()


def backward_never_run(w):
    net = Net()
    net.register_full_backward_hook(lambda m, gi, go: w and None)
    net(leaf(1, 2))


def keeps_its_output(w):
    net = Net()

    def hook(module, args, output):
        module.last = output, w

    net.register_forward_hook(hook)
    net(leaf(1, 2))


def after_looking_at_dict(w):
    net = Net()
    net.register_forward_hook(lambda m, args, out: w and None)
    assert net.__dict__ and net._forward_hooks_with_kwargs is not None
    net(torch.ones(2))


def removed(w):
    x = leaf(1)
    x.register_hook(lambda grad: w).remove()
    y = x * 2
    y.register_hook(lambda grad: w)
    y._backward_hooks.clear()


def exception(w):
    def fails(*args):
        raise ValueError(w)

    x = leaf(1)
    x.register_hook(fails)
    y = x * 2
    try:
        y.backward()
    except ValueError as e:
        e.__traceback__ = None
    net = Net()
    net.register_forward_hook(fails)
    try:
        net(torch.ones(2))
    except ValueError as e:
        e.__traceback__ = None


def multi_grad_all(w):
    x, y = leaf(1), leaf(2)
    torch.autograd.graph.register_multi_grad_hook((x, y), lambda grads: w and None)
    (x * y).backward()


def multi_grad_any(w):
    x, y = leaf(1), leaf(2)
    torch.autograd.graph.register_multi_grad_hook((x, y), lambda grad: w and None, mode="any")
    (x * y).backward()


def multi_grad_of_a_backward_that_failed(w):
    x, y = leaf(1), leaf(2)
    z = y * 1
    z.register_hook(lambda grad: 1 / 0)
    torch.autograd.graph.register_multi_grad_hook((x, z), lambda grads: w and None)
    try:
        ((x * 2) * z).backward()
    except ZeroDivisionError as e:
        e.__traceback__ = None


def legacy_backward(w):
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.register_backward_hook(lambda m, gi, go: w and None)
        net(leaf(1, 2)).sum().backward()


def of_every_module(w):
    for kind in ("forward_pre", "forward", "full_backward_pre", "full_backward"):
        hook = functools.partial(lambda *args: w and None)
        handle = getattr(nn.modules.module, f"register_module_{kind}_hook")(hook)
        Net()(leaf(1, 2)).sum().backward()
        handle.remove()


def registration(w):
    for kind in ("parameter", "buffer", "module"):
        handle = getattr(nn.modules.module, f"register_module_{kind}_registration_hook")(
            lambda m, name, value: w and None
        )
        net = Net()
        net.register_buffer("b", torch.ones(1))
        handle.remove()


def state_dicts(w):
    net = Net()
    net.register_state_dict_pre_hook(lambda m, prefix, keep: w)
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: w and None)
    net.register_load_state_dict_pre_hook(lambda *args: w)
    net.register_load_state_dict_post_hook(lambda m, keys: w and None)
    net.load_state_dict(net.state_dict())


def saved_tensors(w):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (t, w), lambda packed: packed[0]):
        y = leaf(1).exp()
    y.backward()


def saved_tensors_never_unpacked(w):
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (t, w), lambda packed: packed[0]):
        leaf(1) * leaf(2)


def one_saved_tensor(w):
    leaf(1).exp().grad_fn._raw_saved_result.register_hooks(lambda t: (t, w), lambda packed: packed[0])


def optimizer(w):
    o = torch.optim.SGD([leaf(1)], lr=0.1)
    for kind in ("step", "state_dict", "load_state_dict"):
        getattr(o, f"register_{kind}_pre_hook")(lambda *args: w and None)
        getattr(o, f"register_{kind}_post_hook")(lambda *args: w and None)
    o.step()
    o.load_state_dict(o.state_dict())


def every_optimizer(w):
    handle = torch.optim.optimizer.register_optimizer_step_pre_hook(lambda *args: w and None)
    torch.optim.SGD([leaf(1)], lr=0.1).step()
    handle.remove()


def queued_callback(w):
    x = leaf(1)
    x.register_hook(lambda g: torch.autograd.Variable._execution_engine.queue_callback(lambda: w))
    (x * 2).backward()


def function(w):
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.w = w
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.saved_tensors[0]

    Keeps.apply(leaf(1)).backward()


def note_of_an_exception(w):
    """The note is words: it keeps nothing."""

    def fails(*args):
        raise ValueError("fails")

    net = Net()
    net.w_kept = w
    net.child.register_forward_hook(fails)
    try:
        net(torch.ones(2))
    except ValueError as e:
        assert "of module child (Linear) of Net" in e.__notes__[0]
        errors.append(e.with_traceback(None))


def handle_kept(w):
    net = Net()
    net.w_kept = w
    handles.append(net.register_forward_hook(lambda m, args, out: None))
    x = leaf(1)
    handles.append(x.register_hook(lambda grad: w))


errors, handles = [], []


@pytest.mark.parametrize(
    "make",
    [tensor, inner_tensor, post_accumulate, node, accumulator, forward, backward, backward_never_run, keeps_its_output,
     after_looking_at_dict, removed, exception, multi_grad_all, multi_grad_any, multi_grad_of_a_backward_that_failed,
     legacy_backward, of_every_module, registration, state_dicts, saved_tensors, saved_tensors_never_unpacked,
     one_saved_tensor, optimizer, every_optimizer, queued_callback, note_of_an_exception, handle_kept],
)  # fmt: skip
def test_freed_at_once_where_there_is_no_cycle(make):
    dies(make, at_once=True)


def test_a_class_is_a_cycle_and_a_function_is_collected_with_it():
    dies(function, at_once=False)


def test_handles_outlive_their_owners():
    handle_kept(None)
    for handle in handles:
        handle.remove()
        handle.remove()
    assert all(handle.hooks_dict_ref() is None for handle in handles)


def test_a_view_of_a_table_keeps_the_table_and_not_the_module():
    net = Net()
    net.register_forward_hook(print, with_kwargs=True)
    views = (
        net._forward_hooks.values(),
        net._forward_hooks.items(),
        iter(net._forward_hooks),
        net._forward_hooks_with_kwargs,
    )
    seen, table = weakref.ref(net), weakref.ref(net._forward_hooks)
    del net
    assert seen() is None and list(views[0]) == [print] and len(views[3]) == 1
    del views
    assert table() is None


# ---- Hooks that close over their own tensor, node or module -------------------------------------------------------------


def own_tensor(w):
    x = leaf(1)
    x.register_hook(lambda grad: (x, w) and None)
    (x * 2).backward()


def own_inner_tensor(w):
    y = leaf(1) * 2
    y.retain_grad()
    y.register_hook(lambda grad: (y, w) and None)
    (y * 2).backward()


def own_tensor_after(w):
    x = leaf(1)
    x.register_post_accumulate_grad_hook(lambda p: (x, w) and None)
    (x * 2).backward()


def own_grad(w):
    x = leaf(1)
    x.register_hook(lambda grad: setattr(x, "note", (x, w)))
    (x * 2).backward()


def own_node(w):
    fn = (leaf(1) * 2).grad_fn
    fn.register_hook(lambda gi, go: (fn, w) and None)


def own_node_before(w):
    y = leaf(1) * 2
    fn = y.grad_fn
    fn.register_prehook(lambda go: (fn, y, w) and None)
    y.backward()


def own_accumulator(w):
    y = leaf(1) * 2
    fn = y.grad_fn.next_functions[0][0]
    fn.register_hook(lambda gi, go: (fn, y, w) and None)
    y.backward()


def own_module(register):
    def make(w):
        net = Net()
        getattr(net, register)(lambda *args: (net, w) and None)
        net(leaf(1, 2)).sum().backward()

    return make


def own_output_with_backward_hook(w):
    net = Net()
    net.register_full_backward_hook(lambda m, gi, go: w and None)
    net.last = net(leaf(1, 2))


def own_gradients(w):
    net = Net()

    def hook(module, grad_input, grad_output):
        module.gradients = grad_input, grad_output, module, w

    net.register_full_backward_hook(hook)
    net(leaf(1, 2)).sum().backward()


def own_method(w):
    class Selfish(Net):
        def hook(self, module, args, output):
            return None

    net = Selfish()
    net.w_kept = w
    net.register_forward_hook(net.hook)
    net(torch.ones(2))


def own_table(w):
    net = Net()
    table = net._forward_hooks
    net.register_forward_hook(lambda m, args, out: (table, w) and None)
    assert net.__dict__


def own_flags(w):
    net = Net()
    flags = net._forward_hooks_with_kwargs
    net.register_forward_hook(lambda m, args, kwargs, out: (flags, flags.items(), w) and None, with_kwargs=True)
    assert net.__dict__


def own_names(w):
    net = Net()
    net.child.parent = net.__dict__, net._modules.values(), w


def own_dict(w):
    net = Net()
    net.state = net.__dict__
    net.w_kept = w


def own_handle(w):
    net = Net()
    net.handle = net.register_forward_hook(lambda m, args, out: (net.handle, w) and None)
    net.handle.owner = net


def child_and_parent(w):
    net = Net()
    object.__setattr__(net.child, "parent", net)
    net.w_kept = w
    net(leaf(1, 2)).sum().backward()


def own_multi_grad(mode):
    def make(w):
        x = leaf(1)
        torch.autograd.graph.register_multi_grad_hook((x,), lambda grads: (x, w) and None, mode=mode)
        (x * 2).backward()

    return make


def own_state_dicts(w):
    net = Net()
    for kind in ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post"):
        getattr(net, f"register_{kind}_hook")(lambda *args: (net, w) and None)
    net.load_state_dict(net.state_dict())


def own_saved_tensor(w):
    x = leaf(1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (t, box), lambda packed: packed[0]):
        box = [w]
        box.append(x.exp())


def own_raw_saved_tensor(w):
    y = leaf(1).exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: (y, w, t), lambda packed: packed[2])


def own_optimizer(w):
    o = torch.optim.SGD([leaf(1)], lr=0.1)
    for kind in ("step", "state_dict", "load_state_dict"):
        getattr(o, f"register_{kind}_pre_hook")(lambda *args: (o, w) and None)
    o.step()


def own_exception(w):
    """The traceback of an exception that the module keeps."""
    net = Net()

    def fails(*args):
        raise ValueError(net, w)

    net.register_forward_hook(fails)
    try:
        net(torch.ones(2))
    except ValueError as e:
        net.error = e


def own_ctx(w):
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.w = w
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            ctx.me = ctx, grad
            return grad

    y = Keeps.apply(leaf(1))
    y.grad_fn.output = y
    y.backward()


CYCLES = [
    own_multi_grad("all"), own_multi_grad("any"), own_state_dicts, own_saved_tensor, own_raw_saved_tensor, own_optimizer,
    own_exception, own_ctx,
    own_tensor, own_inner_tensor, own_tensor_after, own_grad, own_node, own_node_before, own_accumulator,
    own_output_with_backward_hook, own_gradients, own_method, own_table, own_flags, own_names, own_dict,
    own_handle, child_and_parent,
]  # fmt: skip


@pytest.mark.parametrize("make", CYCLES)
def test_cycles_are_collected(make):
    dies(make, at_once=False)


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_pre_hook",
        "register_forward_hook",
        "register_full_backward_pre_hook",
        "register_full_backward_hook",
        "register_backward_hook",
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_cycles_through_a_modules_hooks_are_collected(register):
    dies(own_module(register), at_once=False)


@pytest.mark.parametrize("ends", ["before its inputs", "with an error"])
def test_a_backward_that_ends_within_a_module_leaves_no_cycle(ends):
    """The node at the inputs holds what came by the outputs, here with a history that leads back to it."""

    def hook(module, grad_input, grad_output, kept):
        if ends == "with an error":
            raise KeyError(kept)

    def make(watched):
        module = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
        module.register_full_backward_hook(functools.partial(hook, kept=watched))
        inner = []
        module[0].register_forward_hook(lambda module, args, output: inner.append(output))
        x = leaf(1, 2)
        with contextlib.suppress(KeyError):
            out = module(x).exp().sum()
            torch.autograd.grad(out, x if ends == "with an error" else inner[0], create_graph=True)

    dies(make, at_once=False)


def test_legacy_hooks_in_the_graph_do_not_keep_their_module():
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.register_backward_hook(lambda m, grad_input, grad_output: None)
        out = net(leaf(2))
    seen = weakref.ref(net)
    del net
    assert seen() is None
    with pytest.raises(RuntimeError, match="dead Module"):
        out.sum().backward()


def test_a_module_is_freed_at_once_even_after_dict_was_looked_at():
    net = Net()
    seen, table, child = weakref.ref(net), weakref.ref(net._forward_hooks), weakref.ref(net.child)
    assert net.__dict__ and net(torch.ones(2)) is not None
    del net
    assert seen() is None and table() is None and child() is None


def test_a_removed_hook_is_dropped_at_once():
    net, watched = Net(), Watched()
    seen = weakref.ref(watched)
    handle = net.register_forward_hook(lambda m, a, o, w=watched: None)
    del watched
    assert seen() is not None
    handle.remove()
    assert seen() is None


def test_a_hook_that_removes_itself_lives_until_it_returns():
    watched = Watched()
    seen = weakref.ref(watched)
    x = leaf(1)
    handles = []

    def hook(grad, w=watched):
        handles.pop().remove()
        gc.collect()
        assert seen() is w
        return grad * 2

    handles.append(x.register_hook(hook))
    del watched, hook
    (x * 1).backward()
    assert x.grad.item() == 2.0
    assert seen() is None


def test_a_module_that_dies_while_it_runs():
    class Last(nn.Module):
        def forward(self, x):
            box.clear()
            gc.collect()
            return x + self.bonus

    box = [Last()]
    box[0].bonus = 1
    box[0].register_forward_hook(lambda m, a, out: out + m.bonus)
    assert box[0](1) == 3

    def clear(m, args):
        box.clear()

    box = [Last()]
    box[0].bonus = 1
    box[0].register_forward_pre_hook(clear)
    assert box[0](1) == 2


def test_a_table_cleared_by_a_destructor():
    class Clears:
        def __init__(self, table):
            self.table = table

        def __call__(self, *args):
            return None

        def __del__(self):
            self.table.clear()
            self.table[99] = print

    net = Net()
    table = net._forward_hooks
    for i in range(5):
        table[i] = Clears(table)
    del table[2]
    assert list(table) == [99]
    net._forward_hooks = {}
    assert not net._forward_hooks


def test_weak_references_and_finalizers():
    order = []
    net = Net()
    seen = weakref.ref(net, lambda ref: order.append("module"))
    table = weakref.ref(net._parameters, lambda ref: order.append("table"))
    fn = weakref.ref((leaf(1) * 2).grad_fn, lambda ref: order.append("node"))
    del net
    assert seen() is table() is fn() is None
    assert order == ["node", "module", "table"]


def test_a_deep_chain_with_hooks_is_freed():
    x = leaf(1)
    y = x
    for _ in range(20_000):
        y = y * 1
    y.register_hook(lambda grad: None)
    y.backward()
    seen = weakref.ref(y)
    del y
    assert seen() is None
    nested = nn.Identity()
    for _ in range(2_000):
        nested = nn.Sequential(nested)
    seen = weakref.ref(nested)
    del nested
    assert seen() is None


def test_cycles_through_an_operations_named_results_are_collected():
    x = leaf(1, 2)
    found = x.max(0)
    x.register_hook(lambda grad, found=found: None)
    seen = weakref.ref(x)
    del x, found
    gc.collect()
    assert seen() is None


def test_an_optimizers_table_forgets_where_hooks_came_from_that_left():
    table = torch.optim.SGD([leaf(1)], lr=0.1)._optimizer_step_pre_hooks
    for i in range(100):
        table[i] = print
        table.clear()
    assert len(table.sites) < 20
