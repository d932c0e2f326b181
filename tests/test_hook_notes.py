"""An exception out of a hook keeps its type and traceback, and says which hook it was."""

import copy
import functools
import gc
import io
import operator
import pickle
import sys
import traceback
import types
from unittest import mock

import pytest

import hookgrad as torch
from hookgrad import nn


def fails(*args):
    raise ValueError("fails")


def here():
    """The line of the caller."""
    return f"{__file__}:{sys._getframe(1).f_lineno}"


def note_of(function):
    with pytest.raises(ValueError) as error:
        function()
    assert str(error.value) == "fails"
    assert traceback.extract_tb(error.tb)[-1].name == "fails"
    assert all("hookgrad/_notes.py" not in frame.filename for frame in traceback.extract_tb(error.tb))
    (note,) = error.value.__notes__
    return note


def leaf():
    return torch.ones(2, requires_grad=True)


def test_hooks_of_tensors_and_nodes():
    y = leaf() * 2
    y.register_hook(fails); place = here()  # fmt: skip # noqa: E702
    assert (
        note_of(y.sum().backward)
        == f"raised in the tensor hook fails, registered at {place}, of what MulBackward0 made"
    )
    x = leaf()
    x.register_hook(fails)
    assert note_of((x * 2).sum().backward).endswith(", of a leaf")
    x = leaf()
    x.register_post_accumulate_grad_hook(fails)
    assert note_of((x * 2).sum().backward).startswith("raised in the post-accumulate-grad hook fails, registered at ")
    for register, kind in (("register_prehook", "node pre-hook"), ("register_hook", "node hook")):
        y = leaf().exp()
        getattr(y.grad_fn, register)(fails)
        note = note_of(y.sum().backward)
        assert note.startswith(f"raised in the {kind} fails, ") and note.endswith(", of what ExpBackward0 made")


@pytest.mark.parametrize(
    "register, kind",
    [
        ("register_forward_pre_hook", "forward pre-hook"),
        ("register_forward_hook", "forward hook"),
        ("register_full_backward_pre_hook", "full backward pre-hook"),
        ("register_full_backward_hook", "full backward hook"),
    ],
)
def test_hooks_of_modules_name_the_path(register, kind):
    model = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))
    getattr(model[0][1], register)(fails); place = here()  # fmt: skip # noqa: E702
    note = note_of(lambda: model(leaf()).sum().backward())
    assert note == f"raised in the {kind} fails, registered at {place}, of module 0.1 (Linear) of Sequential"


def test_the_path_of_a_module_is_that_of_today():
    def of(module):
        return note_of(lambda: module(torch.ones(1, 2))).partition(", of module ")[2]

    inner = nn.Linear(2, 2)
    inner.register_forward_hook(fails)
    assert of(inner) == of(inner) == "Linear"
    model = nn.Sequential(nn.ReLU(), inner)
    assert of(model) == of(model) == "1 (Linear) of Sequential"
    outer = nn.Module()
    outer.net = model
    assert of(model) == "net.1 (Linear) of Module"
    del outer.net
    assert of(model) == "1 (Linear) of Sequential"
    model._modules = {"last": inner}
    assert of(inner) == "last (Linear) of Sequential"
    del model
    gc.collect()
    assert of(inner) == "Linear"


def test_global_hooks_name_the_module_they_ran_on():
    handle = nn.modules.module.register_module_forward_pre_hook(fails)
    place = here().rpartition(":")
    try:
        note = note_of(lambda: nn.ReLU()(leaf()))
    finally:
        handle.remove()
    assert note == (
        f"raised in the forward pre-hook fails, registered at {place[0]}:{int(place[2]) - 1}, of module ReLU"
    )


def test_wrong_results_are_noted_too():
    x = leaf()
    x.register_hook(lambda g: 3)
    with pytest.raises(TypeError, match="expected Variable, but hook returned 'int'") as error:
        (x * 2).sum().backward()
    (note,) = error.value.__notes__
    assert "the tensor hook test_wrong_results_are_noted_too.<locals>.<lambda>, registered at" in note


def test_of_nested_hooks_the_innermost_is_named():
    x, inner = leaf(), leaf()
    inner.register_hook(fails)

    def outer(grad):
        with torch.enable_grad():
            (inner * 2).sum().backward()

    x.register_hook(outer)
    assert "the tensor hook fails," in note_of((x * 2).sum().backward)


# ---- Hooks that Python calls --------------------------------------------------------------------------------------------


