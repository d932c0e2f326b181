"""What each op saves, in which order, and that it is unpacked once, in the same order."""


def _logged(torch, log, ops):
    """Run each op and its backward, logging what passed the saved-tensor hooks: shape, dtype, and the node it came from."""

    def show(t):
        node = type(t.grad_fn).__name__ if t.grad_fn is not None else "leaf" if t.requires_grad else "constant"
        return f"{str(t.dtype)[6:]} {list(t.shape)} {node}"

    for name, op in ops.items():
        packed, unpacked = [], []

        def pack(t, packed=packed):
            packed.append(show(t))
            return t

        def unpack(t, unpacked=unpacked):
            unpacked.append(show(t))
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = op()
        y = y[0] if isinstance(y, tuple) else y
        y.backward(torch.ones_like(y))
        log(name, packed, "in the same order" if packed == unpacked else unpacked)


def _given(torch):
    """Makers of a leaf and of a constant, with values for which every op is defined."""

    def leaf(*shape):
        return torch.linspace(0.3, 0.9, max(2, torch.Size(shape).numel()))[: torch.Size(shape).numel()].reshape(shape)

    return lambda *shape: leaf(*shape).requires_grad_(), leaf


def what_ops_of_one_operand_save(torch, log):
    x, _ = _given(torch)
    names = (
        "abs acos asin asinh atan atanh ceil cos cosh digamma erf erfc erfinv exp exp2 expm1 floor frac lgamma log log10 log1p "
        "log2 logit neg reciprocal relu round rsqrt sgn sigmoid sign sin sinc sinh sqrt square tan tanh trunc"
    )
    _logged(torch, log, {name: lambda name=name: getattr(torch, name)(x(2, 3)) for name in names.split()})


def what_ops_of_two_operands_save(torch, log):
    x, c = _given(torch)
    operands = {
        "of two": lambda: (x(2, 3), x(2, 3)),
        "and a constant": lambda: (x(2, 3), c(2, 3)),
        "of a constant": lambda: (c(2, 3), x(2, 3)),
        "broadcast": lambda: (x(2, 3), x(3)),
    }
    for name in "add sub mul div pow maximum fmin atan2 hypot fmod remainder logaddexp copysign xlogy".split():
        _logged(
            torch,
            log,
            {f"{name} {k}": lambda of=of, name=name: getattr(torch, name)(*of()) for k, of in operands.items()},
        )
    numbers = {
        "x + 2": lambda: x(2) + 2,
        "2 - x": lambda: 2 - x(2),
        "x * 2": lambda: x(2) * 2,
        "x / 2": lambda: x(2) / 2,
        "2 / x": lambda: 2 / x(2),
        "x ** 2": lambda: x(2) ** 2,
        "2 ** x": lambda: 2 ** x(2),
        "x ** 0": lambda: x(2) ** 0,
    }
    _logged(torch, log, numbers)


def what_reductions_save(torch, log):
    x, _ = _given(torch)
    whole = "sum mean prod var std norm amax amin max min median".split()
    rows = (
        "sum mean prod var std amax max median logsumexp softmax log_softmax cumsum cumprod cummax logcumsumexp".split()
    )
    _logged(torch, log, {name: lambda name=name: getattr(x(2, 3), name)() for name in whole})
    _logged(torch, log, {name + " of rows": lambda name=name: getattr(x(2, 3), name)(1) for name in rows})


def what_in_place_ops_save(torch, log):
    x, c = _given(torch)

    def of(change):
        def op():
            y = x(2, 3) * 1
            change(y)
            return y

        return op

    ops = {
        "exp_": of(lambda y: y.exp_()),
        "sin_": of(lambda y: y.sin_()),
        "tanh_": of(lambda y: y.tanh_()),
        "mul_": of(lambda y: y.mul_(x(2, 3))),
        "mul_ by a constant": of(lambda y: y.mul_(c(2, 3))),
        "mul_ by a number": of(lambda y: y.mul_(3)),
        "div_": of(lambda y: y.div_(x(2, 3))),
        "pow_": of(lambda y: y.pow_(2)),
        "clamp_": of(lambda y: y.clamp_(0.4, 0.6)),
        "mul_ of a row": of(lambda y: y[0].mul_(x(3))),
        "a row set": of(lambda y: y.__setitem__(0, x(3))),
    }
    _logged(torch, log, ops)


