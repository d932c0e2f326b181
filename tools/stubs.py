"""Writes hookgrad/_C.pyi, the types of the extension: the ops from their table, the rest from the types themselves.

python tools/stubs.py            write it
python tools/stubs.py --check    fail when the committed one is out of date
"""

import keyword
import sys
import types
from pathlib import Path

from hookgrad import _C

TARGET = Path(__file__).resolve().parent.parent / "hookgrad" / "_C.pyi"

METHOD, FUNCTION, NN, INPLACE, COMPOSITE, LINALG, SPECIAL = 1, 2, 4, 8, 16, 64, 512

HEADER = '''\
"""The types of hookgrad's C extension. Written by tools/stubs.py: run it after a change of the op table."""

# ruff: noqa

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from builtins import str as _str
from collections.abc import Sequence
from typing import Any, overload

Number = _int | _float | _bool
'''

TYPES = {
    "Tensor": "Tensor",
    "Tensor|Scalar": "Tensor | Number",
    "Scalar": "Number",
    "bool": "_bool",
    "int": "_int",
    "float": "_float",
    "int[]": "Sequence[_int] | _int",
    "float[]": "Sequence[_float]",
    "Tensor[]": "Sequence[Tensor]",
    "dtype": "_dtype",
    "str": "_str",
    "Generator": "Generator",
    "memory_format": "memory_format",
}
TRUTHS = {"equal", "allclose", "is_nonzero", "is_same_size"}

# What attributes are, where it can be said; the rest is Any.
ATTRIBUTES = {
    "shape": "Size", "dtype": "_dtype", "device": "_device", "layout": "_layout", "ndim": "_int", "itemsize": "_int",
    "nbytes": "_int", "T": "Tensor", "mT": "Tensor", "H": "Tensor", "mH": "Tensor", "requires_grad": "_bool",
    "is_leaf": "_bool", "grad": "Tensor | None", "data": "Tensor", "retains_grad": "_bool", "output_nr": "_int",
    "_version": "_int", "_base": "Tensor | None", "index": "_int | None", "type": "_str", "is_floating_point": "_bool",
    "is_complex": "_bool", "is_signed": "_bool", "grad_fn": "Node | None", "training": "_bool", "id": "_int",
}  # fmt: skip
# What methods return, likewise.
RETURNS = {
    "item": "Number", "tolist": "Any", "size": "Any", "stride": "Any", "dim": "_int", "ndimension": "_int", "numel": "_int",
    "nelement": "_int", "element_size": "_int", "storage_offset": "_int", "data_ptr": "_int", "is_contiguous": "_bool",
    "is_floating_point": "_bool", "is_complex": "_bool", "is_signed": "_bool", "is_inference": "_bool", "get_device": "_int",
    "requires_grad_": "Tensor", "retain_grad": "None", "detach_": "Tensor", "backward": "None", "to": "Tensor",
    "float": "Tensor", "double": "Tensor", "half": "Tensor", "bfloat16": "Tensor", "int": "Tensor", "long": "Tensor",
    "short": "Tensor", "char": "Tensor", "byte": "Tensor", "bool": "Tensor", "cpu": "Tensor", "new_tensor": "Tensor",
    "manual_seed": "Generator", "initial_seed": "_int", "seed": "_int", "get_state": "Tensor", "set_state": "Generator",
    "tensor": "Tensor", "as_tensor": "Tensor", "asarray": "Tensor", "frombuffer": "Tensor", "from_numpy": "Tensor",
    "from_dlpack": "Tensor", "as_subclass": "Any", "_make_subclass": "Any", "is_grad_enabled": "_bool",
    "is_inference_mode_enabled": "_bool", "get_default_dtype": "_dtype", "set_default_dtype": "None", "promote_types": "_dtype",
    "op_table": "list[dict[_str, Any]]", "run_backward": "None", "grad": "tuple[Tensor | None, ...]", "sgd_step": "None",
    "adam_step": "None", "is_set_to": "_bool", "is_same_size": "_bool", "register_hook": "RemovableHandle",
}  # fmt: skip
ARITHMETIC = "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()


def signature(row, method, inplace):
    """The parameters of one row, one string or two: the second where sizes may be given one by one."""
    positional, keywords, star = [], [], None
    optional = False
    for i, p in enumerate(row["params"]):
        name = p["name"] + ("_" if keyword.iskeyword(p["name"]) else "")
        kind = TYPES[p["type"]] + (" | None" if p["optional"] else "")
        if i == 0 and method:
            positional.append("self")
            continue
        if i == 0 and name == "self":
            name = "input"
        text = f"{name}: {kind}"
        if p["keyword_only"]:
            keywords.append(text + (" = ..." if p["has_default"] else ""))
            continue
        optional = optional or p["has_default"]
        if p["type"] == "int[]" and p["n_list"] == 0 and all(q["keyword_only"] for q in row["params"][i + 1 :]):
            if sum(not q["keyword_only"] for q in row["params"]) <= (2 if row["params"][0]["type"] == "Tensor" else 1):
                star = [*positional, f"*{name}: _int"]
        positional.append(text + (" = ..." if optional else ""))
    if not inplace and not method and row["flags"] & FUNCTION:
        keywords.append("out: Any = ...")
    if is_creation(row):
        keywords += [
            "device: Any = ...",
            "layout: Any = ...",
            "pin_memory: _bool | None = ...",
            "requires_grad: _bool = ...",
        ]
    whole = [*positional, *(["*"] if keywords else []), *keywords]
    return [", ".join(whole)] + ([", ".join([*star, *keywords])] if star else [])


def is_creation(row):
    dtype = any(p["type"] == "dtype" and p["keyword_only"] for p in row["params"])
    return dtype and not row["grads"] and row["n_out"] == 1 and not row["flags"] & COMPOSITE


