# Recurrent layers, cells and packed sequences under hooks; a character model; a transformer encoder; attention.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
r = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
print(r)
x = torch.randn(2, 5, 3)
fired = []
r.register_forward_hook(lambda m, i, o: fired.append((type(o).__name__, o[0].shape, [t.shape for t in o[1]])))
r.register_full_backward_hook(
    lambda m, gi, go: fired.append(("bw", len(gi), [None if g is None else tuple(g.shape) for g in go]))
)
xr = x.clone().requires_grad_()
o, (h, c) = r(xr)
o.sum().backward()
print(fired)
print(o[0, 0], h.shape, xr.grad[0, 0])
fired.clear()
o, (h, c) = r(xr, (torch.zeros(4, 2, 4), torch.zeros(4, 2, 4)))
print([n for n, _ in r.named_parameters()][:4], len(list(r.parameters())))
g = nn.GRU(3, 4)
o, h = g(x.transpose(0, 1))
print(o[-1], torch.allclose(o[-1], h[0]))
rn = nn.RNN(3, 4, nonlinearity="relu")
print(rn(torch.randn(5, 3))[0].shape)
cell = nn.LSTMCell(3, 4)
hx, cx = torch.zeros(2, 4), torch.zeros(2, 4)
grads = []
for t in range(5):
    hx, cx = cell(x[:, t], (hx, cx))
    hx.register_hook(lambda gr, t=t: grads.append((t, round(gr.norm().item(), 4))))
hx.sum().backward()
print(grads, cell.weight_hh.grad.norm())
print(nn.GRUCell(3, 4)(x[:, 0]).shape, nn.RNNCell(3, 4)(x[:, 0], None).shape)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

p = pad_sequence([torch.ones(2, 3), torch.ones(4, 3), torch.ones(1, 3)], batch_first=True)
print(p.shape)
pk = pack_padded_sequence(p, [2, 4, 1], batch_first=True, enforce_sorted=False)
o, _ = nn.GRU(3, 2, batch_first=True)(pk)
u, l = pad_packed_sequence(o, batch_first=True)
print(u.shape, l, u[2, 1:].abs().sum())


# char-level manual RNN with hooks on hidden state truncation
class CharRNN(nn.Module):
    def __init__(s, v, h):
        super().__init__()
        s.i2h, s.h2o, s.h = nn.Linear(v + h, h), nn.Linear(h, v), h

    def forward(s, x, h):
        h = torch.tanh(s.i2h(torch.cat((x, h), 1)))
        return F.log_softmax(s.h2o(h), 1), h


m = CharRNN(5, 6)
calls = []
m.i2h.register_full_backward_hook(lambda mod, gi, go: calls.append(gi[0] is None))
seq = torch.randint(0, 5, (7,))
h = torch.zeros(1, 6)
loss = 0
for a, b in zip(seq[:-1], seq[1:]):
    o, h = m(F.one_hot(a, 5).float()[None], h)
    loss = loss + F.nll_loss(o, b[None])
loss.backward()
print(f"{loss.item():.5f}", calls, m.i2h.weight.grad.norm())
h = h.detach()
print(h.requires_grad, h.grad_fn)
enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2)
print(enc)
att = {}
enc.layers[0].self_attn.register_forward_hook(
    lambda mod, a, k, o: att.update(kw=sorted(k), o=type(o).__name__), with_kwargs=True
)
enc.train()
y = enc(torch.randn(2, 3, 8))
y.mean().backward()
print(att, y.shape, y[0, 0])
mha = nn.MultiheadAttention(8, 2, batch_first=True)
o, w = mha(y, y, y, average_attn_weights=False)
print(w.shape, w[0, 0])
mask = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
print(mha(y, y, y, attn_mask=mask)[1][0], mha(y, y, y, need_weights=False)[1])
