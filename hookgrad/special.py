"""Special functions. Source: https://docs.pytorch.org/docs/stable/special.html"""

from . import _C

globals().update({name: value for name, value in vars(_C.special).items() if not name.startswith("_")})
