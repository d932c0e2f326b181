"""Trees of Python containers: their leaves in order, and the same containers around other leaves.

    >>> from hookgrad.utils import _pytree as pytree
    >>> pytree.tree_map(lambda x: x * 2, {"a": [1, 2], "b": (3,)})
    {'a': [2, 4], 'b': (6,)}

A tuple, list, dict, OrderedDict, defaultdict, deque or named tuple is a node, and so is what `register_pytree_node` adds;
anything else, None included, is a leaf.
"""

from collections import OrderedDict, defaultdict, deque
from typing import Any, NamedTuple

__all__ = [
    "Context",
    "GetAttrKey",
    "LeafSpec",
    "MappingKey",
    "PyTree",
    "SequenceKey",
    "TreeSpec",
    "is_namedtuple",
    "is_namedtuple_class",
    "is_namedtuple_instance",
    "key_get",
    "keystr",
    "register_dataclass",
    "register_pytree_node",
    "tree_all",
    "tree_all_only",
    "tree_any",
    "tree_any_only",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_is_leaf",
    "tree_iter",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_map_only_",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
]

PyTree = Any
Context = Any


# ---- Keys: the way from the root to a leaf ----------------------------------------------------------------------------


class SequenceKey(NamedTuple):
    """An index into a sequence."""

    idx: int

    def __str__(self):
        return f"[{self.idx!r}]"

    def get(self, sequence):
        return sequence[self.idx]


class MappingKey(NamedTuple):
    """A key of a mapping."""

    key: Any

    def __str__(self):
        return f"[{self.key!r}]"

    def get(self, mapping):
        return mapping[self.key]


class GetAttrKey(NamedTuple):
    """An attribute."""

    name: str

    def __str__(self):
        return f".{self.name}"

    def get(self, obj):
        return getattr(obj, self.name)


def keystr(kp):
    """A path as one writes it: "['a'][0].x"."""
    return "".join(map(str, kp))


