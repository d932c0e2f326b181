"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn


def kinds(modules):
    return [type(m).__name__ for m in modules]


# ---- Sequential ------------------------------------------------------------------------------------------------------


def test_sequential_calls_one_after_another():
    m = nn.Sequential(nn.Flatten(), nn.ReLU())
    assert m(torch.tensor([[[-1.0], [2.0]]])).tolist() == [[0.0, 2.0]]
    x = torch.ones(1)
    assert nn.Sequential()(x) is x


def test_sequential_while_its_children_change():
    def after_the_first(change):
        model = nn.Sequential(nn.Identity(), nn.ReLU())
        model[0].register_forward_hook(lambda *args: change(model) and None)
        return model(torch.ones(1))

    for change in (
        lambda model: model.append(nn.Tanh()),
        lambda model: model.pop(1),
        lambda model: model._modules.clear(),
    ):
        with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
            after_the_first(change)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        after_the_first(lambda model: setattr(model, "1", None))
    assert after_the_first(lambda model: model.__setitem__(1, nn.Threshold(2, 7))).item() == 7


def test_sequential_is_a_sequence():
    m = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.SiLU())
    assert len(m) == 3
    assert repr(m[-1]) == "SiLU()"
    assert kinds(m[1:]) == ["Tanh", "SiLU"]
    assert type(m[1:]) is nn.Sequential
    m[0] = nn.ELU()
    del m[1]
    assert list(m._modules) == ["0", "1"]
    assert m.append(nn.GELU()).extend([nn.Mish()]).insert(1, nn.CELU()) is m
    assert kinds(m) == ["ELU", "CELU", "SiLU", "GELU", "Mish"]
    assert repr(m.pop(0)) == "ELU(alpha=1.0)"
    assert kinds(m.pop(slice(1, 3))) == ["SiLU", "GELU"]
    assert kinds(m) == ["CELU", "Mish"]
    assert list(m._modules) == ["0", "1"]


def test_sequential_arithmetic():
    a, b = nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())
    assert kinds(a + b) == ["ReLU", "Tanh"]
    assert kinds(2 * a) == kinds(a * 2) == ["ReLU", "ReLU"]
    assert (a * 2)[0] is (a * 2)[1] is a[0]
    a += b
    a *= 2
    assert kinds(a) == ["ReLU", "Tanh", "ReLU", "Tanh"]
    assert list(a._modules) == ["0", "1", "2", "3"]


def test_sequential_with_names():
    m = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh(), c=nn.ELU()))
    assert repr(m) == "Sequential(\n  (a): ReLU()\n  (b): Tanh()\n  (c): ELU(alpha=1.0)\n)"
    assert m.b is m[1]
    assert list(m[1:]._modules) == ["b", "c"]
    m[0] = nn.SiLU()
    assert repr(m.a) == "SiLU()"


WRONG = [
    ("nn.Sequential(3)", TypeError, "int is not a Module subclass"),
    ("nn.Sequential(nn.ReLU())[1]", IndexError, "index 1 is out of range"),
    ("nn.Sequential(nn.ReLU()) * 0", ValueError, "Non-positive multiplication factor 0 for"),
    ("nn.Sequential(nn.ReLU()) * 'a'", TypeError, r"unsupported operand type\(s\) for \*:"),
    ("nn.Sequential(nn.ReLU()) + 3", ValueError, "add operator supports only objects of Sequential class"),
    ("nn.Sequential(nn.ReLU()).insert(5, nn.ReLU())", IndexError, "Index out of range: 5"),
    ("nn.Sequential(nn.ReLU()).insert(0, 5)", AssertionError, "module should be of type"),
    ("nn.ModuleList()[0]", IndexError, "index 0 is out of range"),
    ("nn.ModuleList(3)", TypeError, "ModuleList.extend should be called with an iterable, but got int"),
    ("nn.ModuleList()(1)", NotImplementedError, 'Module \\[ModuleList\\] is missing the required "forward" function'),
    ("nn.ModuleDict()['a']", KeyError, "'a'"),
    (
        "nn.ModuleDict(3)",
        TypeError,
        "ModuleDict.update should be called with an iterable of key/value pairs, but got int",
    ),
    ("nn.ModuleDict([(1, 2, 3)])", ValueError, "ModuleDict update sequence element #0 has length 3; 2 is required"),
    ("nn.ModuleDict([3])", TypeError, "ModuleDict update sequence element #0 should be Iterable; isint"),
    ("nn.ParameterList(3)", TypeError, "ParameterList.extend should be called with an iterable, but got int"),
    ("nn.ParameterList([])[2]", IndexError, "index 2 is out of range"),
    ("nn.ParameterList([])(1)", RuntimeError, "ParameterList should not be called."),
    ("nn.ParameterDict()(1)", RuntimeError, "ParameterDict should not be called."),
    ("nn.ParameterDict({3: torch.ones(1)})", TypeError, r"not a string \(type is 'int'\)"),
]