def result(row, inplace):
    if row["name"] in TRUTHS:
        return "_bool"
    if row["n_out"] == 0:
        return "tuple[Tensor, ...]"
    return "Tensor" if inplace or row["n_out"] == 1 else f"tuple[{', '.join(['Tensor'] * row['n_out'])}]"


def ops(flag, method, indent, decorator=None):
    """The definitions of every op of a namespace, overloads together."""
    found = {}
    for row in _C.op_table():
        if row["flags"] & flag:
            forms = [(row["name"], False)] + ([(row["name"] + "_", True)] if row["flags"] & INPLACE else [])
            for name, inplace in forms:
                for text in signature(row, method, inplace):
                    found.setdefault(name, []).append((text, result(row, inplace)))
    lines = []
    for name, forms in sorted(found.items()):
        forms = list(dict.fromkeys(forms))
        for text, returns in forms:
            lines += ["@overload"] * (len(forms) > 1) + ([decorator] if decorator else [])
            lines.append(f"def {name}({text}) -> {returns}: ...")
    return found, [indent + line for line in lines]


def is_op(value):
    return type(value).__name__ == "Op"


def name_of(cls):
    """A type by the extension's name for it: the tables of hooks show themselves under the names of Python's."""
    return next((name for name, value in vars(_C).items() if value is cls), cls.__name__)


def class_lines(cls, taken=()):
    base = f"({name_of(cls.__base__)})" if cls.__base__ is not object else ""
    lines = [f"class {name_of(cls)}{base}:"]
    for name, value in sorted(vars(cls).items()):
        if (
            name in taken
            or is_op(value)
            or (name.startswith("__") and name not in ("__call__", "__enter__", "__exit__"))
        ):
            continue
        if isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType)):
            lines.append(f"    {name}: {ATTRIBUTES.get(name, 'Any')}")
        elif isinstance(value, staticmethod):
            lines += [
                "    @staticmethod",
                f"    def {name}(*args: Any, **kwargs: Any) -> {RETURNS.get(name, 'Any')}: ...",
            ]
        elif callable(value):
            returns = RETURNS.get(name, "Any")
            lines.append(f"    def {name}(self, *args: Any, **kwargs: Any) -> {returns}: ...")
    return lines


def tensor_lines():
    taken, methods = ops(METHOD, True, "    ")
    lines = class_lines(_C.Tensor, taken)
    lines[1:1] = ["    def __init__(self, *args: Any, **kwargs: Any) -> None: ..."]
    for name in ARITHMETIC:
        lines += [f"    def __{form}{name}__(self, other: Any) -> Tensor: ..." for form in ("", "r", "i")]
    lines += ["    def __matmul__(self, other: Tensor) -> Tensor: ...", "    def __neg__(self) -> Tensor: ..."]
    lines += ["    def __abs__(self) -> Tensor: ...", "    def __invert__(self) -> Tensor: ..."]
    lines += [f"    def __{name}__(self, other: Any) -> Tensor: ...  # type: ignore[override]" for name in ("eq", "ne")]
    lines += [f"    def __{name}__(self, other: Any) -> Tensor: ..." for name in ("lt", "le", "gt", "ge")]
    lines += [f"    def __{name}__(self) -> _{name}: ..." for name in ("bool", "int", "float")]
    lines += [
        "    def __index__(self) -> _int: ...",
        "    def __len__(self) -> _int: ...",
        "    def __iter__(self) -> Any: ...",
    ]
    lines += ["    def __getitem__(self, index: Any) -> Tensor: ..."]
    lines += ["    def __setitem__(self, index: Any, value: Any) -> None: ..."]
    return lines + methods


def text():
    parts = [HEADER]
    first = ["dtype", "device", "layout", "memory_format", "Size", "Generator", "Tensor"]
    classes = {name: value for name, value in vars(_C).items() if isinstance(value, type)}
    for name in [*first, *sorted(set(classes) - set(first))]:
        cls = classes[name]
        if name != name_of(cls):
            parts.append(f"{name} = {name_of(cls)}\n")
            continue
        if issubclass(cls, Exception):
            parts.append(f"class {cls.__name__}({', '.join(b.__name__ for b in cls.__bases__)}): ...\n")
            continue
        lines = tensor_lines() if name == "Tensor" else class_lines(cls)
        parts.append("\n".join(lines) + (" ...\n" if len(lines) == 1 else "\n"))
        if name in ("dtype", "device", "layout"):
            parts[-1] += f"\n_{name} = {name}\n"  # Tensor has attributes of these names
    taken, functions = ops(FUNCTION, False, "")
    for name, value in sorted(vars(_C).items()):
        is_told = name[0] != "_" or name in RETURNS  # the others are the package's own
        if isinstance(value, types.BuiltinFunctionType) and is_told:
            parts.append(f"def {name}(*args: Any, **kwargs: Any) -> {RETURNS.get(name, 'Any')}: ...")
    parts.append("\n" + "\n".join(functions) + "\n")
    for name, flag in (("nn", NN), ("linalg", LINALG), ("special", SPECIAL)):
        parts.append(f"class {name}:\n" + "\n".join(ops(flag, False, "    ", "@staticmethod")[1]) + "\n")
    constants = [n for n, v in vars(_C).items() if isinstance(v, (_C.dtype, _C.layout, _C.memory_format, _C.Generator))]
    for name in sorted(constants):
        parts.append(f"{name}: {type(getattr(_C, name)).__name__}")
    return "\n".join(parts) + "\n"


def main():
    made = text()
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text() != made:
            sys.exit("hookgrad/_C.pyi is out of date: run python tools/stubs.py")
        return
    TARGET.write_text(made)


if __name__ == "__main__":
    main()
