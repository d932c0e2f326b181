"""`torch.ops.aten.add.Tensor._schema`: what an op takes and gives, as PyTorch writes it down.

It is made from the row of the table that the op's name belongs to, when a program asks.
"""

import re
from ast import literal_eval
from functools import cache

from . import _C
from ._ops import _OVERLOADS, _name

_JIT = {"Scalar": "number", "ScalarType": "int", "MemoryFormat": "int", "Layout": "int", "SymInt": "int"}
_WORDS = {"dtype": "ScalarType", "memory_format": "MemoryFormat"}
# What PyTorch's schemas have as SymInt, by the argument's name.
_SIZES = frozenset(
    "size stride start end padding dilation output_padding groups bias_sizes split_size split_sizes length normalized_shape".split()
)
_TAKEN = {
    "Tensor": _C.Tensor,
    "SymInt": int,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "str": str,
    "Scalar": (int, float, _C.Tensor),
    "ScalarType": _C.dtype,
}
_DEVICE = [("Layout?", "layout"), ("Device?", "device"), ("bool?", "pin_memory")]


class Type:
    """The type of an argument or a result: `str()` gives the words of TorchScript, "List[int]"."""

    def __init__(self, written):
        self.written = written

    def __str__(self):
        word, rest = re.fullmatch(r"(\w+)(.*)", self.written).groups()
        said = _JIT.get(word, word)
        for suffix in re.findall(r"\?|\[\d*\]", rest):
            said = f"Optional[{said}]" if suffix == "?" else f"List[{said}]"
        return said

    __repr__ = __str__

    def takes(self, value, written=None):
        """Can an argument of the type have that value? What it does not know, it takes for any."""
        written = written or self.written
        if written.endswith("?"):
            return value is None or self.takes(value, written[:-1])
        if written.endswith("]"):
            word, _, size = written.rpartition("[")
            if isinstance(value, (list, tuple)):
                return all(self.takes(one, word) for one in value)
            return size != "]" and self.takes(value, word)
        return isinstance(value, _TAKEN.get(written, object)) or written == "Tensor" and value is None

    def __eq__(self, other):
        return str(self) == str(other)

    def __hash__(self):
        return hash(str(self))


class AliasInfo:
    """Which memory an argument shares with a result, and whether it is written to."""

    def __init__(self, is_write):
        self.is_write = is_write
        self.before_set = self.after_set = {"a"}


class Argument:
    """An argument or a result: its name, type, default, and how it is given."""

    def __init__(self, written, name="", default=None, kwarg_only=False, alias=""):
        self.name, self.type, self.real_type = name, Type(written), Type(written)
        self._default, self.kwarg_only, self._alias = default, kwarg_only, alias
        size = re.search(r"\[(\d+)\]", written)
        self.N = int(size[1]) if size else None
        self.alias_info = AliasInfo("!" in alias) if alias else None
        self.is_out, self.is_write = kwarg_only and "!" in alias, "!" in alias

    def has_default_value(self):
        return self._default is not None

    @property
    def default_value(self):
        kind = self.type.written
        if self._default in (None, "None"):
            return None
        if self._default in ("True", "False"):
            return self._default == "True"
        if kind.startswith("str"):
            return self._default.strip("\"'")
        if kind == "ScalarType":
            return getattr(_C, self._default)
        if self._default[0] == "[":
            return literal_eval(self._default)
        number = float(self._default) if kind[0] == "f" or "." in self._default else int(self._default)
        return [number] * (self.N or 0) if "[" in kind else number

    def __str__(self):
        word, rest = re.fullmatch(r"(\w+)(.*)", self.type.written).groups()
        said = f"{word}{self._alias}{rest}" + (f" {self.name}" if self.name else "")
        if self._default is None:
            return said
        value = self._default if word == "ScalarType" else self.default_value
        if word == "float" and value is not None:
            value = f"{value:g}" if value % 1 else f"{value:g}."
        elif word == "str":
            value = f'"{value}"'
        return f"{said}={value}"

    __repr__ = __str__


class FunctionSchema:
    """The name, the arguments and the results of an overload; `str()` gives the line of PyTorch's table."""

    def __init__(self, name, overload_name, arguments, returns):
        self.name, self.overload_name = name, overload_name
        self.arguments, self.returns = arguments, returns

    @property
    def is_mutable(self):
        return any(argument.is_write for argument in self.arguments)

    def bind(self, args, kwargs):
        """The values of the arguments, those by position first, of a call that may have left out some or given others."""
        if len(args) > len(self.arguments) or any(a.kwarg_only for a in self.arguments[: len(args)]):
            most = sum(not a.kwarg_only for a in self.arguments)
            raise RuntimeError(
                f"{self.name}() expected at most {most} argument(s) but received {len(args) + len(kwargs)} argument(s). "
                f"Declaration: {self}"
            )
        values = []
        for at, argument in enumerate(self.arguments):
            if at < len(args):
                value = args[at]
            elif argument.name in kwargs:
                value = kwargs[argument.name]
            elif argument.has_default_value():
                values.append(argument.default_value)
                continue
            else:
                raise RuntimeError(
                    f"{self.name}() is missing value for argument '{argument.name}'. Declaration: {self}"
                )
            if not argument.type.takes(value):
                raise RuntimeError(
                    f"{self.name}() Expected a value of type '{argument.type}' for argument '{argument.name}' but instead "
                    f"found type '{type(value).__name__}'.\nPosition: {at}\nValue: {value!r}\nDeclaration: {self}"
                )
            values.append(float(value) if argument.type.written == "float" else value)
        for name in kwargs:
            if name not in [a.name for a in self.arguments[len(args) :]]:
                raise RuntimeError(f"Unknown keyword argument '{name}' for operator '{self.name}'. Schema: {self}")
        return values

    def __str__(self):
        plain = [str(a) for a in self.arguments if not a.kwarg_only]
        named = [str(a) for a in self.arguments if a.kwarg_only]
        given = ", ".join(plain + (["*", *named] if named else []))
        results = ", ".join(map(str, self.returns))
        whole = f"{self.name}.{self.overload_name}" if self.overload_name else self.name
        return f"{whole}({given}) -> {results if len(self.returns) == 1 else f'({results})'}"

    __repr__ = __str__