@pytest.mark.parametrize("action, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(action, error, words):
    with pytest.raises(error, match=words):
        eval(action)


# ---- Lists and dictionaries of modules ---------------------------------------------------------------------------------


def test_module_list():
    l = nn.ModuleList([nn.ReLU()])
    l.append(nn.Tanh())
    l.extend([nn.ELU()])
    l.insert(0, nn.GELU())
    assert kinds(l) == ["GELU", "ReLU", "Tanh", "ELU"]
    assert type(l[1:]) is nn.ModuleList
    assert kinds(l[1:3]) == ["ReLU", "Tanh"]
    l += [nn.SiLU()]
    assert kinds(l + [nn.Mish()])[-2:] == ["SiLU", "Mish"]
    assert repr(l.pop(1)) == "ReLU()"
    l[-1] = nn.CELU()
    del l[0]
    assert kinds(l) == ["Tanh", "ELU", "CELU"]
    assert list(l._modules) == ["0", "1", "2"]


def test_module_list_tells_repeated_modules_once():
    l = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Tanh()), nn.Sequential(nn.Tanh())])
    assert repr(l) == (
        "ModuleList(\n"
        "  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n"
        "  (2): ReLU()\n"
        "  (3-4): 2 x Sequential(\n"
        "    (0): Tanh()\n"
        "  )\n"
        ")"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_module_dict():
    d = nn.ModuleDict({"a": nn.ReLU()})
    d["b"] = nn.Tanh()
    d.update([("c", nn.ELU())])
    assert list(d) == list(d.keys()) == ["a", "b", "c"]
    assert len(d) == 3
    assert "a" in d
    assert d["b"] is d.b
    assert repr(d.pop("a")) == "ReLU()"
    assert [name for name, _ in d.items()] == ["b", "c"]
    assert kinds(d.values()) == ["Tanh", "ELU"]
    del d["c"]
    assert repr(d) == "ModuleDict(\n  (b): Tanh()\n)"
    d.clear()
    assert repr(d) == "ModuleDict()"


# ---- Lists and dictionaries of parameters --------------------------------------------------------------------------------


def test_parameter_list():
    p = nn.ParameterList([torch.ones(2, 3), nn.Parameter(torch.zeros(1))])
    p.append(torch.ones(()))
    p.extend([5])
    assert [type(x).__name__ for x in p] == ["Parameter", "Parameter", "Parameter", "int"]
    assert len(list(p.parameters())) == 3
    assert list(p.state_dict()) == ["0", "1", "2"]
    assert repr(p) == (
        "ParameterList(\n"
        "    (0): Parameter containing: [torch.float32 of size 2x3]\n"
        "    (1): Parameter containing: [torch.float32 of size 1]\n"
        "    (2): Parameter containing: [torch.float32 of size ]\n"
        "    (3): Object of type: int\n"
        ")"
    )
    assert p[-1] == 5
    assert len(p[1:3]) == 2
    p[0] = torch.zeros(4)
    assert isinstance(p[0], nn.Parameter)
    p += [torch.ones(1)]
    assert len(p) == 5


def test_parameter_dict():
    p = nn.ParameterDict({"b": torch.ones(2), "a": torch.zeros(1)})
    assert list(p) == ["a", "b"]
    assert list(nn.ParameterDict([("b", torch.ones(2)), ("a", torch.zeros(1))])) == ["b", "a"]
    p["c"] = torch.ones(1)
    assert isinstance(p["c"], nn.Parameter)
    assert p.get("x") is None
    assert p.setdefault("d", torch.zeros(2)) is p["d"]
    assert list(reversed(p)) == ["d", "c", "b", "a"]
    assert p.popitem()[0] == "d"
    assert p.pop("c").tolist() == [1.0]
    assert [name for name, _ in p.items()] == ["a", "b"]
    assert repr(p) == (
        "ParameterDict(\n"
        "    (a): Parameter containing: [torch.FloatTensor of size 1]\n"
        "    (b): Parameter containing: [torch.FloatTensor of size 2]\n"
        ")"
    )
    merged = p | nn.ParameterDict({"z": torch.ones(1)})
    assert list(merged) == ["a", "b", "z"]
    assert list(p.copy()) == ["a", "b"]
    p |= {"y": torch.ones(1)}
    assert list(p.state_dict()) == ["a", "b", "y"]
    assert list(p.fromkeys(["m", "n"], torch.ones(1))) == ["m", "n"]
    p.clear()
    assert len(p) == 0
    assert list(p.parameters()) == []


def test_places_in_a_list_are_numbers_whatever_else_was_added():
    names = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    names.add_module("x", nn.ELU())
    with pytest.raises(AttributeError, match="2"):  # Python 3.10 says no more than that
        del names[2]
    names.extend([nn.SiLU(), nn.GELU()])
    assert list(names._modules) == ["0", "1", "x", "3", "4"]
    row = nn.Sequential(nn.ReLU(), nn.Tanh())
    row.insert(-1, nn.ELU())
    assert [type(m).__name__ for m in row] == ["ReLU", "ELU", "Tanh"]
    row.add_module("x", nn.SiLU())
    with pytest.raises(KeyError, match="3"):
        row.insert(0, nn.GELU())
    with pytest.raises(KeyError, match="0"):
        named = nn.Sequential(OrderedDict(a=nn.ReLU()))
        named *= 2
