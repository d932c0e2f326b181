"""Where OpenBLAS lies: in the scipy-openblas32 package, which is looked at but not imported, as importing it is slow."""

import os
import sys
from importlib.machinery import PathFinder


def library():
    """The path of its shared library, or None. The core asks once, at the first product that is large enough."""
    spec = PathFinder.find_spec("scipy_openblas32", sys.path)
    if spec is None or not spec.submodule_search_locations:
        return None
    for place in spec.submodule_search_locations:
        directory = os.path.join(place, "lib")
        if not os.path.isdir(directory):
            continue
        for name in sorted(os.listdir(directory)):
            if name.startswith("libscipy_openblas") and (".so" in name or name.endswith(".dylib")):
                return os.path.join(directory, name)
    return None