def what_ops_that_index_save(torch, log):
    x, c = _given(torch)
    rows = torch.tensor([0, 1])
    ops = {
        "x[0]": lambda: x(2, 3)[0],
        "x[rows]": lambda: x(2, 3)[rows],
        "x[mask]": lambda: x(2, 3)[c(2, 3) > 0.5],
        "index_select": lambda: x(2, 3).index_select(0, rows),
        "gather": lambda: x(2, 3).gather(1, rows[:, None]),
        "scatter": lambda: x(2, 3).scatter(1, rows[:, None], x(2, 1)),
        "index_add": lambda: x(2, 3).index_add(0, rows, x(2, 3)),
        "index_copy": lambda: x(2, 3).index_copy(0, rows, x(2, 3)),
        "masked_fill": lambda: x(2, 3).masked_fill(c(2, 3) > 0.5, 0),
        "masked_select": lambda: x(2, 3).masked_select(c(2, 3) > 0.5),
        "take": lambda: x(2, 3).take(rows),
        "where": lambda: torch.where(c(2, 3) > 0.5, x(2, 3), x(2, 3)),
        "sort": lambda: x(2, 3).sort(),
        "topk": lambda: x(2, 3).topk(2),
        "cat": lambda: torch.cat([x(2, 3), x(2, 3)]),
        "view": lambda: x(2, 3).view(6).t().reshape(3, 2),
    }
    _logged(torch, log, ops)


def what_layers_save(torch, log):
    F = torch.nn.functional
    x, c = _given(torch)
    target = torch.tensor([0, 1])
    ops = {
        "matmul": lambda: x(2, 3) @ x(3, 4),
        "matmul by a constant": lambda: x(2, 3) @ c(3, 4),
        "batches": lambda: x(5, 2, 3) @ x(5, 3, 4),
        "linear": lambda: F.linear(x(2, 3), x(4, 3), x(4)),
        "linear of a constant": lambda: F.linear(c(2, 3), x(4, 3), x(4)),
        "conv2d": lambda: F.conv2d(x(1, 2, 4, 4), x(3, 2, 2, 2), x(3)),
        "conv2d of a constant": lambda: F.conv2d(c(1, 2, 4, 4), x(3, 2, 2, 2), x(3)),
        "max_pool2d": lambda: F.max_pool2d(x(1, 2, 4, 4), 2),
        "avg_pool2d": lambda: F.avg_pool2d(x(1, 2, 4, 4), 2),
        "adaptive_avg_pool2d": lambda: F.adaptive_avg_pool2d(x(1, 2, 4, 4), 2),
        "batch_norm": lambda: F.batch_norm(x(2, 3), c(3), c(3), x(3), x(3), training=True),
        "layer_norm": lambda: F.layer_norm(x(2, 3), (3,), x(3), x(3)),
        "group_norm": lambda: F.group_norm(x(2, 3), 3, x(3), x(3)),
        "embedding": lambda: F.embedding(target, x(2, 3)),
        "cross_entropy": lambda: F.cross_entropy(x(2, 3), target),
        "mse_loss": lambda: F.mse_loss(x(2, 3), c(2, 3)),
        "binary_cross_entropy": lambda: F.binary_cross_entropy(x(2, 3), c(2, 3)),
        "gelu": lambda: F.gelu(x(2, 3)),
        "silu": lambda: F.silu(x(2, 3)),
        "softplus": lambda: F.softplus(x(2, 3)),
        "elu": lambda: F.elu(x(2, 3)),
        "dropout": lambda: F.dropout(x(2, 3), 0.5),
        "weight_norm": lambda: torch._weight_norm(x(2, 3), x(2, 1), 0),
        "attention": lambda: F.scaled_dot_product_attention(x(1, 2, 3), x(1, 2, 3), x(1, 2, 3)),
    }
    _logged(torch, log, ops)


def what_rare_ops_save(torch, log):
    F = torch.nn.functional
    x, c = _given(torch)
    labels, rows, of = torch.tensor([[0, -1, 1], [1, 0, -1]]), torch.tensor([[0, 1], [1, 1]]), torch.tensor([1, -1])
    ops = {
        "ldexp": lambda: torch.ldexp(x(2, 3), x(3)),
        "ldexp by a constant": lambda: torch.ldexp(x(2, 3), of[:, None]),
        "multilabel_margin_loss": lambda: F.multilabel_margin_loss(x(2, 3), labels),
        "cosine_embedding_loss": lambda: F.cosine_embedding_loss(x(2, 3), c(2, 3), of),
        "embedding_bag, mean": lambda: F.embedding_bag(rows, x(3, 2)),
        "embedding_bag, sum": lambda: F.embedding_bag(rows, x(3, 2), mode="sum"),
        "embedding_bag, max": lambda: F.embedding_bag(rows, x(3, 2), mode="max"),
        "embedding_bag, weighted": lambda: F.embedding_bag(rows, x(3, 2), mode="sum", per_sample_weights=x(2, 2)),
        "embedding_bag, by constants": lambda: F.embedding_bag(rows, x(3, 2), mode="sum", per_sample_weights=c(2, 2)),
    }
    _logged(torch, log, ops)
