"""Recurrent networks and packed sequences: layers are their steps, packing changes nothing but the memory."""

import copy
import pickle

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.utils import rnn

KINDS = [(nn.RNN, nn.RNNCell), (nn.GRU, nn.GRUCell), (nn.LSTM, nn.LSTMCell)]
SETTINGS = [{}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True, "bias": False}]


def first(state):
    return state[0] if isinstance(state, tuple) else state


def close(a, b):
    return torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("layer, cell", KINDS)
def test_a_layer_is_its_step_repeated(layer, cell):
    torch.manual_seed(0)
    network, step = layer(3, 4), cell(3, 4)
    step.load_state_dict({name.removesuffix("_l0"): p for name, p in network.state_dict().items()})
    x = torch.randn(5, 2, 3)
    state, outputs = None, []
    for t in range(5):
        state = step(x[t], state)
        outputs.append(first(state))
    output, last = network(x)
    assert close(output, torch.stack(outputs))
    assert close(first(last)[0], first(state))


@pytest.mark.parametrize("layer", [layer for layer, _ in KINDS])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_packed_sequences_give_what_each_gives_alone(layer, settings):
    torch.manual_seed(1)
    network = layer(3, 4, **settings)
    sequences = [torch.randn(n, 3) for n in (2, 5, 1)]
    output, last = network(rnn.pack_sequence(sequences, enforce_sorted=False))
    for i, (sequence, got) in enumerate(zip(sequences, rnn.unpack_sequence(output))):
        alone, state = network(sequence)
        assert close(got, alone) and close(first(last)[:, i], first(state))


@pytest.mark.parametrize("layer", [layer for layer, _ in KINDS])
def test_gradients_agree_with_finite_differences(layer):
    torch.manual_seed(2)
    network = layer(2, 3, bidirectional=True).double()
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: network(x)[0], x)


def test_the_projection_of_an_lstm():
    torch.manual_seed(3)
    network = nn.LSTM(3, 5, num_layers=2, proj_size=2, batch_first=True)
    assert list(network.state_dict()) == [
        f"{name}_l{i}" for i in (0, 1) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    output, (h, c) = network(torch.randn(4, 6, 3))
    assert output.shape == (4, 6, 2) and h.shape == (2, 4, 2) and c.shape == (2, 4, 5)
    assert close(output[:, -1], h[1])


def test_hooks_see_the_nested_output():
    network = nn.LSTM(3, 4)
    seen = []
    network.register_forward_hook(lambda m, args, output: seen.append([type(o) for o in output]))
    network.register_full_backward_hook(lambda m, grad_input, grad_output: seen.append(len(grad_output)))
    output, (h, c) = network(torch.randn(2, 1, 3, requires_grad=True))
    (output.sum() + h.sum()).backward()
    assert seen == [[torch.Tensor, tuple], 2]  # the tuple of states counts as one, without a gradient


def test_the_flat_weights_follow_the_parameters():
    network = nn.GRU(2, 3)
    network.weight_ih_l0 = nn.Parameter(torch.zeros(9, 2))
    assert network._flat_weights[0] is network.weight_ih_l0
    network.double()
    assert network._flat_weights[0] is network.weight_ih_l0 and network._flat_weights[1].dtype == torch.float64
    x = torch.randn(2, 1, 2, dtype=torch.float64)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert close(twin(x)[0], network(x)[0]) and twin._flat_weights[0] is twin.weight_ih_l0


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: nn.LSTM(3, 4)(torch.randn(2, 3, 5)), "input.size(-1) must be equal to input_size. Expected 3, got 5"),
        (lambda: nn.GRU(3, 4)(torch.randn(2, 3, 3), torch.zeros(1, 3, 5)), "Expected hidden size (1, 3, 4), got"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size has to be smaller than hidden_size"),
        (lambda: nn.GRU(3, 4, proj_size=2), "proj_size argument is only supported for LSTM"),
        (lambda: nn.RNN(3, 4, nonlinearity="sine"), "Unknown nonlinearity 'sine'. Select from 'tanh' or 'relu'."),
        (lambda: nn.LSTM(3, 4, num_layers=0), "num_layers must be greater than zero"),
        (lambda: nn.LSTMCell(3, 4)(torch.randn(1, 2)), "input has inconsistent input_size: got 2 expected 3"),
        (lambda: rnn.pack_padded_sequence(torch.zeros(3, 2), [1, 3]), "must be sorted in decreasing order"),
        (lambda: rnn.pack_padded_sequence(torch.zeros(3, 2), [1, 0]), "Length of all samples has to be greater than 0"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises((RuntimeError, ValueError)) as caught:
        make()
    assert words in str(caught.value)


def test_dropout_needs_a_second_layer():
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1"):
        nn.LSTM(3, 4, dropout=0.5)
    network = nn.GRU(3, 64, num_layers=2, dropout=0.5)
    x = torch.randn(2, 1, 3)
    assert not torch.equal(network(x)[0], network(x)[0])
    assert torch.equal(network.eval()(x)[0], network(x)[0])


def test_padding_and_packing_are_inverses():
    sequences = [torch.tensor([1, 2, 3]), torch.tensor([4]), torch.tensor([5, 6])]
    padded = rnn.pad_sequence(sequences, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1], [5, 6, -1]]
    assert rnn.pad_sequence(sequences, True, 0, "left").tolist() == [[1, 2, 3], [0, 0, 4], [0, 5, 6]]
    packed = rnn.pack_padded_sequence(padded, [3, 1, 2], batch_first=True, enforce_sorted=False)
    assert packed.data.tolist() == [1, 5, 4, 2, 6, 3] and packed.batch_sizes.tolist() == [3, 2, 1]
    again, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1)
    assert torch.equal(again, padded) and lengths.tolist() == [3, 1, 2]
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [s.tolist() for s in sequences]
    assert packed.to(torch.int64) is packed and packed.double().data.dtype == torch.float64


@pytest.mark.parametrize(
    "name, layer",
    [
        ("lstm", nn.LSTM(4, 2, 2)), ("gru", nn.GRU(4, 2)), ("rnn_tanh", nn.RNN(4, 2)), ("lstm_cell", nn.LSTMCell(4, 2)),
        ("gru_cell", nn.GRUCell(4, 2)), ("rnn_relu_cell", nn.RNNCell(4, 2, nonlinearity="relu")),
    ],
)  # fmt: skip
def test_a_mode_is_asked_of_a_layers_function_as_one(name, layer):
    seen = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((torch.overrides.resolve_name(func), types, kwargs))
            return func(*args, **(kwargs or {}))

    x = torch.rand(2, 4) if name.endswith("cell") else torch.rand(3, 2, 4)
    with Mode():
        result = layer(x)
    assert (f"torch.{name}", (), None) in seen and not any("linear" in called[0] for called in seen)
    assert torch._VF.__dict__[name] is getattr(torch, name)
    first, again = (each[0] if isinstance(each, tuple) else each for each in (result, layer(x)))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_without_a_state_it_is_zeros_on_the_inputs_device(name):
    out = getattr(nn, name)(2, 3, device="meta")(torch.ones(4, 2, device="meta"))
    out = out[0] if isinstance(out, tuple) else out
    assert out.device.type == "meta" and out.shape == (4, 3)