def key_get(obj, kp):
    """What stands at the end of a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


# ---- Kinds of nodes ---------------------------------------------------------------------------------------------------


class NodeDef(NamedTuple):
    """How a container comes apart and is put together."""

    type: type
    flatten_fn: Any
    unflatten_fn: Any
    flatten_with_keys_fn: Any


SUPPORTED_NODES: dict = {}


def is_namedtuple_class(cls):
    """Is it a class that `collections.namedtuple` or `typing.NamedTuple` has made, or one derived from it?"""
    return (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and isinstance(getattr(cls, "_fields", None), tuple)
        and all(isinstance(field, str) for field in cls._fields)
        and callable(getattr(cls, "_make", None))
        and callable(getattr(cls, "_asdict", None))
    )


def is_namedtuple_instance(obj):
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj):
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def register_pytree_node(
    cls,
    flatten_fn,
    unflatten_fn,
    *,
    serialized_type_name=None,
    to_dumpable_context=None,
    from_dumpable_context=None,
    flatten_with_keys_fn=None,
):
    """Make instances of `cls` nodes: `flatten_fn(obj)` gives (children, context), `unflatten_fn(children, context)` an
    object again."""
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


_register_pytree_node = register_pytree_node


def _deregister_pytree_node(cls):
    del SUPPORTED_NODES[cls]


def register_dataclass(cls, *, field_names=None, drop_field_names=None, serialized_type_name=None):
    """Make instances of a dataclass nodes with their fields as children."""
    from dataclasses import fields

    names = list(field_names) if field_names is not None else [f.name for f in fields(cls) if f.init]
    if drop_field_names is not None:
        names = [name for name in names if name not in drop_field_names]

    def flatten(obj):
        given = [name for name in names if getattr(obj, name) is not None]
        absent = [name for name in names if getattr(obj, name) is None]
        return [getattr(obj, name) for name in given], [given, absent]

    def unflatten(children, context):
        given, absent = context
        return cls(**dict(zip(given, children)), **dict.fromkeys(absent))

    def with_keys(obj):
        children, context = flatten(obj)
        return [(GetAttrKey(name), child) for name, child in zip(context[0], children)], context

    register_pytree_node(cls, flatten, unflatten, flatten_with_keys_fn=with_keys)


def _add(cls, flatten, unflatten, keys):
    def with_keys(obj):
        children, context = flatten(obj)
        return list(zip(keys(obj), children)), context

    SUPPORTED_NODES[cls] = NodeDef(cls, flatten, unflatten, with_keys)


def _places(sequence):
    return [SequenceKey(i) for i in range(len(sequence))]


def _names(mapping):
    return [MappingKey(key) for key in mapping]


namedtuple = is_namedtuple_class  # as the key of every named tuple's class, so that a spec is named after it
_add(tuple, lambda t: (list(t), None), lambda children, _: tuple(children), _places)
_add(list, lambda t: (list(t), None), lambda children, _: list(children), _places)
_add(dict, lambda t: (list(t.values()), list(t)), lambda children, names: dict(zip(names, children)), _names)
_add(
    OrderedDict,
    lambda t: (list(t.values()), list(t)),
    lambda children, names: OrderedDict(zip(names, children)),
    _names,
)
_add(
    defaultdict,
    lambda t: (list(t.values()), [t.default_factory, list(t)]),
    lambda children, context: defaultdict(context[0], zip(context[1], children)),
    _names,
)
_add(deque, lambda t: (list(t), t.maxlen), lambda children, maxlen: deque(children, maxlen=maxlen), _places)
_add(
    namedtuple,
    lambda t: (list(t), type(t)),
    lambda children, cls: cls(*children),
    lambda t: [GetAttrKey(name) for name in t._fields],
)


# The parts under the names by which classes that are like these register themselves.
_tuple_flatten, _tuple_unflatten, _tuple_flatten_with_keys = SUPPORTED_NODES[tuple][1:]
_list_flatten, _list_unflatten, _list_flatten_with_keys = SUPPORTED_NODES[list][1:]
_dict_flatten, _dict_unflatten, _dict_flatten_with_keys = SUPPORTED_NODES[dict][1:]
_ordereddict_flatten, _ordereddict_unflatten, _ordereddict_flatten_with_keys = SUPPORTED_NODES[OrderedDict][1:]
_namedtuple_flatten, _namedtuple_unflatten, _namedtuple_flatten_with_keys = SUPPORTED_NODES[namedtuple][1:]


def _node_type(tree):
    cls = type(tree)
    if cls in SUPPORTED_NODES:
        return cls
    if cls.__module__ in ("hookgrad.return_types", "torch.return_types"):
        _add(cls, lambda t: (list(t), None), lambda children, _: cls(children), _places)
        return cls
    return namedtuple if is_namedtuple_class(cls) else cls


def tree_is_leaf(tree, is_leaf=None):
    """Whether it has no children."""
    return (is_leaf is not None and is_leaf(tree)) or _node_type(tree) not in SUPPORTED_NODES


_is_leaf, _get_node_type = tree_is_leaf, _node_type


# ---- The containers alone ---------------------------------------------------------------------------------------------


class TreeSpec:
    """A tree without its leaves."""

    def __init__(self, type, context, children_specs):
        self.type, self.context, self._children = type, context, list(children_specs)
        self.num_children = len(self._children)
        self.num_nodes = 1 + sum(child.num_nodes for child in self._children)
        self.num_leaves = sum(child.num_leaves for child in self._children) if type is not None else 1

    @property
    def children_specs(self):
        return self._children

    def children(self):
        return list(self._children)

    def child(self, index):
        return self._children[index]

    def is_leaf(self):
        return self.type is None

    def unflatten(self, leaves):
        """The tree with these leaves."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
                f"holds {self.num_leaves} items ({self})."
            )
        return self._filled(iter(leaves))

    def _filled(self, leaves):
        if self.type is None:
            return next(leaves)
        return SUPPORTED_NODES[self.type].unflatten_fn(
            [child._filled(leaves) for child in self._children], self.context
        )

    def flatten_up_to(self, tree):
        """The parts of a tree of the same build that stand where this one has leaves."""
        parts = []
        self._collect(tree, parts)
        return parts

    def _collect(self, tree, parts):
        if self.type is None:
            parts.append(tree)
            return
        kind = _node_type(tree)
        mappings = (dict, OrderedDict, defaultdict)
        if self.type in mappings and kind in mappings:
            names = self.context[1] if self.type is defaultdict else self.context
            if set(names) != set(tree):
                missing, extra = set(names) - set(tree), set(tree) - set(names)
                raise ValueError(f"Node keys mismatch; missing key(s): {missing}; extra key(s): {extra}.")
            children = [tree[name] for name in names]
        else:
            if kind != self.type:
                raise ValueError(f"Node type mismatch; expected {self.type!r}, but got {type(tree)!r}.")
            children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
            if len(children) != self.num_children:
                raise ValueError(f"Node arity mismatch; expected {self.num_children}, but got {len(children)}.")
            if self.type is not deque and context != self.context:
                raise ValueError(f"Node context mismatch for custom node type {self.type!r}.")
        for spec, child in zip(self._children, children):
            spec._collect(child, parts)

    def __eq__(self, other):
        if not isinstance(other, TreeSpec):
            return NotImplemented
        return (self.type, self.context, self._children) == (other.type, other.context, other._children)

    def __hash__(self):
        return hash((self.type, self.num_leaves, self.num_children))

    def __repr__(self, indent=0):
        if self.type is None:
            return "*"
        inside = ",\n".join(
            (" " * (indent + 2) if i else "") + child.__repr__(indent + 2) for i, child in enumerate(self._children)
        )
        name = "namedtuple" if self.type is namedtuple else self.type.__name__
        return f"TreeSpec({name}, {self.context}, [{inside}])"


class LeafSpec(TreeSpec):
    """The spec of a leaf."""

    def __init__(self):
        super().__init__(None, None, [])


# ---- Walking ----------------------------------------------------------------------------------------------------------


