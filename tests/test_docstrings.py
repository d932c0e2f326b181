"""The examples of the docstrings run, and print what they say."""

import doctest
import importlib
import inspect
import pkgutil
from enum import EnumMeta

import pytest

import hookgrad

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(hookgrad.__path__, "hookgrad.") if not module.name.endswith(("__main__", "._C"))
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    tried = doctest.testmod(importlib.import_module(name), extraglobs={"torch": hookgrad, "nn": hookgrad.nn})
    assert tried.failed == 0


@pytest.mark.parametrize("cls", [hookgrad.Tensor, hookgrad.nn.Module.__base__])
def test_examples_of_methods_in_c(cls):
    """Which doctest does not find, as the core is no module of Python's."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    for name, method in vars(cls).items():
        text = method.__doc__ if inspect.ismethoddescriptor(method) else None
        runner.run(parser.get_doctest(text or "", {"torch": hookgrad, "nn": hookgrad.nn}, name, None, None))
    assert runner.failures == 0 and runner.tries > 0


PUBLIC = [hookgrad, hookgrad.nn, hookgrad.nn.functional, hookgrad.optim, hookgrad.autograd, hookgrad.autograd.graph]
PUBLIC += [hookgrad.Tensor, hookgrad.nn.Module, hookgrad.autograd.graph.Node, hookgrad.autograd.Function]


@pytest.mark.parametrize("home", PUBLIC)
def test_what_is_public_and_callable_has_a_docstring(home):
    named = {name: getattr(home, name) for name in dir(home) if not name.startswith("_")}
    assert [name for name, o in named.items() if callable(o) and not isinstance(o, EnumMeta) and not o.__doc__] == []


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = [e for name in MODULES for found in finder.find(importlib.import_module(name)) for e in found.examples]
    assert len(examples) > 50
