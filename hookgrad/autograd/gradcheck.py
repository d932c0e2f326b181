"""Are the gradients right? They are compared with finite differences.

Source: https://docs.pytorch.org/docs/stable/autograd.html#numerical-gradient-checking
"""

import warnings
from itertools import product

import hookgrad

from . import forward_ad
from .function import Function

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient is wrong."""


_NONDETERMINISTIC = """

NOTE: An operation that is not deterministic fails here; `nondet_tol=<tol>` says by how much its gradients may differ.
"""

_SLOW_MODE_WOULD_PASS = """
Fast gradcheck failed but element-wise differences are small. This means that the
test might've passed in slow_mode!
"""


def _tuple(x):
    return x if isinstance(x, tuple) else tuple(x) if isinstance(x, list) else (x,)


def _wanted(tensors):
    """The places and tensors among `tensors` that require a gradient."""
    return [(i, t) for i, t in enumerate(tensors) if isinstance(t, hookgrad.Tensor) and t.requires_grad]


def _differentiable(outputs):
    return tuple([o for o in _tuple(outputs) if o.requires_grad])


def _check_inputs(inputs):
    wanted = _wanted(inputs)
    for i, t in wanted:
        if t.dtype != hookgrad.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(step <= 0 and size > 1 for step, size in zip(t.stride(), t.size())):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous "
                "on the input before passing it to gradcheck."
            )
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )


# ---- Finite differences -----------------------------------------------------------------------------------------------


def _difference(func, inputs, entry, step, eps, where=""):
    """(f(x + step) - f(x - step)) / 2 eps for each output, flat; `entry` is the part of an input that moves."""

    def outputs():
        return [o.clone() for o in _tuple(func(*inputs))]

    here = entry.clone()
    entry.copy_(here - step)
    before = outputs()
    entry.copy_(here + step)
    after = outputs()
    entry.copy_(here)
    result = []
    for a, b in zip(before, after):
        for what, x, y in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
            if x != y:
                raise AssertionError(
                    f"Expected `func` to return outputs with the same {what} when inputs are perturbed {where}by "
                    f"{eps}, but got: {what}s {x} and {y}."
                )
        result.append(((b - a) / (2 * eps)).detach().reshape(-1))
    return result


def _numerical_jacobian(func, inputs, outputs, i, eps):
    """For each output, the matrix (elements of input i, elements of the output)."""
    x = inputs[i].data
    columns = [
        _difference(func, inputs, x[at], eps, eps, f"on index {at} ") for at in product(*[range(n) for n in x.size()])
    ]
    return [
        hookgrad.stack([column[k] for column in columns]) if columns else o.new_zeros(0, o.numel())
        for k, o in enumerate(outputs)
    ]


# ---- The gradients that backward gives --------------------------------------------------------------------------------


def _as_matrix(grads, x, n_rows):
    """Gradients of several rows of an output, or None, as a matrix (elements of x, rows)."""
    if n_rows == 0:
        return x.new_zeros(x.numel(), 0)
    zero = x.new_zeros(x.numel())
    return hookgrad.stack([zero if g is None else g.reshape(-1).to(x.dtype) for g in grads], dim=1)


def _rows_twice(output, wanted, starts):
    """For each wanted input the gradients that the starting gradients give; twice."""

    def once():
        rows = [
            [
                None if g is None else g.clone()
                for g in hookgrad.autograd.grad(output, wanted, start, retain_graph=True, allow_unused=True)
            ]
            for start in starts
        ]
        return [[row[k] for row in rows] for k in range(len(wanted))]

    return once(), once()


def _analytical(inputs, output, starts, nondet_tol, check_grad_dtypes):
    """For each wanted input the matrix of gradients that the starting gradients give; computed twice, and compared."""
    wanted = [t for _, t in _wanted(inputs)]
    first, second = _rows_twice(output, wanted, starts)
    for grads, x in zip(first, wanted):
        if check_grad_dtypes and any(g is not None and g.dtype != x.dtype for g in grads):
            raise GradcheckError("Gradient has dtype mismatch")
    for grads, x in zip(first, wanted):
        if any(g is not None and g.size() != x.size() for g in grads):
            raise GradcheckError("Analytical gradient has incorrect size")
    n = len(starts)
    matrices = [_as_matrix(grads, x, n) for grads, x in zip(first, wanted)]
    for a, grads, x in zip(matrices, second, wanted):
        if a.numel() != 0 and (a - _as_matrix(grads, x, n)).abs().max() > nondet_tol:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                "gives different values, although analytical gradient matches numerical gradient.The tolerance for "
                f"nondeterminism was {nondet_tol}.{_NONDETERMINISTIC}"
            )
    return matrices


def _one_hot(output):
    """A starting gradient for each element of the output."""
    starts = []
    for j in range(output.numel()):
        start = output.new_zeros(output.numel())
        start[j] = 1.0
        starts.append(start.reshape(output.shape))
    return starts


def _of_old(grad_out, name):
    import warnings

    warnings.warn(
        f"`{name}` was part of PyTorch's private API and not meant to be exposed: use gradcheck",
        FutureWarning,
        stacklevel=3,
    )
    if grad_out != 1.0:
        raise ValueError(f"Expected grad_out to be 1.0. {name} no longer supports values of grad_out != 1.0.")


def get_numerical_jacobian(fn, inputs, target=None, eps=1e-3, grad_out=1.0):
    """Of old: for each of `inputs` that requires a gradient (or of `target`) the Jacobian of fn(inputs)'s first output, by
    finite differences, as a matrix (elements of the input, elements of the output)."""
    _of_old(grad_out, "get_numerical_jacobian")
    return tuple([matrices[0] for matrices in _get_numerical_jacobian(lambda *xs: fn(xs), inputs, None, target, eps)])


def _get_numerical_jacobian(fn, inputs, outputs=None, target=None, eps=1e-3, is_forward_ad=False):
    outputs = _tuple(fn(*_tuple(inputs)) if outputs is None else outputs)
    targets = inputs if target is None else _tuple(target)
    if target is None:
        places = [i for i, _ in _wanted(_tuple(inputs))]
    else:
        places = [i for t in targets for i, x in enumerate(inputs) if x is t]
    return [_numerical_jacobian(fn, _tuple(inputs), outputs, i, eps) for i in places]


def get_numerical_jacobian_wrt_specific_input(fn, input_idx, inputs, outputs, eps, input=None, is_forward_ad=False):
    """For each of `outputs` the matrix of finite differences with respect to one input."""
    if not (inputs[input_idx] if input is None else input).requires_grad:
        raise AssertionError("Expected input to have requires_grad=True")
    return tuple(_numerical_jacobian(fn, inputs, outputs, input_idx, eps))


def get_analytical_jacobian(inputs, output, nondet_tol=0.0, grad_out=1.0):
    """Of old: (Jacobians, whether a second backward gave the same, whether the sizes and the dtypes of gradients fit)."""
    _of_old(grad_out, "get_analytical_jacobian")
    wanted = [t for _, t in _wanted(inputs)]
    first, second = _rows_twice(output, wanted, _one_hot(output))
    n = output.numel()
    fits = [g is None or g.size() == x.size() for grads, x in zip(first, wanted) for g in grads]
    types = [g is None or g.dtype == x.dtype for grads, x in zip(first, wanted) for g in grads]
    both = [[_as_matrix(grads, x, n) for grads, x in zip(grads, wanted)] for grads in (first, second)]
    same = all(a.numel() == 0 or (a - b).abs().max() <= nondet_tol for a, b in zip(*both))
    return tuple(both[0]), bool(same), all(fits), all(types)


# ---- Comparing --------------------------------------------------------------------------------------------------------


def _close(a, b, rtol, atol):
    common = hookgrad.promote_types(a.dtype, b.dtype)
    return hookgrad.allclose(a.to(common), b.to(common), rtol, atol)


def _mismatch(analytical, numerical, output, input, mode=""):
    return (
        f"Jacobian {mode}mismatch for output {output:d} with respect to input {input:d},\n"
        f"numerical:{numerical}\nanalytical:{analytical}\n"
    )


def _check_whole(func, inputs, results, outputs, o):
    """Compare every entry of the Jacobian."""
    wanted = _wanted(inputs)
    numerical = [_numerical_jacobian(func, inputs, results, i, o["eps"]) for i, _ in wanted]
    if not outputs:
        floats = [k for k, t in enumerate(results) if t.is_floating_point()]
        if any((matrices[k] != 0).any() for matrices in numerical for k in floats):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    kept = [k for k, r in enumerate(results) if r.requires_grad]
    for k, (place, output) in enumerate(zip(kept, outputs)):
        analytical = _analytical(inputs, output, _one_hot(output), o["nondet_tol"], o["check_grad_dtypes"])
        for j, a in enumerate(analytical):
            n = numerical[j][place]
            if not _close(a, n, o["rtol"], o["atol"]):
                raise GradcheckError(_mismatch(a, n, k, j))


def _directions(*lists):
    """For each list of tensors random vectors of length one, one for each tensor. They are the same in every call."""
    generator = hookgrad.Generator()

    def direction(t):
        u = hookgrad.rand(t.numel(), generator=generator).to(t.dtype)
        return u / u.norm()

    return [[direction(t) for t in tensors] for tensors in lists]


def _differences(func, inputs, us, eps):
    """For each wanted input the finite differences of the outputs along its direction."""
    wanted = zip(_wanted(inputs), us)
    return [_difference(func, inputs, inputs[i].data, u.reshape(t.shape) * eps, eps) for (i, t), u in wanted]


def _check_fast(func, inputs, results, outputs, o):
    """Compare one random combination v J u of the entries of each block of the Jacobian."""
    us, vs = _directions([t for _, t in _wanted(inputs)], outputs)
    differences = _differences(func, inputs, us, o["eps"])
    if not outputs:
        for d in differences:
            if any(x.numel() and x.abs().max() > o["nondet_tol"] for x in d):
                raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    floating = [k for k, r in enumerate(results) if r.is_floating_point()]
    for k, (output, v) in enumerate(zip(outputs, vs)):
        analytical = _analytical(inputs, output, [v.reshape(output.shape)], o["nondet_tol"], o["check_grad_dtypes"])
        for j, (a, u) in enumerate(zip(analytical, us)):
            a = a.squeeze(1).dot(u)
            n = (v * differences[j][floating[k]]).sum()
            if not _close(a, n, o["rtol"], o["atol"] * float(u.sum()) * float(v.sum())):
                whole = _analytical(inputs, output, _one_hot(output), float("inf"), False)[j]
                raise GradcheckError(_mismatch(a, n, k, j) + _in_detail(func, inputs, results, whole, j, k, o))


def _in_detail(func, inputs, results, analytical, j, k, o):
    place = [p for p, r in enumerate(results) if r.requires_grad][k]
    numerical = _numerical_jacobian(func, inputs, results, _wanted(inputs)[j][0], o["eps"])[place]
    words = (
        "\nThe above quantities relating the numerical and analytical jacobians are computed \n"
        "in fast mode. See: https://github.com/pytorch/pytorch/issues/53876 for more background \n"
        "about fast mode. Below, we recompute numerical and analytical jacobians in slow mode:\n\n"
        f"Numerical:\n {numerical}\nAnalytical:\n{analytical}\n\n"
        f"The max per-element difference (slow mode) is: {(numerical - analytical).abs().max()}.\n"
    )
    if hookgrad.allclose(analytical, numerical, o["rtol"], o["atol"]):
        words += _SLOW_MODE_WOULD_PASS
    return words


# ---- Forward mode, batches --------------------------------------------------------------------------------------------


def _tangents(func, inputs, directions):
    """Of each result the derivative along `directions`, which go by the places of inputs; None of what has none."""
    with forward_ad.dual_level():
        plain = [x.detach() if isinstance(x, hookgrad.Tensor) else x for x in inputs]
        for i, direction in directions.items():
            plain[i] = forward_ad.make_dual(plain[i], direction.clone())  # not a view: a jvp may ask
        return [forward_ad.unpack_dual(out).tangent for out in _tuple(func(*plain))]


_FORWARD = "computed with forward mode "


def _moved(func, inputs, i, directions, outputs):
    """For each differentiable output the matrix (directions, its elements) of the derivatives along those of input i."""
    still = {k: hookgrad.zeros_like(t) for k, t in _wanted(inputs)}
    moved = [_tangents(func, inputs, {**still, i: direction}) for direction in directions]
    found = [[_as_matrix([tangents[place]], output, 1) for tangents in moved] for place, output in outputs.items()]
    return [
        hookgrad.cat(rows, dim=1).t() if rows else o.new_zeros(0, o.numel()) for rows, o in zip(found, outputs.values())
    ]


def _check_forward(func, inputs, results, o):
    """Compare J, as dual tensors give it, with finite differences."""
    kept = {place: r for place, r in enumerate(results) if r.requires_grad}
    for j, (i, x) in enumerate(_wanted(inputs)):
        numerical = _numerical_jacobian(func, inputs, results, i, o["eps"])
        for k, (place, a) in enumerate(zip(kept, _moved(func, inputs, i, _one_hot(x), kept))):
            if not _close(a, numerical[place], o["rtol"], o["atol"]):
                raise GradcheckError(_mismatch(a, numerical[place], k, j, _FORWARD))


def _check_forward_fast(func, inputs, results, o):
    """Compare J u for one random u, as dual tensors give it, with a finite difference."""
    kept = {place: r for place, r in enumerate(results) if r.requires_grad}
    wanted = _wanted(inputs)
    (us,) = _directions([t for _, t in wanted])
    differences = _differences(func, inputs, us, o["eps"])
    for j, ((i, x), u) in enumerate(zip(wanted, us)):
        for k, (place, a) in enumerate(zip(kept, _moved(func, inputs, i, [u.reshape(x.shape)], kept))):
            a, n = a[0], differences[j][place]
            if not _close(a, n, o["rtol"], o["atol"] * float(u.sum())):
                whole = _moved(func, inputs, i, _one_hot(x), kept)[k]
                detail = _in_detail(func, inputs, results, whole, j, k, o)
                raise GradcheckError(_mismatch(a, n, k, j, _FORWARD) + detail)


def _check_undefined_forward(func, inputs):
    """A tangent of zeros and none are the same."""
    wanted = _wanted(inputs)
    (us,) = _directions([x for _, x in wanted])
    directions = {i: u.reshape(x.shape) for (i, x), u in zip(wanted, us)}
    for i, x in wanted:
        zeros = _tangents(func, inputs, {**directions, i: hookgrad.zeros_like(x)})
        nothing = _tangents(func, inputs, {k: d for k, d in directions.items() if k != i})
        for k, (a, b) in enumerate(zip(zeros, nothing)):
            if a is not None and b is not None and not hookgrad.allclose(a, b):
                raise GradcheckError(
                    f"Mismatch in tangent values for output with index: {k} when input: {x} has an undefined tangent "
                    f"value.  Got: {a} but expected: {b}"
                )


def _check_batched_forward(func, inputs, results):
    """Tangents along several directions at once are those along each, and nothing random is drawn on the way."""
    for i, x in _wanted(inputs):

        def moved(direction, i=i):
            found = zip(results, _tangents(func, inputs, {i: direction}))
            return [hookgrad.zeros_like(r) if t is None else t for r, t in found]

        directions = hookgrad.randn(2, *x.shape, dtype=x.dtype)
        rows = [moved(direction) for direction in directions]
        try:
            with hookgrad.func._drawing("error"):  # one direction after another: vmap() would ask Functions for more
                batched = [hookgrad.stack(list(column)) for column in zip(*map(moved, directions))]
        except RuntimeError as error:
            raise GradcheckError(f"While computing batched gradients, got: {error}") from error
        _check_rows(batched, rows, [(k, i) for k in range(len(results))])


def _check_rows(batched, rows, places):
    for got, expected, (k, i) in zip(batched, zip(*rows), places):
        if got is not None and not hookgrad.allclose(got, hookgrad.stack(list(expected))):
            raise GradcheckError(
                f"For output {k} and input {i}:\n\nGot:\n{got}\n\nExpected:\n{hookgrad.stack(list(expected))}"
            )


def _check_batched(inputs, outputs):
    """Gradients that start from several grad_outputs at once are those that start from each."""
    wanted = [t for _, t in _wanted(inputs)]
    for k, output in enumerate(outputs):
        starts = hookgrad.randn(2, *output.shape, dtype=output.dtype)
        options = {"retain_graph": True, "allow_unused": True}
        rows = [hookgrad.autograd.grad(output, wanted, start, **options) for start in starts]
        batched = hookgrad.autograd.grad(output, wanted, starts, is_grads_batched=True, **options)
        _check_rows(batched, rows, [(k, i) for i in range(len(wanted))])


# ---- Zero in, zero out; nothing in, nothing out -----------------------------------------------------------------------


def _check_zero(outputs, inputs, masked):
    wanted = [t for _, t in _wanted(inputs)]
    zeros = [hookgrad.zeros_like(o) for o in outputs]
    for g, x in zip(hookgrad.autograd.grad(outputs, wanted, zeros, allow_unused=True) if outputs else (), wanted):
        if g is None:
            continue
        if not (hookgrad.allclose(g, hookgrad.zeros_like(g)) if masked else g.eq(0).all()):
            raise GradcheckError("backward not multiplied by grad_output")
        if g.dtype != x.dtype:
            raise GradcheckError("grad is incorrect type")
        if g.device != x.device:
            raise GradcheckError("grad is incorrect device")
        if g.size() != x.size():
            raise GradcheckError("grad is incorrect size")


class _NoGrad(Function):
    """Passes a tensor on, and no gradient back."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return None