def noted(register, run, kind, owner):
    """A hook registered so, and run so, gets the note of its kind, its place and its owner; afterwards it is removed."""
    handle = register(fails); place = here()  # fmt: skip # noqa: E702
    try:
        assert note_of(run) == f"raised in the {kind} fails, registered at {place}, of {owner}"
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "register, kind",
    [
        ("register_state_dict_pre_hook", "state_dict pre-hook"),
        ("register_state_dict_post_hook", "state_dict post-hook"),
        ("_register_state_dict_hook", "state_dict post-hook"),
        ("register_load_state_dict_pre_hook", "load_state_dict pre-hook"),
        ("_register_load_state_dict_pre_hook", "load_state_dict pre-hook"),
        ("register_load_state_dict_post_hook", "load_state_dict post-hook"),
    ],
)
def test_hooks_of_state_dicts(register, kind):
    model = nn.Sequential(nn.Linear(2, 2))
    state = dict(model.state_dict())
    run = (lambda: model.load_state_dict(state)) if "load" in kind else model.state_dict
    fails.__dict__.clear()  # the public kind of post-hook marks its function
    noted(getattr(model[0], register), run, kind, "module 0 (Linear) of Sequential")


@pytest.mark.parametrize(
    "what, run",
    [
        ("buffer", lambda m: m.register_buffer("b", torch.ones(1))),
        ("parameter", lambda m: setattr(m, "p", nn.Parameter(torch.ones(1)))),
        ("module", lambda m: m.add_module("m", nn.ReLU())),
    ],
)
def test_hooks_of_registration(what, run):
    module = nn.Linear(2, 2)
    register = getattr(nn.modules.module, f"register_module_{what}_registration_hook")
    noted(register, lambda: run(module), f"{what} registration hook", "module Linear")


@pytest.mark.parametrize("kind", ["step", "state_dict", "load_state_dict"])
@pytest.mark.parametrize("when", ["pre", "post"])
def test_hooks_of_optimizers(kind, when):
    optimizer = torch.optim.SGD([leaf()], lr=0.1)
    state = optimizer.state_dict()
    run = {
        "step": optimizer.step,
        "state_dict": optimizer.state_dict,
        "load_state_dict": lambda: optimizer.load_state_dict(state),
    }[kind]
    noted(getattr(optimizer, f"register_{kind}_{when}_hook"), run, f"optimizer {kind} {when}-hook", "optimizer SGD")
    if kind == "step":
        register = getattr(torch.optim.optimizer, f"register_optimizer_step_{when}_hook")
        noted(register, run, f"optimizer step {when}-hook", "optimizer SGD")


def test_a_hook_that_removes_itself_is_still_placed():
    optimizer = torch.optim.SGD([leaf()], lr=0.1)

    def removes(*args):
        handle.remove()
        fails()

    handle = optimizer.register_step_pre_hook(removes); place = here()  # fmt: skip # noqa: E702
    assert f"registered at {place}, of optimizer SGD" in note_of(optimizer.step)


def test_each_place_of_a_loop_is_noted_and_so_is_code_made_anew():
    module = nn.Identity()

    def line_of(handle):
        note = note_of(lambda: module(torch.ones(1)))
        handle.remove()
        return int(note.partition("registered at ")[2].split(",")[0].rpartition(":")[2])

    first = sys._getframe().f_lineno + 2
    for _ in range(3):
        assert line_of(module.register_forward_hook(fails)) == first
        assert line_of(module.register_forward_hook(fails)) == first + 1
    for line in (1, 2, 3, 2, 1):
        made = {"module": module, "fails": fails}
        exec(compile("\n" * (line - 1) + "handle = module.register_forward_hook(fails)", "made", "exec"), made)
        assert line_of(made["handle"]) == line


@pytest.mark.parametrize("mode", ["all", "any"])
def test_hooks_on_several_tensors(mode):
    x = leaf()

    def register(hook):
        return torch.autograd.graph.register_multi_grad_hook((x,), hook, mode=mode)

    handle = register(fails)
    note = note_of((x * 2).sum().backward)
    handle.remove()
    assert note.startswith(f"raised in the multi-grad hook fails, registered at {__file__}:") and note.endswith(
        "a leaf"
    )


