"""Recurrent networks as functions: `torch.lstm`, `torch.gru`, `torch.rnn_tanh`, `torch.rnn_relu`, and one step of each.

A layer runs over its whole input at once where it can: what a step takes from the input is one product for all steps, and
only what it takes from the step before is done step by step. Sequences of unequal length come packed, the steps of all of
them side by side, with `batch_sizes` saying how many take part in each.
"""

import sys

from . import _C
from ._given import of_tensors
from ._warn import warn_once
from .nn import functional as F
from .nn._whole import one_node

# ---- One step ------------------------------------------------------------------------------------------------------------


def _lstm_gated(gates, c):
    i, f, g, o = gates.unsafe_chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = (f * c).add_(i * g)
    return o * c.tanh(), c


def _lstm_step(from_input, state, w_hh, b_hh, w_hr=None):
    h, c = _lstm_gated(F.linear(state[0], w_hh, b_hh) + from_input, state[1])
    return (h if w_hr is None else F.linear(h, w_hr)), c


def _gru_step(from_input, state, w_hh, b_hh, w_hr=None):
    (h,) = state
    input_r, input_z, input_n = from_input.unsafe_chunk(3, 1)
    hidden_r, hidden_z, hidden_n = F.linear(h, w_hh, b_hh).unsafe_chunk(3, 1)
    r = (hidden_r + input_r).sigmoid()
    z = (hidden_z + input_z).sigmoid()
    n = (input_n + hidden_n.mul_(r)).tanh()  # in place where it is in PyTorch: of what is overwritten a copy is saved
    return ((h - n).mul_(z).add_(n),)


def _tanh_step(from_input, state, w_hh, b_hh, w_hr=None):
    return ((F.linear(state[0], w_hh, b_hh) + from_input).tanh(),)


def _relu_step(from_input, state, w_hh, b_hh, w_hr=None):
    return ((F.linear(state[0], w_hh, b_hh) + from_input).relu(),)


def _from_both(input, h, w_ih, w_hh, b_ih, b_hh):
    """What a step takes from the state and from the input, in the order in which PyTorch's compilers have it computed."""
    return F.linear(h, w_hh, b_hh) + F.linear(input, w_ih, b_ih)


def _check_cell(input, states, w_ih, w_hh):
    if input.shape[1] != w_ih.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {input.shape[1]} expected {w_ih.shape[1]}")
    size = w_hh.shape[1]
    for i, h in enumerate(states):
        if h.shape[0] != input.shape[0]:
            raise RuntimeError(f"Input batch size {input.shape[0]} doesn't match hidden{i} batch size {h.shape[0]}")
        if h.shape[1] != size:
            raise RuntimeError(f"hidden{i} has inconsistent hidden_size: got {h.shape[1]}, expected {size}")


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: (h, c) from input (N, in) and hx, the (h, c) before, each (N, hidden)."""
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    _check_cell(input, hx, w_ih, w_hh)
    return _lstm_gated(_from_both(input, hx[0], w_ih, w_hh, b_ih, b_hh), hx[1])


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU: h (N, hidden) from input (N, in) and hx, the h before."""
    _check_cell(input, [hx], w_ih, w_hh)
    return _gru_step(F.linear(input, w_ih, b_ih), (hx,), w_hh, b_hh)[0]


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """tanh(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh), for input (N, in) and hx (N, hidden)."""
    _check_cell(input, [hx], w_ih, w_hh)
    return _from_both(input, hx, w_ih, w_hh, b_ih, b_hh).tanh()


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """relu(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh), for input (N, in) and hx (N, hidden)."""
    _check_cell(input, [hx], w_ih, w_hh)
    return _from_both(input, hx, w_ih, w_hh, b_ih, b_hh).relu()


# ---- One layer in one direction ---------------------------------------------------------------------------------------------


