# Random networks under random hooks that change values, remove and add hooks, fail, and return what does not fit: what happened,
# in order, for each of many seeds.
import random
import warnings

import torch
from torch import nn
from torch.nn.modules import module as every_module

warnings.simplefilter("ignore")
SEEDS = 150
RETURNED = {
    "pre": (1, 2, 3, 4),
    "forward": [torch.ones(2)],
    "backward_pre": (1, 2, 3),
    "backward": (None,) * 5,
    "tensor": torch.ones(7),
}


def show(v):
    if isinstance(v, torch.Tensor):
        return "T" + str([round(float(x), 4) for x in v.detach().reshape(-1)])
    if isinstance(v, (tuple, list)):
        return type(v).__name__ + "(" + ", ".join(map(show, v)) + ")"
    if isinstance(v, dict):
        return "{" + ", ".join(f"{k}: {show(x)}" for k, x in v.items()) + "}"
    return v.tag if isinstance(v, nn.Module) else repr(v)


def tensor_in(v):
    while not isinstance(v, torch.Tensor):
        v = next(iter(v.values())) if isinstance(v, dict) else v[0]
    return v


class Boom(Exception):
    pass


class Part(nn.Module):
    def __init__(self, tag, run):
        super().__init__()
        self.tag, self.run, self.kind = tag, run, run.r.randrange(6)
        self.w = nn.Parameter(torch.tensor([run.r.uniform(0.5, 2)]))
        run.modules.append(self)

    def forward(self, x, y=None, k=1.0):
        print("forward", self.tag)
        if self.kind == 1:
            return x * self.w, x + k
        if self.kind == 2:
            return x * self.w if y is None else x * self.w + y
        if self.kind == 3:
            return {"o": x * self.w}
        if self.kind == 4:
            return x.detach() * self.w
        if self.kind == 5 and self.run.r.random() < 0.3:
            raise Boom(self.tag)
        return x * self.w * k


class Whole(nn.Module):
    def __init__(self, tag, run, depth):
        super().__init__()
        self.tag, self.run = tag, run
        run.modules.append(self)
        parts = []
        for i in range(run.r.randrange(1, 4)):
            deeper = depth and run.r.random() < 0.4
            parts.append(Whole(tag + str(i), run, depth - 1) if deeper else Part(tag + str(i), run))
        self.parts = nn.ModuleList(parts)

    def forward(self, x, **kwargs):
        print("forward", self.tag)
        for part in self.parts:
            by_keyword = isinstance(part, Part) and self.run.r.random() < 0.3
            x = tensor_in(part(x, k=2.0) if by_keyword else part(x))
        return x


class Run:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.modules, self.handles, self.removable = [], [], []
        self.net = Whole("n", self, 2)

    def hook(self, kind, with_kwargs, depth):
        r, name = self.r, f"{kind} {len(self.handles)}"
        act, c = r.randrange(12), r.uniform(0.5, 2)

        def hook(*args):
            print(name, *map(show, args))
            if act == 0:
                raise Boom(name)
            if act == 1 and self.removable:
                r.choice(self.removable).remove()
            if act == 2 and depth < 2:
                self.register(r.choice(self.modules), depth + 1)
            if act in (3, 4, 5):
                return self.changed(kind, with_kwargs, args, c)
            if act == 6 and r.random() < 0.3:
                return RETURNED[kind]

        return hook

    def changed(self, kind, with_kwargs, args, c):
        if kind == "pre":
            given = (args[1][0] * c, *args[1][1:])
            return (given, args[2]) if with_kwargs else given if len(given) > 1 or self.r.random() < 0.5 else given[0]
        if kind == "forward":
            return tensor_in(args[-1]) * c
        if kind == "tensor":
            return args[0] * c
        return tuple(g if g is None else g * c for g in args[1])

    def register(self, module, depth=0):
        r = self.r
        kind = r.choice(list(RETURNED))
        # PyTorch forgets that a removed hook wanted kwargs, though it still calls it: those are not removed.
        with_kwargs = kind in ("pre", "forward") and r.random() < 0.3
        hook, prepend = self.hook(kind, with_kwargs, depth), r.random() < 0.3
        if kind == "pre":
            handle = module.register_forward_pre_hook(hook, prepend=prepend, with_kwargs=with_kwargs)
        elif kind == "forward":
            always = r.random() < 0.3
            handle = module.register_forward_hook(hook, prepend=prepend, with_kwargs=with_kwargs, always_call=always)
        elif kind == "backward_pre":
            handle = module.register_full_backward_pre_hook(hook, prepend=prepend)
        elif kind == "backward":
            handle = module.register_full_backward_hook(hook, prepend=prepend)
        else:
            handle = r.choice(list(module.parameters())).register_hook(hook)
        self.handles.append(handle)
        if not with_kwargs:
            self.removable.append(handle)

    def register_everywhere(self):
        def printing(name):
            return lambda *args: print(name, *map(show, args))

        m, r = every_module, self.r
        handles = []
        if r.random() < 0.3:
            handles.append(m.register_module_forward_pre_hook(printing("every pre")))
        if r.random() < 0.3:
            handles.append(m.register_module_forward_hook(printing("every forward"), always_call=r.random() < 0.5))
        if r.random() < 0.2:
            handles.append(m.register_module_full_backward_pre_hook(printing("every backward_pre")))
        if r.random() < 0.2:
            handles.append(m.register_module_full_backward_hook(printing("every backward")))
        return handles

    def once(self):
        x = torch.tensor([1.0, 2.0], requires_grad=self.r.random() < 0.8)
        try:
            y = self.net(x)
            print("output", show(y), y.grad_fn.name() if y.grad_fn is not None else None)
            if y.requires_grad:
                y.sum().backward(retain_graph=self.r.random() < 0.2)
        except Exception as e:
            print(type(e).__name__, e)
        print("grads", show(x.grad), *(show(p.grad) for p in self.net.parameters()))


for seed in range(SEEDS):
    print("---- seed", seed)
    run = Run(seed)
    for _ in range(run.r.randrange(1, 7)):
        run.register(run.r.choice(run.modules))
    everywhere = run.register_everywhere()
    run.once()
    run.once()
    for handle in everywhere:
        handle.remove()
    tables = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    print("left", *(len(getattr(m, table)) for m in run.modules for table in tables))
