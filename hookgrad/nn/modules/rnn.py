"""Recurrent networks: layers that run over a sequence step by step, and the steps as layers of their own."""

import math
import warnings
import weakref
from numbers import Number

import hookgrad

from ... import _VF, _recurrent
from .. import init
from ..parameter import empty_parameter
from ..utils.rnn import PackedSequence
from .module import Module

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _apply_permutation(tensor, permutation, dim=1):
    return tensor.index_select(dim, permutation)


def apply_permutation(tensor, permutation, dim=1):
    """tensor.index_select(dim, permutation), which PyTorch wants written so."""
    warnings.warn(
        "`apply_permutation` is deprecated, please use `tensor.index_select(dim, permutation)` instead",
        FutureWarning,
        stacklevel=2,
    )
    return _apply_permutation(tensor, permutation, dim)


class RNNBase(Module):
    """What recurrent networks share: the weights of every layer and direction, and the checks of what comes in.

    Layer k has weight_ih_lk (gates * hidden_size, in), weight_hh_lk (gates * hidden_size, hidden_size), bias_ih_lk and
    bias_hh_lk, with proj_size weight_hr_lk (proj_size, hidden_size); those of the other direction end in `_reverse`. All
    are drawn evenly from ±1/sqrt(hidden_size).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNBase.html
    """

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._flat_weight_refs = []
        self._check_settings(dropout)
        self._flat_weights_names = []
        self._all_weights = []
        directions = 2 if bidirectional else 1
        rows, width = _GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            for reverse in ("", "_reverse")[:directions]:
                shapes = {
                    "weight_ih": (rows, width * directions if layer else input_size),
                    "weight_hh": (rows, width),
                }
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (rows,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{name}_l{layer}{reverse}" for name in shapes]
                for name, shape in zip(names, shapes.values()):
                    setattr(self, name, empty_parameter(shape, device, dtype))
                self._flat_weights_names.extend(names)
                self._all_weights.append(names)
        self._init_flat_weights()
        self.reset_parameters()

    def _check_settings(self, dropout):
        if not isinstance(dropout, Number) or not 0 <= dropout <= 1 or isinstance(dropout, bool):
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        for name, kind in (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
            if kind is int and value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + self.mode)

    def _init_flat_weights(self):
        self._flat_weights = [getattr(self, name, None) for name in self._flat_weights_names]
        self._flat_weight_refs = [None if w is None else weakref.ref(w) for w in self._flat_weights]
        self.flatten_parameters()

    def __setattr__(self, name, value):
        names = self.__dict__.get("_flat_weights_names", ())
        if name in names:
            self._flat_weights[names.index(name)] = value
        super().__setattr__(name, value)

    def flatten_parameters(self):
        """Nothing: it moves weights together for an accelerator."""

    def _apply(self, fn, recurse=True):
        self._flat_weight_refs = []
        result = super()._apply(fn, recurse)
        self._init_flat_weights()
        return result

    def reset_parameters(self):
        """Draw all weights and biases anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def check_input(self, input, batch_sizes):
        """Fail unless the input is (T, N, input_size), or packed (sum of lengths, input_size)."""
        dtype = self._flat_weights[0].dtype
        if input.dtype != dtype and not _recurrent.is_cast():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). "
                f"Convert input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        dims = 3 if batch_sizes is None else 2
        if input.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def _expected_size(self, input, batch_sizes, width):
        if batch_sizes is not None:
            n = int(batch_sizes[0])
        else:
            n = input.size(0) if self.batch_first else input.size(1)
        return self.num_layers * (2 if self.bidirectional else 1), n, width

    def get_expected_hidden_size(self, input, batch_sizes):
        """The shape of the first hidden state: (layers * directions, N, hidden)."""
        return self._expected_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        """Fail unless a state has the shape."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def _weights_have_changed(self):
        for ref, name in zip(self._flat_weight_refs, self._flat_weights_names):
            weight = getattr(self, name, None)
            if weight is not None and ref is not None and ref() is not weight:
                return True
        return False

    def check_forward_args(self, input, hidden, batch_sizes):
        """Fail unless input and state have the shapes they must have."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The states of the sequences in another order; None leaves them."""
        return hx if permutation is None else _apply_permutation(hx, permutation)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        for name, default in {"proj_size": 0, **defaults}.items():
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text

    def _update_flat_weights(self):
        if self._weights_have_changed():
            self._init_flat_weights()

    def __getstate__(self):
        self._update_flat_weights()
        state = dict(self.__dict__)
        del state["_flat_weight_refs"]  # weak references do not pickle
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "all_weights" in state:
            self._all_weights = state["all_weights"]
        if "proj_size" not in state:
            self.proj_size = 0
        self._flat_weight_refs = [None if w is None else weakref.ref(w) for w in self._flat_weights]

    @property
    def all_weights(self):
        """The weights of each layer and direction, as lists."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def _replicate_for_data_parallel(self):
        replica = super()._replicate_for_data_parallel()
        replica._flat_weights = replica._flat_weights[:]
        replica._flat_weight_refs = replica._flat_weight_refs[:]
        return replica

    # ---- The call, for a network with one state; LSTM has two -------------------------------------------------------------

    def _zeros(self, input, n, width):
        shape = (self.num_layers * (2 if self.bidirectional else 1), n, width)
        return hookgrad.zeros(shape, dtype=input.dtype, device=input.device)

    def _first_state(self, input, n):
        return self._zeros(input, n, self.hidden_size)

    def _check_state_dims(self, hx, is_batched):
        dims = 3 if is_batched else 2
        if hx.dim() != dims:
            kind = "batched 3-D" if is_batched else "unbatched 2-D"
            raise RuntimeError(f"For {kind} input, hx should also be {dims}-D but got {hx.dim()}-D tensor")
        return hx if is_batched else hx.unsqueeze(1)

    def _squeezed(self, hx):
        return hx.squeeze(1)

    def _states(self, results):
        return results[0]

    def _too_many_dims(self, input):
        name, unit = ("RNN", "D tensor") if self.mode.startswith("RNN") else (self.mode, "D")
        return ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}{unit} instead")

    def _function(self):
        return getattr(_VF, self.mode.lower())

    def forward(self, input, hx=None):
        self._update_flat_weights()
        settings = self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            if hx is None:
                hx = self._first_state(data, int(batch_sizes[0]))
            else:
                hx = self.permute_hidden(hx, sorted_indices)
            self.check_forward_args(data, hx, batch_sizes)
            output, *states = self._function()(data, batch_sizes, hx, *settings)
            packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
            return packed, self.permute_hidden(self._states(states), unsorted_indices)
        if input.dim() not in (2, 3):
            raise self._too_many_dims(input)
        is_batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        if not is_batched:
            input = input.unsqueeze(batch_dim)
        if hx is None:
            hx = self._first_state(input, input.size(batch_dim))
        else:
            hx = self._check_state_dims(hx, is_batched)
        self.check_forward_args(input, hx, None)
        output, *states = self._function()(input, hx, *settings, self.batch_first)
        hidden = self._states(states)
        if not is_batched:
            output, hidden = output.squeeze(batch_dim), self._squeezed(hidden)
        return output, hidden


def _no_projection(kwargs):
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """h = tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh) for each step, or relu by `nonlinearity`.

    Input (T, N, input_size), with `batch_first` (N, T, input_size), without a batch (T, input_size), or packed. Returns
    the outputs of the last layer (T, N, directions * hidden_size) and the last state of each (layers * directions, N,
    hidden_size). `dropout` stands between the layers.

    >>> import hookgrad as torch
    >>> output, h = RNN(10, 20, 2)(torch.randn(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html
    """

    def __init__(self, *args, **kwargs):
        _no_projection(kwargs)
        if len(args) > 3:
            self.nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + self.nonlinearity.upper(), *args, **kwargs)


class GRU(RNNBase):
    """A gated recurrent unit: new h = (1 - z) * n + z * h, with n = tanh(in(x) + r * hid(h)) and gates r and z.

    Input, output and state are those of RNN.

    >>> import hookgrad as torch
    >>> output, h = GRU(10, 20, bidirectional=True)(torch.randn(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html
    """

    def __init__(self, *args, **kwargs):
        _no_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    """A long short-term memory: new c = f * c + i * g and h = o * tanh(c), with gates i, f, o and g of the input and h.

    Input and output are those of RNN, the state is (h, c). With `proj_size` h is weight_hr @ h, of that size.

    >>> import hookgrad as torch
    >>> output, (h, c) = LSTM(10, 20, 2)(torch.randn(5, 3, 10))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input, batch_sizes):
        """The shape of the first cell state: (layers * directions, N, hidden_size)."""
        return self._expected_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        self.check_input(input, batch_sizes)
        h, c = self.get_expected_hidden_size(input, batch_sizes), self.get_expected_cell_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], h, "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], c, "Expected hidden[1] size {}, got {}")

    def permute_hidden(self, hx, permutation):
        if permutation is None:
            return hx
        return _apply_permutation(hx[0], permutation), _apply_permutation(hx[1], permutation)

    def _first_state(self, input, n):
        return self._zeros(input, n, self.proj_size or self.hidden_size), self._zeros(input, n, self.hidden_size)

    def _check_state_dims(self, hx, is_batched):
        dims = 3 if is_batched else 2
        if hx[0].dim() != dims or hx[1].dim() != dims:
            kind = "batched 3-D" if is_batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {dims}-D but got "
                f"({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )
        return hx if is_batched else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))

    def _squeezed(self, hx):
        return hx[0].squeeze(1), hx[1].squeeze(1)

    def _states(self, results):
        return tuple(results)


