"""What an exception out of a hook is told about it: loaded when the first one comes."""

KINDS = (
    "tensor hook",
    "post-accumulate-grad hook",
    "node pre-hook",
    "node hook",
    "forward pre-hook",
    "forward hook",
    "full backward pre-hook",
    "full backward hook",
)  # in the order of hg_hook_kind
MARK = "raised in the "


def add(error, kind, hook, file, line, owner):
    """Give the error one note: which hook, where it was registered, and on what. Of nested hooks the innermost counts."""
    notes = getattr(error, "__notes__", [])
    if any(str(note).startswith(MARK) for note in notes):
        return
    where = f"{file}:{line}" if file is not None else "an unknown place"
    name = getattr(hook, "__qualname__", None) or type(hook).__qualname__
    note = f"{MARK}{KINDS[kind]} {name}, registered at {where}, of {describe(owner)}"
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:  # Python 3.10
        error.__notes__ = [*notes, note]


def describe(owner):
    """A module by its path and class, a node by its name."""
    from ._C import Module

    if owner is None:
        return "a tensor"
    if not isinstance(owner, Module):
        return f"what {owner.name()} made" if owner.name() != "torch::autograd::AccumulateGrad" else "a leaf"
    path, root = path_of(owner)
    kind = type(owner).__name__
    return f"module {kind}" if root is owner else f"module {path} ({kind}) of {type(root).__name__}"


def path_of(module):
    """The dotted path of a module from the outermost one that holds it. Modules do not know theirs: all are asked."""
    import gc

    from ._C import Module

    parents = {}
    for parent in gc.get_objects():
        if issubclass(type(parent), Module):  # isinstance() would ask a stranger for its __class__, and run its code
            for name, child in (getattr(parent, "_modules", None) or {}).items():
                parents.setdefault(id(child), (parent, name))
    names, root = [], module
    while id(root) in parents and len(names) < 100:
        root, name = parents[id(root)]
        names.append(name)
    return ".".join(reversed(names)), root
