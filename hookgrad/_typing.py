"""Names for annotations, which modules have late: `typing` is not loaded for a program that asks for none of them."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ._C import Tensor

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
