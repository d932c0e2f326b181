"""Derivatives of functions: Jacobians, Hessians, and their products with vectors.

Source: https://docs.pytorch.org/docs/stable/autograd.html#functional-higher-level-api
"""

import hookgrad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRICT = "This is not allowed in strict mode"

# What strict mode says when a gradient does not exist ("missing") or does not itself depend on the inputs ("constant").
# The first number is the place of the input.
_MISSING = {
    "back": f"The output of the user-provided function is independent of input {{}}. {_STRICT}.",
    "back_trick": (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the double "
        f"backward trick to compute forward mode gradients. {_STRICT}."
    ),
    "double_back": f"The jacobian of the user-provided function is independent of input {{}}. {_STRICT}.",
    "double_back_trick": (
        f"The hessian of the user-provided function is independent of entry {{}} in the grad_jacobian. {_STRICT} as it "
        "prevents from using the double backward trick to replace forward mode AD."
    ),
}
_CONSTANT = {
    "outputs": (
        "Output {} of the user-provided function does not require gradients. The outputs must be computed in a "
        "differentiable manner from the input when running in strict mode."
    ),
    "grad_inputs": (
        "The gradient with respect to input {} is independent of the inputs of the user-provided function. "
        f"{_STRICT}."
    ),
    "jacobian": (
        "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is "
        f"independent of the input. {_STRICT}. You should ensure that your function is twice differentiable and that "
        "the jacobian depends on the inputs (this would be violated by a linear function for example)."
    ),
    "hessian": (
        "The hessian of the user-provided function with respect to input {} is independent of the input. "
        f"{_STRICT}. You should ensure that your function is thrice differentiable and that the hessian depends on the "
        "inputs."
    ),
}


# ---- Tensors in, tensors out ------------------------------------------------------------------------------------------


def _as_tuple(given, what=None, function=None):
    """(whether it was a tuple, the tuple), or TypeError; the tuple alone where no function is named."""
    was_tuple = isinstance(given, tuple)
    for i, t in enumerate(given if was_tuple else (given,)):
        if not isinstance(t, hookgrad.Tensor):
            which = f"value at index {i}" if was_tuple else f"given {what}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the {which} has "
                f"type {type(t)}."
            )
    given = given if was_tuple else (given,)
    return given if function is None else (was_tuple, given)


def _outputs(value, function, strict):
    was_tuple, outputs = _as_tuple(value, "outputs of the user-provided function", function)
    _require("outputs", outputs, strict)
    return was_tuple, outputs


def _scalar_output(value, function, strict):
    was_tuple, outputs = _outputs(value, function, strict)
    if was_tuple:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0].nelement() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")
    return outputs


def _fresh(tensors, create_graph, requires_grad):
    """The tensors as new ones, so that nothing outside gets a gradient unless the result is to be differentiable."""
    return tuple(
        [
            t.view_as(t) if create_graph and t.requires_grad else t.detach().requires_grad_(requires_grad)
            for t in tensors
        ]
    )


def _grad_postprocess(results, create_graph):
    if create_graph:
        return results
    if isinstance(results[0], hookgrad.Tensor):
        return tuple([t.detach() for t in results])
    return tuple([_grad_postprocess(r, create_graph) for r in results])


def _tuple_postprocess(results, as_tuple):
    return results if as_tuple else results[0]


def _packed_twice(rows, outer_tuple, inner_tuple):
    return _tuple_postprocess(tuple([_tuple_postprocess(row, inner_tuple) for row in rows]), outer_tuple)


def _check_v(v, like, like_is_tuple):
    if len(v) != len(like):
        if like_is_tuple:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(v, like)):
        if a.size() != b.size():
            where = f"Entry {i} in " if like_is_tuple else ""
            raise RuntimeError(f"{where}v has invalid size: should be {b.size()} but got {a.size()}.")


def _vector(v, like, like_is_tuple, function, create_graph, of_what):
    """The tuple v, checked. None stands for one, where there is a single element."""
    if v is not None:
        _, v = _as_tuple(v, "v", function)
        v = _fresh(v, create_graph, False)
        _check_v(v, like, like_is_tuple)
    elif len(like) != 1 or like[0].nelement() != 1:
        raise RuntimeError(f"The vector v can only be None if the {of_what} a single Tensor with a single element.")
    return v


_OF_INPUT = "input to the user-provided function is"
_OF_OUTPUT = "user-provided function returns"


# ---- Gradients --------------------------------------------------------------------------------------------------------


def _require(what, tensors, strict):
    for i, t in enumerate(tensors if strict else ()):
        if t is None:
            raise RuntimeError(_MISSING["back"].format(i))
        if not t.requires_grad:
            raise RuntimeError(_CONSTANT[what].format(i))


