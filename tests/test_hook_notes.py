"""An exception out of a hook keeps its type and traceback, and says which hook it was."""

import sys
import traceback

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
