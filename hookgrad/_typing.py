"""Names for annotations, which modules have late: `typing` is not loaded for a program that asks for none of them."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import IO, Any, TypeVar

from ._C import Tensor, device

_grad_t = tuple[Tensor, ...] | Tensor
T = TypeVar("T", bound="Module")  # noqa: F821 (of nn.modules.module)
T_destination = TypeVar("T_destination", bound=dict[str, Any])

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
StateDict = dict[str, Any]
ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
params_t = ParamsT
GlobalOptimizerPreHook = Callable[["Optimizer", Args, Kwargs], tuple[Args, Kwargs] | None]  # noqa: F821
GlobalOptimizerPostHook = Callable[["Optimizer", Args, Kwargs], None]  # noqa: F821
OptimizerPreHook = GlobalOptimizerPreHook
OptimizerPostHook = GlobalOptimizerPostHook

# Of torch.serialization: what torch.load() takes for the place of tensors, and for a file.
MAP_LOCATION = Callable[[Any, str], Any] | device | str | dict[str, str] | None
FILE_LIKE = str | PathLike | IO[bytes]