def _grad(outputs, inputs, v=None, create_graph=False, retain_graph=None):
    """As autograd.grad, but an output without history gives no gradient, and None is a result."""
    v = (None,) * len(outputs) if v is None else v
    pairs = [(out, g) for out, g in zip(outputs, v) if out is not None and out.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outputs, v = zip(*pairs)
    return hookgrad.autograd.grad(
        outputs, inputs, v, allow_unused=True, create_graph=create_graph, retain_graph=retain_graph
    )


def _with_zeros(grads, like, strict, create_graph, stage):
    """The gradients with zeros for those missing; in strict mode those are errors."""
    result = []
    for i, (g, t) in enumerate(zip(grads, like)):
        if g is None:
            if strict:
                raise RuntimeError(_MISSING[stage].format(i))
            g = hookgrad.zeros_like(t)
        elif strict and create_graph and not g.requires_grad:
            what = "hessian" if "double" in stage else "jacobian"
            raise RuntimeError(
                f"The {what} of the user-provided function is independent of input {i}. {_STRICT} when "
                "create_graph=True."
            )
        result.append(g)
    return tuple(result)


def _grad_mode(create_graph):
    return hookgrad.set_grad_enabled(create_graph or hookgrad.is_grad_enabled())


# ---- Products with vectors --------------------------------------------------------------------------------------------


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v times the Jacobian of func at inputs).

    >>> import hookgrad as torch
    >>> vjp(lambda x: x**2, torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.vjp.html
    """
    with hookgrad.enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "vjp")
        inputs = _fresh(inputs, create_graph, True)
        outputs_tuple, outputs = _outputs(func(*inputs), "vjp", strict)
        v = _vector(v, outputs, outputs_tuple, "vjp", create_graph, _OF_OUTPUT)
    with _grad_mode(create_graph):
        result = _grad(outputs, inputs, v, create_graph)
        result = _with_zeros(result, inputs, strict, create_graph, "back")
    outputs, result = _grad_postprocess(outputs, create_graph), _grad_postprocess(result, create_graph)
    return _tuple_postprocess(outputs, outputs_tuple), _tuple_postprocess(result, inputs_tuple)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the Jacobian of func at inputs times v), by differentiating a vector-Jacobian product.

    >>> import hookgrad as torch
    >>> jvp(lambda x: x**2, torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor([1., 4.]), tensor([2., 4.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.jvp.html
    """
    with hookgrad.enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "jvp")
        inputs = _fresh(inputs, create_graph, True)
        v = _vector(v, inputs, inputs_tuple, "jvp", create_graph, _OF_INPUT)
        outputs_tuple, outputs = _outputs(func(*inputs), "jvp", strict)
        # The product is linear in u, so its derivative with respect to u does not depend on which u it is.
        u = tuple([hookgrad.zeros_like(out, requires_grad=True) for out in outputs])
        product = _grad(outputs, inputs, u, create_graph=True)
        _require("grad_inputs", product, strict)
    with _grad_mode(create_graph):
        result = _grad(product, u, v, create_graph)
        result = _with_zeros(result, outputs, strict, create_graph, "back_trick")
    outputs, result = _grad_postprocess(outputs, create_graph), _grad_postprocess(result, create_graph)
    return _tuple_postprocess(outputs, outputs_tuple), _tuple_postprocess(result, outputs_tuple)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v times the Hessian of func at inputs), for a func with one number as its result.

    >>> import hookgrad as torch
    >>> vhp(lambda x: x.pow(3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor(9.), tensor([ 6., 12.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.vhp.html
    """
    with hookgrad.enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "vhp")
        inputs = _fresh(inputs, create_graph, True)
        v = _vector(v, inputs, inputs_tuple, "vhp", create_graph, _OF_INPUT)
        outputs = _scalar_output(func(*inputs), "vhp", strict)
        jac = _grad(outputs, inputs, create_graph=True)
        _require("jacobian", jac, strict)
    with _grad_mode(create_graph):
        result = _grad(jac, inputs, v, create_graph)
        result = _with_zeros(result, inputs, strict, create_graph, "double_back")
    outputs, result = _grad_postprocess(outputs, create_graph), _grad_postprocess(result, create_graph)
    return outputs[0], _tuple_postprocess(result, inputs_tuple)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the Hessian of func at inputs times v): the same numbers as `vhp`, which is faster.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.hvp.html
    """
    with hookgrad.enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "hvp")
        inputs = _fresh(inputs, create_graph, True)
        v = _vector(v, inputs, inputs_tuple, "hvp", create_graph, _OF_INPUT)
        outputs = _scalar_output(func(*inputs), "hvp", strict)
        jac = _grad(outputs, inputs, create_graph=True)
        _require("jacobian", jac, strict)
        u = tuple([hookgrad.zeros_like(t, requires_grad=True) for t in inputs])
        product = _grad(jac, inputs, u, create_graph=True)
        _require("hessian", jac, strict)
    with _grad_mode(create_graph):
        result = _grad(product, u, v, create_graph)
        result = _with_zeros(result, inputs, strict, create_graph, "double_back_trick")
    outputs, result = _grad_postprocess(outputs, create_graph), _grad_postprocess(result, create_graph)
    return outputs[0], _tuple_postprocess(result, inputs_tuple)


# ---- Whole matrices ---------------------------------------------------------------------------------------------------


def _is_forward(strategy, create_graph, strict, vectorize):
    """Whether the strategy is "forward-mode": the numbers are the same, and come out in lists."""
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than '
            'inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "reverse-mode":
        return False
    if create_graph:
        raise NotImplementedError(
            'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not '
            'supported together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported together '
            '(yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly implemented for "
            "`vectorize=True`."
        )
    return True


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of func at inputs: for each output and input, a tensor of shape output.shape + input.shape.

    It is computed row after row by reverse mode, also with `vectorize`; with `strategy="forward-mode"` as by `torch.func.jacfwd`.

    >>> import hookgrad as torch
    >>> jacobian(torch.exp, torch.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.jacobian.html
    """
    forward = _is_forward(strategy, create_graph, strict, vectorize)
    with hookgrad.enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "jacobian")
        outputs_tuple = None
        if forward:
            from ..func import jacfwd

            def call(*xs):
                nonlocal outputs_tuple
                outputs_tuple, outputs = _outputs(func(*xs), "jacobian", strict)
                return outputs

            blocks = jacfwd(call, tuple(range(len(inputs))))(*inputs)
            if inputs_tuple:
                return _tuple_postprocess([list(block) for block in blocks], outputs_tuple)
            return _packed_twice(blocks, outputs_tuple, False)
        inputs = _fresh(inputs, create_graph, True)
        outputs_tuple, outputs = _outputs(func(*inputs), "jacobian", strict)
        if vectorize and strict:
            raise RuntimeError(
                "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
                "Please either set `strict=False` or `vectorize=False`."
            )
        blocks = []
        for i, out in enumerate(outputs):
            rows = [_row(out.reshape(-1)[j], i, inputs, create_graph, strict) for j in range(out.nelement())]
            columns = [[row[k] for row in rows] for k in range(len(inputs))]
            block = [hookgrad.stack(c).view(out.size() + t.size()) for c, t in zip(columns, inputs)]
            blocks.append(tuple(block))
        blocks = _grad_postprocess(tuple(blocks), create_graph)
        return _packed_twice(blocks, outputs_tuple, inputs_tuple)


def _row(element, i, inputs, create_graph, strict):
    """The gradient of one element of output i with respect to each input."""
    row = []
    for k, g in enumerate(_grad((element,), inputs, retain_graph=True, create_graph=create_graph)):
        if g is None:
            if strict:
                raise RuntimeError(f"Output {i} of the user-provided function is independent of input {k}. {_STRICT}.")
            g = hookgrad.zeros_like(inputs[k])
        elif strict and create_graph and not g.requires_grad:
            raise RuntimeError(
                f"The jacobian of the user-provided function is independent of input {i}. {_STRICT} when "
                "create_graph=True."
            )
        row.append(g)
    return row


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The Hessian of func, which has one number as its result, at inputs: the Jacobian of its Jacobian.

    >>> import hookgrad as torch
    >>> hessian(lambda x: x.pow(3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.functional.hessian.html
    """
    inputs_tuple, inputs = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def scalar(*inputs):
        return _scalar_output(func(*inputs), "hessian", strict)[0].squeeze()

    def gradient(*inputs):
        result = jacobian(scalar, inputs, create_graph=True)
        _require("jacobian", result, strict)
        return result

    result = jacobian(
        gradient,
        inputs,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return result if inputs_tuple else result[0][0]


def _construct_standard_basis_for(tensors, tensor_numels):
    """For each tensor the rows of the standard basis of all their elements that fall to it: (elements in all, its own)."""
    rows = sum(tensor_numels)
    chunks = [t.new_zeros(rows, n) for t, n in zip(tensors, tensor_numels)]
    first = 0
    for chunk, n in zip(chunks, tensor_numels):
        chunk.diagonal(-first).fill_(1)
        first += n
    return tuple(chunks)