# ---- Steps ---------------------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the steps share: weight_ih, weight_hh, bias_ih and bias_hh, drawn evenly from ±1/sqrt(hidden_size)."""

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = empty_parameter((rows, input_size), device, dtype)
        self.weight_hh = empty_parameter((rows, hidden_size), device, dtype)
        for name in ("bias_ih", "bias_hh"):
            if bias:
                setattr(self, name, empty_parameter(rows, device, dtype))
            else:
                self.register_parameter(name, None)
        self.reset_parameters()

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.__dict__.get("bias", True) is not True:
            text += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def reset_parameters(self):
        """Draw all weights and biases anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _check_dims(self, what, tensor):
        if tensor.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected {what} to be 1D or 2D, got {tensor.dim()}D instead")

    def _step(self, function, input, hx):
        """The function of a batch of one where there is none."""
        self._check_dims("input", input)
        if hx is not None:
            self._check_dims("hidden", hx)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        if input.dim() == 2:
            if hx is None:
                hx = hookgrad.zeros((input.size(0), self.hidden_size), dtype=input.dtype, device=input.device)
            return function(input, hx, *weights)
        hx = (
            hookgrad.zeros((1, self.hidden_size), dtype=input.dtype, device=input.device)
            if hx is None
            else hx.unsqueeze(0)
        )
        return function(input.unsqueeze(0), hx, *weights).squeeze(0)


class RNNCell(RNNCellBase):
    """One step of an RNN: input (N, input_size) or (input_size), and the state before, (N, hidden_size) or (hidden_size).

    >>> import hookgrad as torch
    >>> RNNCell(10, 20)(torch.randn(3, 10), torch.randn(3, 20)).shape
    torch.Size([3, 20])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        functions = {"tanh": _VF.rnn_tanh_cell, "relu": _VF.rnn_relu_cell}
        if self.nonlinearity not in functions:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(functions[self.nonlinearity], input, hx)


