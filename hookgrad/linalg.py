"""Linear algebra. Source: https://docs.pytorch.org/docs/stable/linalg.html"""

from . import _C

globals().update({name: value for name, value in vars(_C.linalg).items() if not name.startswith("_")})


class LinAlgError(RuntimeError):
    """A matrix was singular, or an iteration did not converge."""