def _flatten(tree, leaves, is_leaf):
    if tree_is_leaf(tree, is_leaf):
        leaves.append(tree)
        return LeafSpec()
    kind = _node_type(tree)
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return TreeSpec(kind, context, [_flatten(child, leaves, is_leaf) for child in children])


def tree_flatten(tree, is_leaf=None):
    """The leaves in order, and the spec that puts them back. `is_leaf(node)` may cut branches short."""
    leaves = []
    spec = _flatten(tree, leaves, is_leaf)
    return leaves, spec


def tree_unflatten(leaves, treespec):
    """The tree of a spec, with these leaves."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"Expected `treespec` to be an instance of PyTreeSpec but got item of type {type(treespec)}.")
    return treespec.unflatten(leaves)


def tree_iter(tree, is_leaf=None):
    """The leaves, one after the other."""
    if tree_is_leaf(tree, is_leaf):
        yield tree
    else:
        for child in SUPPORTED_NODES[_node_type(tree)].flatten_fn(tree)[0]:
            yield from tree_iter(child, is_leaf)


def tree_leaves(tree, is_leaf=None):
    return list(tree_iter(tree, is_leaf))


def tree_structure(tree, is_leaf=None):
    return tree_flatten(tree, is_leaf)[1]


def arg_tree_leaves(*args, **kwargs):
    """The leaves of the arguments of a call."""
    return tree_leaves((args, kwargs))


def _aligned(tree, rests, is_leaf):
    leaves, spec = tree_flatten(tree, is_leaf)
    return [leaves, *[spec.flatten_up_to(rest) for rest in rests]], spec


def tree_map(func, tree, *rests, is_leaf=None):
    """The same tree with `func(leaf, ...)` for each leaf; further trees of the same build give further arguments."""
    columns, spec = _aligned(tree, rests, is_leaf)
    return spec.unflatten(map(func, *columns))


def tree_map_(func, tree, *rests, is_leaf=None):
    """Call `func(leaf, ...)` for each leaf, and return the tree as it is."""
    columns, _ = _aligned(tree, rests, is_leaf)
    deque(map(func, *columns), maxlen=0)
    return tree


def _chooses(types):
    if isinstance(types, (type, tuple)):
        return lambda leaf: isinstance(leaf, types)
    if callable(types):
        return types
    raise TypeError("Argument must be a type, a tuple of types, or a callable.")


def map_only(type_or_types_or_pred):
    """Decorates a function of a leaf: other leaves than those named are left as they are."""
    chosen = _chooses(type_or_types_or_pred)
    return lambda func: lambda leaf: func(leaf) if chosen(leaf) else leaf


def tree_map_only(type_or_types_or_pred, func, tree, is_leaf=None):
    """`tree_map`, of the leaves of some types or for which a function says so."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred, func, tree, is_leaf=None):
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred, tree, is_leaf=None):
    return all(map(pred, tree_iter(tree, is_leaf)))


def tree_any(pred, tree, is_leaf=None):
    return any(map(pred, tree_iter(tree, is_leaf)))


def tree_all_only(type_or_types, pred, tree, is_leaf=None):
    return all(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, type_or_types))


def tree_any_only(type_or_types, pred, tree, is_leaf=None):
    return any(pred(leaf) for leaf in tree_iter(tree, is_leaf) if isinstance(leaf, type_or_types))


def _broadcast_to_and_flatten(tree, treespec, is_leaf=None):
    """The leaves of a tree that may be a leaf where the spec has a branch; None where it does not fit."""
    if tree_is_leaf(tree, is_leaf):
        return [tree] * treespec.num_leaves
    kind = _node_type(tree)
    if treespec.type is None or kind != treespec.type:
        return None
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    if len(children) != treespec.num_children or context != treespec.context:
        return None
    result = []
    for child, spec in zip(children, treespec._children):
        leaves = _broadcast_to_and_flatten(child, spec, is_leaf)
        if leaves is None:
            return None
        result += leaves
    return result


# ---- Walking with paths -----------------------------------------------------------------------------------------------


def _paths(path, tree, is_leaf):
    if tree_is_leaf(tree, is_leaf):
        yield path, tree
        return
    node = SUPPORTED_NODES[_node_type(tree)]
    if node.flatten_with_keys_fn is None:
        raise ValueError(
            f"Did not find a flatten_with_keys_fn for type: {node.type}. Please pass a flatten_with_keys_fn argument to "
            "register_pytree_node."
        )
    for key, child in node.flatten_with_keys_fn(tree)[0]:
        yield from _paths((*path, key), child, is_leaf)


def tree_leaves_with_path(tree, is_leaf=None):
    """(path, leaf) for each leaf."""
    return list(_paths((), tree, is_leaf))


def tree_flatten_with_path(tree, is_leaf=None):
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func, tree, *rests, is_leaf=None):
    """`tree_map`, with the path of each leaf as the first argument of `func`."""
    columns, spec = _aligned(tree, rests, is_leaf)
    paths = [path for path, _ in _paths((), tree, is_leaf)]
    return spec.unflatten(map(func, paths, *columns))