def _padded(step, input, state, weights, reverse):
    """Outputs (T, N, hidden) and the last state, for input (T, N, in)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    steps = F.linear(input, w_ih, b_ih).unbind(0)
    outputs = []
    for x in reversed(steps) if reverse else steps:
        state = step(x, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    return _C.stack(outputs[::-1] if reverse else outputs, 0), state


def _packed(step, input, batch_sizes, state, weights, reverse):
    """Outputs and the last state of every sequence, longest sequence first, for packed input (sum of lengths, in)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    steps = F.linear(input, w_ih, b_ih).split(batch_sizes, 0)
    outputs = []
    if reverse:
        # The longest sequences start, the others join at their last step.
        first, size = state, batch_sizes[-1]
        state = tuple(s.narrow(0, 0, size) for s in first)
        for x, n in zip(reversed(steps), reversed(batch_sizes)):
            if n > size:
                state = tuple(_C.cat([s, f.narrow(0, size, n - size)], 0) for s, f in zip(state, first))
            size = n
            state = step(x, state, w_hh, b_hh, w_hr)
            outputs.append(state[0])
        return _C.cat(outputs[::-1], 0), state
    ended, size = [], batch_sizes[0]
    for x, n in zip(steps, batch_sizes):
        if n < size:
            ended.append(tuple(s.narrow(0, n, size - n) for s in state))
            state = tuple(s.narrow(0, 0, n) for s in state)
        size = n
        state = step(x, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    ended.append(state)
    return _C.cat(outputs, 0), tuple(_C.cat(parts[::-1], 0) for parts in zip(*ended))


@one_node(
    "MkldnnRnnLayerBackward0",
    *range(7),
    saved="input weight0 weight1 weight2 weight3 hx_ cx_ reverse",
    results="result0 result1 result2 result3",
)
def _lstm_layer(input, w_ih, w_hh, b_ih, b_hh, h, c, reverse):
    """A layer of an LSTM as one node, which it is in PyTorch where oneDNN computes it. It saves oneDNN's workspace, too, of which
    nothing is needed here."""
    output, (h, c) = _padded(_lstm_step, input, (h, c), (w_ih, w_hh, b_ih, b_hh, None), reverse)
    return output, h, c, _C.empty(0, dtype=_C.uint8)


def is_cast():
    """Is autocast on?"""
    amp = sys.modules.get(f"{__package__}.amp")  # it cannot be on before it is there
    return amp is not None and amp._state.enabled


def _autocast(*tensors):
    """The tensors, or None, of a function that autocast computes in its lower dtype: they come cast where it is on."""
    if not is_cast():
        return tensors
    mode = sys.modules[f"{__package__}.amp"]._state.mode
    return [t if t is None else mode._cast(t, mode.state.dtype) for t in tensors]


# ---- Layers upon layers ------------------------------------------------------------------------------------------------------


def _groups(flat, has_biases, projected):
    """The weights of each layer and direction: w_ih, w_hh, b_ih, b_hh, w_hr, None standing for what there is not."""
    n = 2 + 2 * has_biases + projected
    if len(flat) % n:
        raise RuntimeError("got an incorrect number of RNN parameters")
    for i in range(0, len(flat), n):
        w_ih, w_hh, *rest = flat[i : i + n]
        b_ih, b_hh = rest[:2] if has_biases else (None, None)
        yield w_ih, w_hh, b_ih, b_hh, rest[-1] if projected else None


def _run(
    step, n_states, input, batch_sizes, hx, flat, has_biases, num_layers, dropout, train, bidirectional, batch_first
):
    projected = n_states == 2 and hx[0].shape[2] != hx[1].shape[2]
    weights = list(_groups(flat, has_biases, projected))
    directions = 2 if bidirectional else 1
    if len(weights) != num_layers * directions:
        raise RuntimeError("got an incorrect number of RNN parameters")
    if batch_first:
        input = input.transpose(0, 1)
    states = None
    in_one = n_states == 2 and (input.dtype == _C.float32 or is_cast() and input.dtype != _C.float64)
    in_one = in_one and batch_sizes is None and input.numel() > 0
    if in_one and projected:
        warn_once("LSTM with projections is not supported with oneDNN. Using default implementation.", 4)
    if in_one and not projected:
        input = input.contiguous()
        states = [[h[k] for h in hx] for k in range(len(weights))]

        def layer(x, state, w, reverse):
            output, *state, _ = _lstm_layer(*_autocast(x, *w[:4], *state), reverse)
            return output, state
    elif batch_sizes is None:

        def layer(x, state, w, reverse):
            return _padded(step, x, state, w, reverse)
    else:
        sizes = batch_sizes.tolist()

        def layer(x, state, w, reverse):
            return _packed(step, x, sizes, state, w, reverse)

    if states is None:
        states = list(zip(*(h.unbind(0) for h in hx)))
    last = []
    for i in range(num_layers):
        outputs = []
        for k in range(i * directions, (i + 1) * directions):
            output, state = layer(input, states[k], weights[k], k % directions == 1)
            outputs.append(output)
            last.append(state)
        input = outputs[0] if len(outputs) == 1 else _C.cat(outputs, input.dim() - 1)
        if dropout and train and i < num_layers - 1:
            input = F.dropout(input, dropout)
    if batch_first:
        input = input.transpose(0, 1) if n_states == 2 else input.transpose_(0, 1)
    states = [_C.stack(parts, 0) for parts in [*zip(*last)][::-1]]  # the last one first, as torch's compiler has it
    return (input, *states[::-1])


def _entry(name, step, n_states):
    def run(input, *args):
        # Packed sequences: data, batch_sizes, hx, params ...; others: input, hx, params ..., batch_first.
        packed = isinstance(args[2], (list, tuple)) and not isinstance(args[1], list)
        if packed:
            batch_sizes, hx, *rest = args
            rest.append(False)
        else:
            batch_sizes, (hx, *rest) = None, args
        hx = tuple(hx) if n_states == 2 else (hx,)
        if len(hx) != n_states:
            raise RuntimeError(f"{name} expects two hidden states")
        return _run(step, n_states, input, batch_sizes, hx, *rest)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = (
        f"{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), or for packed "
        f"sequences {name}(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)."
    )
    return run


lstm = _entry("lstm", _lstm_step, 2)
gru = _entry("gru", _gru_step, 1)
rnn_tanh = _entry("rnn_tanh", _tanh_step, 1)
rnn_relu = _entry("rnn_relu", _relu_step, 1)


of_tensors(globals(), "gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell")