def _check_undefined(func, outputs, inputs):
    wanted = [t for _, t in _wanted(inputs)]

    def warn():
        warnings.warn(
            "Backwards compatibility: New undefined gradient support checking feature is enabled by default, but it may "
            "break existing callers of this function. If this is true for you, you can call this function with "
            '"check_undefined_grad=False" to disable the feature',
            stacklevel=5,
        )

    def check(outputs):
        zeros = [hookgrad.zeros_like(o) for o in outputs]
        try:
            grads = hookgrad.autograd.grad(outputs, wanted, zeros, allow_unused=True) if outputs else ()
        except RuntimeError as error:
            warn()
            raise GradcheckError(
                'Expected backward function to handle undefined output grads. Please look at "Notes about undefined '
                'output gradients" in "tools/autograd/derivatives.yaml"'
            ) from error
        if any(g is not None and not g.eq(0).all() for g in grads):
            warn()
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are undefined or zero. Please "
                'look at "Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
            )

    check([_NoGrad.apply(o) for o in _differentiable(func(*inputs))])
    if len(outputs) > 1:
        for i in range(len(outputs)):
            check([_NoGrad.apply(o) if k == i else o for k, o in enumerate(_differentiable(func(*inputs)))])


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
):
    """True if the gradients of func at `inputs` agree with finite differences; else GradcheckError, or False.

    Use float64. `check_forward_ad` checks the tangents of dual tensors as well, `check_batched_forward_grad`
    those under `vmap`.

    >>> import hookgrad as torch
    >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> gradcheck(torch.sin, x)
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradcheck.html
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    options = {
        "eps": eps, "atol": atol, "rtol": rtol, "nondet_tol": nondet_tol, "check_grad_dtypes": check_grad_dtypes
    }  # fmt: skip
    try:
        inputs = _tuple(inputs)
        _check_inputs(inputs)
        results = _tuple(func(*inputs))
        outputs = _differentiable(results)
        if check_backward_ad:
            (_check_fast if fast_mode else _check_whole)(func, inputs, results, outputs, options)
        if check_forward_ad:
            (_check_forward_fast if fast_mode else _check_forward)(func, inputs, results, options)
            if check_undefined_grad:
                _check_undefined_forward(func, inputs)
            if check_batched_forward_grad:
                _check_batched_forward(func, inputs, results)
        if not check_backward_ad:
            return True
        if check_batched_grad:
            _check_batched(inputs, outputs)
        _check_zero(outputs, inputs, masked)
        if check_undefined_grad:
            _check_undefined(func, outputs, inputs)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """As `gradcheck`, for the gradients of the gradients: at `inputs` and `grad_outputs`, which are random by default.

    >>> import hookgrad as torch
    >>> x = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    >>> gradgradcheck(torch.sin, x)
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.gradcheck.gradgradcheck.html
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_undefined_grad=True requires check_rev_over_rev to be True")
    if check_batched_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_batched_grad=True requires check_rev_over_rev to be True")
    inputs = _tuple(inputs)
    if grad_outputs is None:
        grad_outputs = [_random_like(o, gen_non_contig_grad_outputs) for o in _differentiable(func(*inputs))]
    grad_outputs = _tuple(grad_outputs)
    n = len(grad_outputs)
    places = {i for i, _ in _wanted(inputs)}
    grad_places = {i for i, _ in _wanted(grad_outputs)}

    def gradients(*args):
        xs = [x.requires_grad_() if i in places else x for i, x in enumerate(args[:-n])]
        outputs = _differentiable(func(*xs))
        gs = [g.requires_grad_() if i in grad_places else g for i, g in enumerate(args[-n:])]
        wanted = [xs[i] for i in sorted(places)]
        grads = hookgrad.autograd.grad(outputs, wanted, gs, create_graph=True, allow_unused=True)
        return tuple([g for g in grads if g is not None])

    return gradcheck(
        gradients,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        fast_mode=fast_mode,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        masked=masked,
    )


def _random_like(output, scattered):
    """A leaf of random numbers in [-1, 1) of that shape; `scattered`: not contiguous in memory."""
    dtype = output.dtype if output.is_floating_point() else hookgrad.float64
    g = hookgrad.rand(*output.shape, 2 if scattered else 1, dtype=dtype) * 2 - 1
    return g[..., 0].detach().requires_grad_()
