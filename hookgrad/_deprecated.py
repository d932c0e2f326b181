"""Calls whose numbers stand among the tensors, as PyTorch spelled them first: `p.add_(-lr, grad)`."""

from . import _C

# The names of the numbers, and those of the tensors after the first.
_NAMES = {
    "add": ("alpha", "other"),
    "sub": ("alpha", "other"),
    "addcmul": ("value", "tensor1 tensor2"),
    "addcdiv": ("value", "tensor1 tensor2"),
    "addmm": ("beta alpha", "mat1 mat2"),
    "addmv": ("beta alpha", "mat vec"),
    "addr": ("beta alpha", "vec1 vec2"),
    "addbmm": ("beta alpha", "batch1 batch2"),
    "baddbmm": ("beta alpha", "batch1 batch2"),
}


def respelled(function, name, args, kwargs):
    """The result of the op's call with its numbers as keyword arguments; NotImplemented where it is no such call."""
    names, others = [words.split() for words in _NAMES.get(name.removesuffix("_"), ("", ""))]
    places = [i for i, a in enumerate(args) if not isinstance(a, _C.Tensor)]
    numbers = [args[i] for i in places]
    tensors = [a for a in args if isinstance(a, _C.Tensor)]
    given = {key: value for key, value in kwargs.items() if key != "out"}
    if (
        not 1 <= len(numbers) <= len(names)
        or places not in ([1], [0], [1, 2], [0, 2])
        or places[0] == 0
        and len(names) == 1
        or not all(isinstance(number, (int, float)) for number in numbers)
        or not all(isinstance(value, _C.Tensor) for value in given.values())
        or len(tensors) + len(given) != 1 + len(others)
    ):
        return NotImplemented
    if _C._is_news("overload"):  # of whichever
        from ._warn import warn

        numbered = ", ".join(f"Number {word}" for word in names)
        listed = ", ".join(f"Tensor {word}" for word in others)
        warn(
            f"This overload of {name} is deprecated:\n\t{name}({numbered}, {listed})\nConsider using one of the following "
            f"signatures instead:\n\t{name}({listed}, *, {numbered.replace(', ', ' = 1, ')} = 1)",
            stacklevel=2,
        )
    return function(*tensors, **dict(zip(names, numbers)), **kwargs)