def test_hooks_of_saved_tensors():
    x = leaf()
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(fails, fails):
        note = note_of(x.exp)
        assert note.startswith(f"raised in the saved-tensor pack hook fails, registered at {__file__}:")
        assert note.endswith(", of what ExpBackward0 made") and note_of(lambda: x * x).endswith(", of a leaf")
    with hooks(lambda t: t, fails):
        y = x.exp()
    note = note_of(y.sum().backward)
    assert note.startswith("raised in the saved-tensor unpack hook fails,")
    assert note.endswith(", of what ExpBackward0 saved")
    y = x.exp()
    y.grad_fn._raw_saved_result.register_hooks(lambda t: t, fails); place = here()  # fmt: skip # noqa: E702
    assert note_of(y.sum().backward).startswith(f"raised in the saved-tensor unpack hook fails, registered at {place},")


def test_queued_callbacks():
    queue = torch.autograd.Variable._execution_engine.queue_callback
    x = leaf()
    x.register_hook(lambda grad: queue(fails)); place = here()  # fmt: skip # noqa: E702
    note = note_of((x * 2).sum().backward)
    assert note == f"raised in the queued callback fails, registered at {place}, of the backward"


def test_tracebacks_show_the_note():
    x = leaf()
    x.register_hook(fails)
    try:
        (x * 2).sum().backward()
    except ValueError:
        text = traceback.format_exc()
    assert text.splitlines()[-2] == "ValueError: fails"
    assert text.splitlines()[-1].startswith("raised in the tensor hook fails, registered at ")


# ---- Hooks that cannot be pickled ---------------------------------------------------------------------------------------


def nothing(*args):
    return None


class Callable:
    def __call__(self, *args):
        return None


def local_callables():
    def local(*args):
        return None

    class Local:
        def __call__(self, *args):
            return None

    return [(local, "local_callables.<locals>.local"), (Local(), "local_callables.<locals>.Local"),
            (functools.partial(local), "local_callables.<locals>.local")]  # fmt: skip


@pytest.mark.parametrize("hook", [nothing, print, Callable(), functools.partial(nothing), nn.Identity()])
def test_a_module_is_pickled_with_its_hooks(hook):
    model = nn.Sequential(nn.ReLU())
    model[0].register_forward_hook(hook)
    (copied,) = pickle.loads(pickle.dumps(model))[0]._forward_hooks.values()
    assert copied is hook or type(copied) is type(hook)


@pytest.mark.parametrize("hook, name", [(lambda *args: None, "<lambda>"), *local_callables()])
@pytest.mark.parametrize(
    "register, kind",
    [
        ("register_forward_pre_hook", "forward pre-hook"),
        ("register_full_backward_hook", "full backward hook"),
        ("register_state_dict_pre_hook", "state_dict pre-hook"),
        ("register_load_state_dict_pre_hook", "load_state_dict pre-hook"),
    ],
)
def test_a_hook_that_cannot_be_pickled_is_named(hook, name, register, kind):
    model = nn.Sequential(nn.ReLU())
    getattr(model[0], register)(hook); place = here()  # fmt: skip # noqa: E702
    for dump in (pickle.dumps, lambda m: torch.save(m, io.BytesIO())):
        with pytest.raises((AttributeError, pickle.PicklingError), match="Can't (pickle|get)") as error:
            dump(model)
        (note,) = error.value.__notes__
        assert note.startswith(f"while pickling the {kind} ") and note.endswith(
            f"{name}, registered at {place}, of module 0 (ReLU) of Sequential"
        )
    assert len(getattr(copy.deepcopy(model)[0], f"_{register[9:]}s".replace("full_", ""))) == 1


def test_picklers_with_ways_of_their_own_are_left_to_them():
    class ByName(pickle.Pickler):
        def reducer_override(self, o):
            return (functools.partial, (operator.neg,)) if isinstance(o, types.FunctionType) else NotImplemented

        def dumped(self, o):
            self.dump(o)

    model, file = nn.ReLU(), io.BytesIO()
    model.register_forward_hook(lambda *args: None)
    ByName(file).dumped(model)
    (hook,) = pickle.loads(file.getvalue())._forward_hooks.values()
    assert hook.func is operator.neg


def test_a_copied_hook_keeps_its_place():
    model = nn.ReLU()
    model.register_forward_hook(fails); place = here()  # fmt: skip # noqa: E702
    assert f"registered at {place}, of" in note_of(lambda: copy.deepcopy(model)(leaf()))


@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_forward_hook"])
def test_a_hook_that_has_any_attribute_is_named_by_its_class(register):
    model = nn.ReLU()
    getattr(model, register)(mock.MagicMock(side_effect=fails)); place = here()  # fmt: skip # noqa: E702
    assert f"hook MagicMock, registered at {place}, of module ReLU" in note_of(lambda: model(leaf()))
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(model)
