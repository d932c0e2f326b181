"""What a scenario writes: one line an event, values and all, so that two libraries can be compared line by line."""

import warnings
from re import sub


def show(value):
    """A value as text that does not depend on the library: tensors by their numbers, objects by their kind."""
    kind = type(value).__name__
    if hasattr(value, "tolist") and hasattr(value, "requires_grad"):
        numbers = rounded(value.detach().tolist())
        return f"{list(value.shape)}{numbers}" + (f"<{value.grad_fn.name()}>" if value.grad_fn is not None else "")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{kind}({', '.join(f'{f}={show(v)}' for f, v in zip(value._fields, value))})"
    if isinstance(value, (tuple, list)):
        inside = ", ".join(show(v) for v in value)
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float):
        return repr(rounded(value))
    if value is None or isinstance(value, (bool, int, str, bytes)):
        return repr(value)
    if isinstance(value, type):
        return kind + " " + value.__name__
    if isinstance(value, BaseException):
        return f"{kind}: {value}"
    if hasattr(value, "next_functions"):
        return f"node {value.name()}"
    return f"a {kind}"


def rounded(numbers):
    if isinstance(numbers, list):
        return [rounded(x) for x in numbers]
    return float(f"{numbers:.5g}") + 0.0 if isinstance(numbers, float) else numbers


class Log:
    """Collects lines. Scenarios get one, called with what happened."""

    def __init__(self):
        self.lines = []

    def __call__(self, *what):
        self.lines.append(" ".join(x if isinstance(x, str) else show(x) for x in what))

    def hook(self, name, returns=None):
        """A hook that logs its arguments; it returns what `returns` makes of the last one."""

        def hook(*args):
            self(name, *args)
            return returns(args[-1]) if returns is not None else None

        hook.__name__ = name
        return hook

    def error(self, function, *args, **kwargs):
        """Call it; log the exception it raises, or what it returns."""
        try:
            value = function(*args, **kwargs)
        except Exception as error:
            self("raised", type(error).__name__ + ":", first_line(error))
        else:
            self("returned", value)


def first_line(error):
    line = str(error).split("\n")[0].split(" (Triggered internally")[0]
    return sub(r" at 0x[0-9a-f]+", "", line)


def run(scenario, torch):
    """The log of one scenario. Warnings are events too."""
    log = Log()
    torch.manual_seed(0)

    def warned(message, category, filename, lineno, file=None, line=None):
        if "create a reference cycle" not in str(message):  # given once a process, whoever comes first
            log("warned", category.__name__ + ":", first_line(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = warned
        try:
            scenario(torch, log)
        except Exception as error:
            log("ended with", type(error).__name__ + ":", first_line(error))
    return log.lines
