"""Nodes of recurrent cells in the order in which they were made, gradient edges as named tuples, tuples of a class of their own."""

import copy
import pickle
from collections import namedtuple

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge


def by_age(out):
    """The names of the nodes below, the oldest first."""
    seen, left = {}, [out.grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen[node] = node._sequence_nr()
            left += [to for to, _ in node.next_functions]
    return [node.name() for node in sorted(seen, key=seen.get) if "Accumulate" not in node.name()]


for make in (nn.LSTMCell, nn.RNNCell, lambda *a, **kw: nn.RNNCell(*a, nonlinearity="relu", **kw)):
    for bias in (True, False):
        for wanted in ((False, False), (True, False), (False, True), (True, True)):
            m, packed = make(2, 3, bias=bias), []
            x = torch.ones(1, 2, requires_grad=wanted[0])
            h = torch.ones(1, 3, requires_grad=wanted[1])
            with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(list(t.shape)) or t, lambda t: t):
                out = m(x, (h, torch.ones(1, 3)) if isinstance(m, nn.LSTMCell) else h)
            print(type(m).__name__, bias, wanted, packed, by_age(sum(out)))

x = torch.ones(2, requires_grad=True)
y = x * 2
edge = get_gradient_edge(y)
print(edge._fields, edge._field_defaults, sorted(edge._asdict()), GradientEdge.__match_args__)
moved = edge._replace(output_nr=3)
print(type(moved).__name__, moved.output_nr, moved.node is edge.node, edge._replace() == edge)
print(torch.autograd.grad(edge._replace(ownership_token=y.grad_fn), x, torch.ones(2)))
print(GradientEdge._make((y.grad_fn, 0, None)) == edge, copy.copy(edge) == edge)
for wrong in (lambda: GradientEdge._make((y.grad_fn, 0)), lambda: pickle.dumps(edge)):
    try:
        wrong()
    except Exception as error:
        print(type(error).__name__)


class Pair(tuple):
    def __new__(cls, a, b):
        return super().__new__(cls, (a, b))


class Named(namedtuple("Named", "a b")):
    def both(self):
        return self.a + self.b


class Gives(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return self.kind(x * 2, x * 3)


class Takes(nn.Module):
    def forward(self, pair):
        return pair[0] * pair[1]


for kind in (Pair, Named, lambda *items: items, lambda *items: list(items)):
    for name in ("register_full_backward_hook", "register_full_backward_pre_hook", "register_forward_hook"):
        m, seen = Gives(kind), []
        getattr(m, name)(lambda *args: seen.append(len(args)))
        out = m(torch.ones(1, requires_grad=True))
        print(type(out).__name__, len(out), [type(t).__name__ for t in out])
        Takes()(out).sum().backward()
        print(seen)
