"""The examples of the docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import hookgrad

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(hookgrad.__path__, "hookgrad.") if not module.name.endswith(("__main__", "._C"))
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    tried = doctest.testmod(importlib.import_module(name), extraglobs={"torch": hookgrad, "nn": hookgrad.nn})
    assert tried.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = [e for name in MODULES for found in finder.find(importlib.import_module(name)) for e in found.examples]
    assert len(examples) > 50
