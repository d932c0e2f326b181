"""A row of the op table, its schema taken apart."""

import re
from dataclasses import dataclass, field


@dataclass
class Param:
    type: str
    name: str
    default: str | None
    keyword_only: bool

    @property
    def is_tensor(self):
        return self.type.startswith("Tensor")


@dataclass
class Row:
    name: str
    overload: str
    schema: str
    differentiable: list
    flags: set
    params: list = field(default_factory=list)
    n_out: int = 1

    def __post_init__(self):
        inside = re.search(r"\((.*?)\)\s*(->.*)?$", self.schema, re.DOTALL)
        keyword_only = False
        for piece in split(inside.group(1)):
            if piece == "*":
                keyword_only = True
                continue
            kind, _, rest = piece.partition(" ")
            name, _, default = rest.partition("=")
            self.params.append(Param(kind, name.strip(), default.strip() or None, keyword_only))
        result = (inside.group(2) or "-> Tensor")[2:].strip()
        self.n_out = len(split(result.strip("()"))) if result.startswith("(") else 0 if result.endswith("[]") else 1

    def __str__(self):
        return f"{self.name}.{self.overload}" if self.overload else self.name

    def param(self, name):
        return next((p for p in self.params if p.name == name), None)

    def has(self, *names):
        return all(self.param(name) is not None for name in names)


def split(text):
    """Split at the commas that stand outside brackets."""
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            pieces.append(text[start:i].strip())
            start = i + 1
    return [p for p in [*pieces, text[start:].strip()] if p]


# The bits of a row's flags, as hookgrad.h has them (HG_ROW_...).
FLAGS = [
    "METHOD", "FUNCTION", "NN", "INPLACE", "COMPOSITE", "VIEW", "LINALG", "MULTI_VIEW", "MUTATES", "SPECIAL",
]  # fmt: skip


def rows(table):
    """The rows of `hookgrad._C.op_table()`."""
    return [
        Row(
            row["name"],
            row["overload"],
            row["schema"],
            re.findall(r"(\w+)(?:\([^)]*\))?", row["grads"]),
            {name for bit, name in enumerate(FLAGS) if row["flags"] >> bit & 1},
        )
        for row in table
    ]
