"""Full backward hooks and in-place operations live together: random programs of both have the gradients, or the error,
that they have without the hooks. HOOKGRAD_PROGRAMS says how many are tried."""

import os
import random
import warnings

import pytest

import hookgrad as torch
from hookgrad import nn

PROGRAMS = int(os.environ.get("HOOKGRAD_PROGRAMS", "400"))
BATCH = 100

# Sums of everything that blocks have seen, so that all of it is part of the loss; tensors whose gradient is retained.
used, kept = [], []


class Block(nn.Module):
    """Runs steps, each over two of the values so far: its inputs, and what earlier steps have made."""

    def __init__(self, steps, results, children):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6, dtype=torch.float64).view(2, 3).clone())
        self.steps, self.results = steps, results
        self.parts = nn.ModuleList(children)

    def forward(self, *inputs):
        values = [*inputs]
        for step, places, number in self.steps:
            values += step(self, *[values[p % len(values)] for p in places], number)
        used.extend(v.sum() * 0.01 for v in values)
        results = [values[r % len(values)] for r in self.results]
        return results[0] if len(results) == 1 else tuple(results)


OPERATIONS = [
    lambda a, b, w: a * b,
    lambda a, b, w: a + 2 * b,
    lambda a, b, w: a.sin(),
    lambda a, b, w: a.exp() * 0.1,
    lambda a, b, w: a.sigmoid(),
    lambda a, b, w: a.relu(),
    lambda a, b, w: a * w,
    lambda a, b, w: a.clone(),
    lambda a, b, w: a.cumsum(0),
    lambda a, b, w: a.detach().clone(),
]

IN_PLACE = [
    lambda a, b, w: a.add_(b),
    lambda a, b, w: a.mul_(0.7),
    lambda a, b, w: a.relu_(),
    lambda a, b, w: a.tanh_(),
    lambda a, b, w: a[0].add_(1),
    lambda a, b, w: a[:, 1].copy_(b[:, 0]),
    lambda a, b, w: a.__setitem__((0, slice(1, 3)), b[1, :2]),
    lambda a, b, w: a.__setitem__(a.detach() > 0.5, 0.25),
    lambda a, b, w: a.add_(w),
    lambda a, b, w: a.copy_(b),
    lambda a, b, w: a[1].mul_(b[0]),
    lambda a, b, w: nn.functional.relu(a, inplace=True),
    lambda a, b, w: a.t()[0].sigmoid_(),
    lambda a, b, w: a.view(6)[1:3].mul_(2),
    lambda a, b, w: a.mul_(b),
    lambda a, b, w: a.zero_(),
    lambda a, b, w: torch.no_grad()(a.mul_)(2),
    lambda a, b, w: a.unbind()[0].mul_(2),
]

VIEWS = [
    lambda a: a.view(2, 3),
    lambda a: a[:],
    lambda a: a.view(6).view(2, 3),
    lambda a: a.view_as(a),
    lambda a: a.t().t(),
    lambda a: a.expand(2, 3),
    lambda a: a.narrow(0, 0, 2),
    lambda a: a.split(2)[0],
    lambda a: torch.no_grad()(a.view)(2, 3),
]


def operation(block, a, b, number):
    made = OPERATIONS[number % len(OPERATIONS)](a, b, block.weight)
    if number % 4 == 0 and made.requires_grad:
        made.retain_grad()
        kept.append(made)
    return [made]


def in_place(block, a, b, number):
    IN_PLACE[number % len(IN_PLACE)](a, b, block.weight)
    return []


def view(block, a, b, number):
    return [VIEWS[number % len(VIEWS)](a)]


def call(block, a, b, number):
    if not len(block.parts):
        return []
    part = block.parts[number % len(block.parts)]
    got = part(a, b) if isinstance(part, Block) and number % 2 else part(a)
    return list(got) if isinstance(got, tuple) else [got]


STEPS = [operation] * 6 + [in_place] * 3 + [view] * 2 + [call] * 5


def make(rng, depth):
    """A block with blocks inside it, some of which it may have twice."""
    children = [make(rng, depth - 1) for _ in range(rng.randrange(1, 3))] if depth else []
    if children and rng.random() < 0.3:
        children.append(children[0])
    if rng.random() < 0.3:
        children.append(
            rng.choice([nn.ReLU(inplace=True), nn.Identity(), nn.Sigmoid(), nn.Linear(3, 3, dtype=torch.float64)])
        )
    steps = [
        (rng.choice(STEPS), [rng.randrange(99) for _ in range(2)], rng.randrange(1000))
        for _ in range(rng.randrange(1, 5))
    ]
    results = [rng.choice([-1, -1, -1, 0, rng.randrange(99)]) for _ in range(rng.choice([1, 1, 1, 2]))]
    return Block(steps, results, children)


def hook_some(rng, model, hooks):
    share = rng.random()
    for module in [m for m in model.modules() if rng.random() < 0.2 + 0.8 * share] or [model]:
        kind = rng.randrange(4)
        if hooks and kind < 3:
            module.register_full_backward_hook(lambda module, grad_input, grad_output: None)
        if hooks and kind > 1:
            module.register_full_backward_pre_hook(lambda module, grad_output: None)


def outcome(seed, hooks):
    """What program number `seed` gives: every gradient, output and retained gradient, or the error's type."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = make(rng, rng.randrange(3))
    leaves = [
        torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).clone().requires_grad_(rng.random() < 0.8)
        for _ in range(2)
    ]
    twice, behind = rng.random() < 0.3, rng.random() < 0.8
    hook_some(rng, model, hooks)
    used.clear(), kept.clear()
    try:
        inputs = [x * 1.0 if behind else x for x in leaves]
        out = model(*inputs)
        outs = out if isinstance(out, tuple) else (out,)
        for i in range(rng.randrange(3)):
            in_place(model, outs[i % len(outs)], inputs[0], rng.randrange(1000))
        loss = sum(used) + sum((o * torch.arange(1.0, 7, dtype=torch.float64).view(2, 3)).sum() for o in outs)
        if behind:
            loss = loss + sum(i.sum() for i in inputs)
        leaves += model.parameters()
        if twice:
            wanted = [w for w in leaves if w.requires_grad]
            first = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
            loss = sum([(g * g).sum() for g in first if g is not None], loss * 0)
        loss.backward()
    except RuntimeError as e:
        return type(e)
    return [None if t is None else t.tolist() for t in [*[w.grad for w in leaves + kept], *outs, loss]]


def is_zero(a):
    return all(map(is_zero, a)) if isinstance(a, list) else a == 0


def same(a, b):
    """Up to rounding, and to zeros that a hook's node makes of gradients that do not come."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b)) or a != a and b != b
    return a is b or (a is None and is_zero(b)) or (b is None and is_zero(a))


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
def test_gradients_are_those_of_the_program_without_hooks(first):
    ran = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(first, first + BATCH):
            plain, hooked = outcome(seed, False), outcome(seed, True)
            assert same(plain, hooked), f"program {seed}: without hooks {plain}, with them {hooked}"
            ran += isinstance(plain, list)
    assert ran > BATCH / 3