class GRUCell(RNNCellBase):
    """One step of a GRU: input (N, input_size) or (input_size), and the state before, (N, hidden_size) or (hidden_size).

    >>> import hookgrad as torch
    >>> GRUCell(10, 20)(torch.randn(3, 10)).shape
    torch.Size([3, 20])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step(_VF.gru_cell, input, hx)


class LSTMCell(RNNCellBase):
    """One step of an LSTM: input (N, input_size) or (input_size), and (h, c), each (N, hidden_size) or (hidden_size).

    >>> import hookgrad as torch
    >>> h, c = LSTMCell(10, 20)(torch.randn(3, 10))
    >>> h.shape, c.shape
    (torch.Size([3, 20]), torch.Size([3, 20]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        self._check_dims("input", input)
        for i, state in enumerate(() if hx is None else hx):
            self._check_dims(f"hx[{i}]", state)
        if isinstance(hx, hookgrad.Tensor):
            raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor")
        is_batched = input.dim() == 2
        if not is_batched:
            input = input.unsqueeze(0)
        if hx is None:
            zeros = hookgrad.zeros((input.size(0), self.hidden_size), dtype=input.dtype, device=input.device)
            hx = zeros, zeros
        elif not is_batched:
            hx = hx[0].unsqueeze(0), hx[1].unsqueeze(0)
        h, c = _VF.lstm_cell(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return (h, c) if is_batched else (h.squeeze(0), c.squeeze(0))
