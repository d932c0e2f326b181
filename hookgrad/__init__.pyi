"""The names of the package, as torch has them."""

from typing import Any

from . import autograd as autograd
from . import backends as backends
from . import cpu as cpu
from . import cuda as cuda
from . import functional as functional
from . import mps as mps
from . import nn as nn
from . import optim as optim
from . import random as random
from . import return_types as return_types
from . import serialization as serialization
from . import special as special
from . import testing as testing
from . import types as types
from . import utils as utils
from . import version as version
from ._C import *  # noqa: F403
from ._tensor import LegacyType
from ._tensor_str import get_printoptions as get_printoptions
from ._tensor_str import set_printoptions as set_printoptions
from .autograd.grad_mode import enable_grad as enable_grad
from .autograd.grad_mode import inference_mode as inference_mode
from .autograd.grad_mode import no_grad as no_grad
from .autograd.grad_mode import set_grad_enabled as set_grad_enabled
from .composites import *  # noqa: F403
from .functional import *  # noqa: F403
from .nn.parameter import Parameter as Parameter
from .random import fork_rng as fork_rng
from .random import get_rng_state as get_rng_state
from .random import initial_seed as initial_seed
from .random import manual_seed as manual_seed
from .random import seed as seed
from .random import set_rng_state as set_rng_state
from .serialization import load as load
from .serialization import save as save
from .type_info import finfo as finfo
from .type_info import iinfo as iinfo
from .version import __version__ as __version__

from . import linalg as linalg  # isort: skip (the package's, not the extension's)

FloatTensor: LegacyType
DoubleTensor: LegacyType
HalfTensor: LegacyType
BFloat16Tensor: LegacyType
ByteTensor: LegacyType
CharTensor: LegacyType
ShortTensor: LegacyType
IntTensor: LegacyType
LongTensor: LegacyType
BoolTensor: LegacyType
e: Any
inf: Any
nan: Any
newaxis: None
pi: Any
