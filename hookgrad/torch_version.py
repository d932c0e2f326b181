"""The version as a string that compares as versions do, with tuples of numbers too."""


def _key(version):
    """What versions are sorted by: the numbers, whether it comes before or after their release, and what is local."""
    import re

    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)[-_.]?([a-z]*)[-_.]?(\d*)[^+]*(?:\+(.*))?", text.strip().lower())
    if not found:
        return None
    numbers, stage, count, local = found.groups()
    release = [int(n) for n in numbers.split(".")]
    while release and release[-1] == 0:
        release.pop()
    order = {"": 0, "post": 1, "dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2}.get(stage, -1)
    return release, order, int(count or 0), local or ""


class TorchVersion(str):
    """`torch.__version__`: later than "2.6" and (2, 6) if it is 2.13. What is no version compares as a string.

    >>> TorchVersion("2.13.0+cpu") >= (2, 6), TorchVersion("2.13.0+cpu") > "2.6", TorchVersion("2.13.0") == "2.13"
    (True, True, True)
    """

    def __eq__(self, other):
        mine, given = _key(self), _key(other)
        return str.__eq__(self, other) if mine is None or given is None else mine == given

    def __lt__(self, other):
        mine, given = _key(self), _key(other)
        return str.__lt__(self, other) if mine is None or given is None else mine < given

    def __le__(self, other):
        return self < other or self == other

    def __gt__(self, other):
        return not self <= other

    def __ge__(self, other):
        return not self < other

    __hash__ = str.__hash__
