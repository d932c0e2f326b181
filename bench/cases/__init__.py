"""What is raced: a file for each group.

A case is a function of the library. It prepares what it needs and returns the call to be timed, or a pair: the call, and a
function that gives what the two libraries are compared by where that is not the call's own result.
"""

import functools
import importlib
from collections.abc import Callable

GROUPS = ("dispatch", "tiny", "train", "infer", "kernels")

#: Group: title: what prepares the case.
CASES: dict[str, dict[str, Callable]] = {name: {} for name in GROUPS}


def group(name: str) -> Callable:
    """The decorator that adds cases to a group; what it is given beside the title, the function gets beside the library."""

    def case(title: str, **settings):
        def add(prepare: Callable) -> Callable:
            cases = CASES[name]
            assert title not in cases, title
            below = [t for t, c in cases.items() if c.func is prepare]
            cases[title] = functools.partial(prepare, **settings)
            for t in below:  # decorators are applied from below, and read from above
                cases[t] = cases.pop(t)
            return prepare

        return add

    return case


for _name in GROUPS:
    importlib.import_module(f"cases.{_name}")
