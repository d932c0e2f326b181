"""What an exception out of a hook is told about it: loaded when the first one comes."""

import functools
import sys
import types
import weakref

_MARK = "raised in the "


def add(error, kind, hook, file, line, owner):
    """Give the error one note: which hook, where it was registered, and on what. Of nested hooks the innermost counts."""
    if not has_note(error):
        _append(error, f"{_MARK}{kind} {named(hook)}, registered at {_place(file, line)}, of {describe(owner)}")


def has_note(error):
    return any(str(note).startswith(_MARK) for note in getattr(error, "__notes__", ()))


def named(hook):
    """The name of a hook's function; of what only wraps one, that one's."""
    while (inner := _wrapped_by(hook)) is not None:
        hook = inner
    name = getattr(hook, "__qualname__", None)
    return name if isinstance(name, str) else type(hook).__qualname__


def _wrapped_by(hook):
    """The function in a partial or in a wrapper of our own. Others are not asked: a mock has any attribute one asks for."""
    if issubclass(type(hook), functools.partial):
        return hook.func
    try:
        return vars(hook).get("__hooked__")
    except TypeError:  # it has no dictionary
        return None


def _place(file, line):
    return "an unknown place" if file is None else f"{file}:{line}"


def _append(error, note):
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python 3.10, which neither keeps notes nor prints them
        try:
            error.__notes__ = [*getattr(error, "__notes__", ()), note]
        except AttributeError:  # an exception without a dictionary
            return
        _print_notes()


def _print_notes():
    """Have tracebacks show `__notes__` after the exception, as they do from Python 3.11 on."""
    import traceback

    probe = Exception()
    probe.__notes__ = ["shown"]
    shown = traceback.TracebackException.format_exception_only
    if "shown\n" in traceback.format_exception_only(probe):  # this has been done, by us or by whoever backports it
        return
    made = traceback.TracebackException.__init__

    def init(self, exc_type, exc_value, *args, **kwargs):
        made(self, exc_type, exc_value, *args, **kwargs)
        self.__notes__ = getattr(exc_value, "__notes__", ())

    def format_exception_only(self):
        yield from shown(self)
        for note in getattr(self, "__notes__", ()):
            yield f"{note}\n"

    traceback.TracebackException.__init__ = init
    traceback.TracebackException.format_exception_only = format_exception_only
    if sys.excepthook is sys.__excepthook__:  # the interpreter's own, which does not ask the module
        sys.excepthook = traceback.print_exception


def describe(owner):
    """A module by its path and class, a node by its name, an optimizer by its class."""
    from ._C import Module, _is_node_class

    if owner is None:
        return "a tensor"
    if isinstance(owner, str):
        return owner
    if _is_node_class(type(owner)):
        return f"what {owner.name()} made" if owner.name() != "torch::autograd::AccumulateGrad" else "a leaf"
    if not issubclass(type(owner), Module):
        return f"optimizer {type(owner).__name__}"
    path, root = path_of(owner)
    kind = type(owner).__name__
    return f"module {kind}" if root is owner else f"module {path} ({kind}) of {type(root).__name__}"


_paths = {}  # of living modules that were asked for, by id: when, the outermost one, the names from there, the module


def path_of(module):
    """The dotted path of a module from the outermost one that holds it, and that one.

    Modules do not know theirs: all objects are gone through. A program may stop every forward by an exception, so what was
    found is good until a module becomes another one's child, for as long as it leads there.
    """
    from ._C import _n_placed

    now = _n_placed()
    then, outermost, names, _ = _paths.get(id(module), (None, None, (), None))
    root = outermost() if then == now else None
    if root is None or _down(root, names) is not module:
        root, names = _search(module)
        known = weakref.ref(module, functools.partial(_forget, id(module)))
        _paths[id(module)] = now, weakref.ref(root), names, known
    return ".".join(names), root


def _forget(key, _):
    _paths.pop(key, None)


def _down(module, names):
    for name in names:
        module = _children(module).get(name)
    return module


def _children(module):
    return getattr(module, "_modules", None) or {}


def _search(module):
    import gc

    from ._C import Module

    parents = {}
    for parent in gc.get_objects():
        if issubclass(type(parent), Module):  # isinstance() would ask a stranger for its __class__, and run its code
            for name, child in _children(parent).items():
                parents.setdefault(id(child), (parent, name))
    names, root = [], module
    while id(root) in parents and len(names) < 100:
        root, name = parents[id(root)]
        names.append(name)
    return root, tuple(reversed(names))


# ---- Hooks that cannot be pickled ---------------------------------------------------------------------------------------


def check_pickle(hook, kind, table, file, line):
    """Raise what pickle will raise for a hook that it cannot find by name, with a note that says which hook it was.

    Whoever copies, or pickles in a way of his own (with a Pickler that takes functions by value), is left alone.
    """
    missing = _unreachable(hook)
    if missing is None or _is_left_alone(sys._getframe(1)):
        return
    import pickle

    try:
        pickle.dumps(missing)
    except Exception as error:
        where = f"registered at {_place(file, line)}, of {describe(_owner_of(table))}"
        _append(error, f"while pickling the {kind} {named(hook)}, {where}")
        raise


def _unreachable(hook):
    """What of a hook is a function or a class that its module does not have under its name; None: pickle finds all."""
    function = _wrapped_by(hook)
    if function is not None:
        return _unreachable(function)
    if isinstance(hook, types.MethodType):
        return None  # found by name on its object
    thing = hook if isinstance(hook, (types.FunctionType, type)) else type(hook)
    found = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return None if found is thing else hook


def _is_left_alone(frame):
    import pickle

    if frame.f_globals.get("__name__") == "copy":
        return True
    caller = frame.f_locals.get("self")
    return isinstance(caller, (pickle.Pickler, pickle._Pickler))


def _owner_of(table):
    import gc

    from ._C import Module

    for owner in gc.get_referrers(table):
        if issubclass(type(owner), Module):
            return owner
    return "a module"
