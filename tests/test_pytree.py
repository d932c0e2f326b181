"""Trees of containers (torch.utils._pytree). Expected values and words are PyTorch's."""

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from hookgrad.utils import _pytree as pytree

Point = namedtuple("Point", "x y")


def test_a_tree_comes_apart_and_is_put_together():
    tree = {
        "a": [1, (2, 3)],
        "b": Point(4, None),
        "c": deque([5], maxlen=3),
        "d": OrderedDict(z=6),
        "e": defaultdict(list, {"k": 7}),
    }
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, None, 5, 6, 7]
    assert (spec.num_leaves, spec.num_nodes, spec.num_children, spec.type) == (8, 15, 5, dict)
    back = pytree.tree_unflatten(leaves, spec)
    assert back == tree and [type(part) for part in back.values()] == [type(part) for part in tree.values()]
    assert back["c"].maxlen == 3 and back["e"].default_factory is list
    assert str(pytree.tree_structure([1, (2,)])) == "TreeSpec(list, None, [*,\n  TreeSpec(tuple, None, [*])])"
    with pytest.raises(ValueError, match="`leaves` has length 1 but the spec refers to a pytree that holds 8 items"):
        spec.unflatten([1])


def test_maps():
    assert pytree.tree_map(lambda x: x * 2, [1, (2,)]) == [2, (4,)]
    assert pytree.tree_map(lambda x, y: (x, y), {"a": 1, "b": 2}, {"b": 3, "a": 4}) == {"a": (1, 4), "b": (2, 3)}
    assert pytree.tree_map_only(int, lambda x: x + 1, [1, "a", 2.0]) == [2, "a", 2.0]
    assert pytree.tree_map(str, [[1, 2], [3]], is_leaf=lambda x: x == [3]) == [["1", "2"], "[3]"]
    seen = []
    tree = [1, (2,)]
    assert pytree.tree_map_(seen.append, tree) is tree and seen == [1, 2]
    assert pytree.tree_any(lambda x: x > 1, [1, 2]) and pytree.tree_all_only(int, lambda x: x > 0, [1, "a"])


@pytest.mark.parametrize(
    ("trees", "words"),
    [
        (([1, 2], [1, 2, 3]), "Node arity mismatch; expected 2, but got 3"),
        (([1, 2], (1, 2)), "Node type mismatch; expected <class 'list'>, but got <class 'tuple'>"),
        (({"a": 1}, {"b": 1}), "Node keys mismatch; missing key"),
    ],
)
def test_trees_that_do_not_match(trees, words):
    with pytest.raises(ValueError, match=words):
        pytree.tree_map(lambda x, y: x, *trees)


def test_nodes_of_ones_own():
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    pytree.register_pytree_node(Pair, lambda p: ([p.a, p.b], "kept"), lambda parts, context: Pair(*parts))
    leaves, spec = pytree.tree_flatten(Pair(1, [2]))
    assert leaves == [1, 2] and spec.context == "kept" and spec.unflatten([3, 4]).b == [4]
    with pytest.raises(ValueError, match="is already registered as pytree node"):
        pytree.register_pytree_node(Pair, None, None)
    with pytest.raises(ValueError, match="flatten_with_keys_fn"):
        pytree.tree_leaves_with_path(Pair(1, 2))
    pytree._deregister_pytree_node(Pair)
    assert pytree.tree_is_leaf(Pair(1, 2))


def test_paths():
    tree = {"a": [1, 2], "b": Point(3, 4)}
    paths = [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(tree)]
    assert paths == ["['a'][0]", "['a'][1]", "['b'].x", "['b'].y"]
    assert [pytree.key_get(tree, path) for path, _ in pytree.tree_flatten_with_path(tree)[0]] == [1, 2, 3, 4]
    assert pytree.tree_map_with_path(lambda path, x: len(path) * x, tree) == {"a": [2, 4], "b": Point(6, 8)}


def test_a_leaf_stands_for_a_branch():
    spec = pytree.tree_structure([1, [2, 3]])
    assert pytree._broadcast_to_and_flatten([0, 5], spec) == [0, 5, 5]
    assert pytree._broadcast_to_and_flatten((0, 5), spec) is None


def test_a_class_can_register_with_the_parts_of_a_dict():
    class Output(dict):
        pass

    names = pytree._dict_flatten_with_keys
    pytree.register_pytree_node(Output, pytree._dict_flatten, pytree._dict_unflatten, flatten_with_keys_fn=names)
    leaves, spec = pytree.tree_flatten(Output(a=1, b=[2, 3]))
    assert leaves == [1, 2, 3] and pytree.tree_unflatten([4, 5, 6], spec) == {"a": 4, "b": [5, 6]}
    assert [pytree.keystr(path) for path, _ in pytree.tree_leaves_with_path(Output(b=[2]))] == ["['b'][0]"]
    assert pytree._list_flatten([1]) == ([1], None) and pytree._tuple_unflatten([1, 2], None) == (1, 2)


def test_results_with_names_come_apart():
    import hookgrad as torch

    leaves, spec = pytree.tree_flatten(torch.ones(2, 2).max(0))
    assert len(leaves) == 2 and repr(spec) == "TreeSpec(max, None, [*,\n  *])"
    assert pytree.tree_map(lambda t: t + 1, torch.ones(2).sort()).indices.tolist() == [1, 2]
    assert repr(pytree.tree_flatten(torch.nanmedian(torch.ones(2), 0))[1]).startswith("TreeSpec(nanmedian, None")