@cache
def _rows():
    """{(op, overload): row}, by PyTorch's names."""
    found = {}
    for row in _C.op_table():
        name = _name(row)
        overload = _OVERLOADS.get(f"{name}.{row['overload']}".rstrip("."), row["overload"] or "default")
        found.setdefault((name, overload), row)
    return found


_NO_ROWS = {
    "_local_scalar_dense": "_local_scalar_dense(Tensor self)",
    "convolution_backward": "convolution_backward(Tensor grad_output, Tensor input, Tensor weight, int[]? bias_sizes, int[] stride, "
    "int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
    "lift_fresh": "lift_fresh(Tensor self)",
}


def _row(name, overload):
    if name in _NO_ROWS:
        return {"schema": _NO_ROWS[name], "params": [{"name": "self"}]}
    rows = _rows()
    for op in (name, name.rstrip("_")):
        for form in (overload, "Tensor", "default"):
            if (op, form) in rows:
                return rows[op, form]
    return next((row for (op, _), row in rows.items() if op == name.rstrip("_")), None)


def schema_of(op):
    """The schema of an overload."""
    name, overload = op.overloadpacket.__name__, op._overloadname
    row = _row(name, overload)
    if row is None:
        raise AttributeError(f"hookgrad has no schema of {op}")
    given, results = re.fullmatch(r"[\w.]+\((.*?)\)(?: -> (.*))?", row["schema"]).groups()
    arguments, kwarg_only = [], False
    makes = row["params"] and (row["params"][0]["name"] != "self" or name.endswith("_like") or name.startswith("new_"))
    words = re.findall(r"(Tensor(?:\[\])?)(?: (\w+))?", results or "Tensor")
    alias = "(a!)" if op._writes else "(a)" if op._views else ""
    several = words[0][0] == "Tensor[]"
    for one in re.split(r", (?![^\[]*\])", given) if given else []:
        if one == "*":
            kwarg_only = True
            continue
        kind, argument, default = re.fullmatch(r"(\S+) (\w+)(?:=(.*))?", one).groups()
        if kind == "Tensor|Scalar":
            kind = "Scalar" if argument != "self" and overload.startswith("Scalar") else "Tensor"
        word = re.match(r"\w+", kind)[0]
        said = "SymInt" if word == "int" and argument in _SIZES else _WORDS.get(word, word)
        own = alias.replace("(a)", "(a -> *)") if several else alias
        own = own if not arguments and word == "Tensor" else ""
        arguments.append(Argument(kind.replace(word, said, 1), argument, default, kwarg_only, own))
        if argument == "dtype" and kwarg_only and makes:
            arguments += [Argument(*pair, "None", True) for pair in _DEVICE]
    out = overload.endswith("out")
    if out:
        for argument in arguments:
            argument.__init__(argument.type.written, argument.name, argument._default, argument.kwarg_only)
        arguments.append(Argument("Tensor", "out", None, True, "(a!)"))
    returns = [Argument(kind, called, None, False, alias) for kind, called in words]
    return FunctionSchema(
        op.overloadpacket._qualified_op_name, "" if overload == "default" else overload, arguments, returns
    )


_ARGUMENT = re.compile(r"(\w+)(\([^)]*\))?(\S*)(?: (\w+))?(?:=(.+))?")


def parsed(qualname, written):
    """The schema that a program has written: "(Tensor(a!) x, *, int k=2) -> Tensor"."""
    given, _, results = written.partition("->")
    given, results = given.strip(), results.strip()
    if given[:1] + given[-1:] != "()" or not results:
        raise RuntimeError(f"not a schema: {written}")
    arguments, kwarg_only = [], False
    for one in re.split(r", *(?![^\[]*\])", given[1:-1].strip()) if given != "()" else []:
        if one == "*":
            kwarg_only = True
            continue
        found = _ARGUMENT.fullmatch(one)
        if not found or not found[4]:
            raise RuntimeError(f"not an argument: {one}")
        arguments.append(Argument(found[1] + found[3], found[4], found[5], kwarg_only, found[2] or ""))
    returns = []
    for one in filter(None, re.split(r", *", results.strip("()") if results[0] == "(" else results)):
        word, alias, rest, name, _ = _ARGUMENT.fullmatch(one).groups()
        returns.append(Argument(word + rest, name or "", None, False, alias or ""))
    name, _, overload = qualname.partition(".")
    return FunctionSchema(name, overload, arguments, returns)
