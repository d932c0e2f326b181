"""What may be swapped: no graph, view or .grad may hold it, its accumulator aside."""

import torch
from torch import nn


class Saves(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(b)
        return a * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None


class Holds(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.b = b
        return a * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.b, None


def leaf():
    return torch.ones(2, requires_grad=True)


def with_grad():
    x = leaf()
    (x * x).sum().backward()
    return x


def without_grad():
    x = with_grad()
    x.grad = None
    return x


@torch.no_grad()
def viewed_quietly(x):
    return x.view(2)


def packed(pack):
    x = leaf()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        return x, x * x


def frozen():
    x = leaf()
    y = x * 2
    x.requires_grad_(False)
    return x, y


def of_another_dtype():
    x = leaf()
    y = x * 2
    x.data = x.data.double()
    return x, y


def shared_grad(n):
    a, b, grad = leaf(), leaf(), torch.ones(2)
    a.grad = b.grad = grad
    for x in (a, b)[:n]:
        x.grad = None
    return grad, a, b


def node_of(x):
    return x.view_as(x).grad_fn.next_functions[0][0]


def lstm(call):
    m = nn.LSTM(2, 2)
    return m.weight_hh_l0, m(torch.ones(1, 1, 2)) if call else m


def linear(grad):
    m = nn.Linear(2, 2)
    return m.weight, m(torch.ones(1, 2, requires_grad=grad))


def let_go(x):
    grad, x.grad = x.grad, None
    return grad, x


def also(make, x):
    return x, make(x)


torch.manual_seed(0)

# Each gives what is to be swapped, first, and whatever else is to live meanwhile.
CASES = {
    "a leaf": lambda: [leaf()],
    "a product with a number": lambda: also(lambda x: x * 2, leaf()),
    "two of them": lambda: also(lambda x: (x * 2, x * 3), leaf()),
    "a square": lambda: also(lambda x: x * x, leaf()),
    "a square, its backward done": lambda: [with_grad()],
    "a view": lambda: also(lambda x: x.view(2), leaf()),
    "a view without history": lambda: also(viewed_quietly, leaf()),
    "a view itself": lambda: (lambda x: (x.view(2), x))(leaf()),
    "expanded": lambda: also(lambda x: x.expand(3, 2), torch.ones(2)),
    "unbound": lambda: also(lambda x: x.unbind(0), torch.ones(2)),
    "detached": lambda: also(lambda x: x.detach(), leaf()),
    "its data": lambda: also(lambda x: x.data, leaf()),
    "its array": lambda: also(lambda x: x.numpy(), torch.ones(2)),
    "a parameter of it": lambda: also(nn.Parameter, torch.ones(2)),
    "a grad": lambda: (lambda x: (x.grad, x))(with_grad()),
    "a grad let go": lambda: let_go(with_grad()),
    "one whose grad was let go": lambda: [without_grad()],
    "the grad of two": lambda: shared_grad(0),
    "the grad of one of two": lambda: shared_grad(1),
    "the grad of neither": lambda: shared_grad(2),
    "a result whose node is held": lambda: (lambda y: (y, y.grad_fn))(leaf() * 2),
    "a result that went on": lambda: also(torch.exp, leaf() * 2),
    "the result of that": lambda: (lambda y: (y.exp(), y))(leaf() * 2),
    "an index": lambda: also(lambda i: leaf()[i], torch.tensor([0, 1])),
    "a condition": lambda: also(lambda c: torch.where(c, leaf(), leaf()), torch.tensor([True, False])),
    "a factor": lambda: also(lambda t: leaf() * t, torch.ones(2)),
    "a factor of none": lambda: also(lambda t: torch.ones(2) * t, torch.ones(2)),
    "one of those joined": lambda: also(lambda t: torch.cat([leaf(), t]), torch.ones(2)),
    "saved by a function": lambda: also(lambda t: Saves.apply(leaf(), t), torch.ones(2)),
    "held by a function": lambda: also(lambda t: Holds.apply(leaf(), t), torch.ones(2)),
    "packed as it is": lambda: packed(lambda t: t),
    "packed as a copy": lambda: packed(torch.clone),
    "an edge": lambda: also(torch.autograd.graph.get_gradient_edge, leaf()),
    "an accumulator": lambda: also(node_of, leaf()),
    "in lists": lambda: also(lambda x: [x, x, {1: x}], leaf()),
    "hooked": lambda: also(lambda x: x.register_hook(print), leaf()),
    "hooked after accumulation": lambda: also(lambda x: x.register_post_accumulate_grad_hook(print), leaf()),
    "frozen since": lambda: frozen(),
    "of another dtype since": lambda: of_another_dtype(),
    "a graph kept": lambda: also(lambda x: (x * x).sum().backward(retain_graph=True), leaf()),
    "a graph of the gradient": lambda: also(lambda x: torch.autograd.grad((x * x).sum(), x, create_graph=True), leaf()),
    "a weight of the first layer": lambda: linear(False),
    "a weight of a later layer": lambda: linear(True),
    "a weight of an LSTM": lambda: lstm(False),
    "a weight of an LSTM that was called": lambda: lstm(True),
    "optimized": lambda: also(lambda x: torch.optim.Adam([x]).step(), with_grad()),
}

for name, make in CASES.items():
    first, *others = make()
    for place in ("first", "second"):
        other = torch.zeros(1, requires_grad=True)
        try:
            torch.utils.swap_tensors(*((first, other) if place == "first" else (other, first)))
            said = "swapped"
        except RuntimeError as error:
            said = "weakref" if "weakref" in str(error) else "held"
        print(f"{name}, {place}: {said}, {first.tolist()}, {first.requires_grad}, {other.tolist()}")
        for y in others:
            if isinstance(y, torch.Tensor) and y.grad_fn is not None and said == "swapped":
                try:
                    y.sum().backward(retain_graph=True)
                    print("    backward ran")
                except RuntimeError as error:
                    print("    backward fails:", "poisoned" in str(error))
