"""The rarer losses, as functions. `functional` has them under PyTorch's names."""

import math

import hookgrad

from .. import _C
from .._levels import anywhere
from ..type_info import scalar_type
from . import functional as F
from ._whole import one_node

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(size_average, reduce, reduction):
    reduction = F._reduction(size_average, reduce, reduction, 5)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss, reduction):
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _from(number, tensor):
    """number - tensor, recorded as a subtraction of two tensors, as PyTorch's own losses are."""
    return hookgrad.scalar_tensor(number, dtype=tensor.dtype) - tensor


# ---- Of pairs and triples ------------------------------------------------------------------------------------------------


def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, -target * (input1 - input2) + margin): target 1 wants input1 the larger, -1 input2.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.margin_ranking_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _reduced(_C._add(-target * (input1 - input2), margin).clamp_min_(0), reduction)


def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """input where target is 1, max(0, margin - input) where it is -1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hinge_embedding_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    zeros = hookgrad.zeros_like(input)
    far = hookgrad.where(target != 1, _from(margin, input).clamp_min_(0), zeros)
    near = hookgrad.where(target != -1, input, zeros)
    return _reduced(far + near, reduction)


def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1: inputs (N, D) or (D).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_embedding_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    F._must_be_tensors("cosine_embedding_loss", input1=input1, input2=input2, target=target)
    if target.dim() not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    n = target.dim() + 1
    if input1.dim() != n or input2.dim() != n:
        raise RuntimeError(
            f"{n - 1}D target tensor expects {n}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    epsilon = 1e-12
    product = (input1 * input2).sum(target.dim())
    square1 = _C._add((input1 * input1).sum(target.dim()), epsilon)
    square2 = _C._add((input2 * input2).sum(target.dim()), epsilon)
    cos = product / (square1 * square2).sqrt()
    zeros = hookgrad.zeros_like(cos)
    near, far = _from(1, cos), _C._sub(cos, margin).clamp_min_(0)
    near, far = hookgrad.where(target == 1, near, zeros), hookgrad.where(target == -1, far, zeros)
    return _reduced(near + far, reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with the p-norm d; `swap` lets the positive stand in
    for the anchor where it is nearer to the negative.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    F._must_be_tensors("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    dims = anchor.dim(), positive.dim(), negative.dim()
    if len(set(dims)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            "anchor {}D, positive {}D, and negative {}D inputs".format(*dims)
        )
    to_positive = F.pairwise_distance(anchor, positive, p, eps)
    to_negative = F.pairwise_distance(anchor, negative, p, eps)
    if swap:
        to_negative = hookgrad.min(to_negative, F.pairwise_distance(positive, negative, p, eps))
    return _reduced((_C._add(to_positive, margin) - to_negative).clamp_min(0), reduction)


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """triplet_margin_loss with a distance of one's own, a function of two tensors.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_with_distance_loss.html
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    dims = anchor.ndim, positive.ndim, negative.ndim
    if len(set(dims)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            "anchor {}D, positive {}D, and negative {}D inputs".format(*dims)
        )
    distance = distance_function or F.pairwise_distance
    to_positive, to_negative = distance(anchor, positive), distance(anchor, negative)
    if swap:
        to_negative = hookgrad.minimum(to_negative, distance(positive, negative))
    return _reduced((margin + to_positive - to_negative).clamp_min(0), reduction)


# ---- Of distributions ----------------------------------------------------------------------------------------------------


def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """exp(input) - target * input, or with `log_input=False` input - target * log(input + eps); `full` adds Stirling's
    approximation of log(target!) for targets above 1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.poisson_nll_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    F._must_be_tensors("poisson_nll_loss", input=input, target=target)
    # What PyTorch writes on the right of an operator is computed first there.
    right = target * (input if log_input else _C._add(input, eps).log())
    loss = (input.exp() if log_input else input) - right
    if full:
        right = _C._mul(_C._mul(target, 2 * math.pi).log(), 0.5)
        stirling = target * target.log() - target + right
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return _reduced(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """(log(var) + (input - target)² / var) / 2, with variances of the input's shape or with 1 in, or without, its last
    dimension, and no less than `eps`; `full` adds log(2 pi) / 2.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gaussian_nll_loss.html
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * hookgrad.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or sum(v for n, v in zip(input.size(), var.size()) if n != v) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    var = var.clone()
    with hookgrad.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss += 0.5 * math.log(2 * math.pi)
    return _reduced(loss, reduction)


# ---- Of classes ----------------------------------------------------------------------------------------------------------


@one_node("SoftMarginLossBackward0", 0, saved="self target reduction", twice="grad_output")
def _soft_margin(input, target, reduction):
    return _reduced((input * -target).exp().log1p(), reduction)


def _refuse_gradient(tensor, function, argument):
    if tensor.requires_grad and hookgrad.is_grad_enabled():
        raise RuntimeError(
            f"The function '{function}' is not differentiable with respect to argument '{argument}'. This input cannot have "
            "requires_grad True."
        )


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-target * input)), target being 1 or -1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.soft_margin_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    F._must_be_tensors("soft_margin_loss", input=input, target=target)
    _refuse_gradient(target, "soft_margin_loss", "target")
    shape = _C.broadcast_tensors(input, target)[0].shape
    if shape != input.shape:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(shape)}")
    if not input.is_floating_point():
        raise RuntimeError(f"result type Float can't be cast to the desired output type {scalar_type(input.dtype)}")
    return _soft_margin(input, target, reduction)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over classes of binary cross entropy: input and target (N, C) or (C); `weight` (C) weighs the classes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_soft_margin_loss.html
    """
    reduction = F._reduction(size_average, reduce, reduction)
    loss = -(target * F.logsigmoid(input) + (1 - target) * F.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    loss = loss.sum(dim=input.dim() - 1) / input.size(-1)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    return _reduced(loss, reduction)


def _check_rows(input):
    """input is (N, C) or (C), with C > 0."""
    if input.dim() > 2 or (input.dim() and input.shape[-1] == 0):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )


@one_node("MultiMarginLossBackward0", 0, saved="self target p margin weight reduction")
def _multi_margin(input, target, p, margin, weight, reduction):
    one = input.dim() < 2
    rows, classes = (input.reshape(1, -1), target.reshape(1)) if one else (input.contiguous(), target)
    right = rows.gather(1, classes.unsqueeze(1))
    violation = (margin - right + rows).relu()
    if p == 2:
        violation = violation * violation
    if weight is not None:
        violation = violation * weight[classes].unsqueeze(1)
    loss = violation.scatter(1, classes.unsqueeze(1), 0.0).sum(1) / rows.shape[1]
    return _reduced(loss.reshape(target.shape) if one else loss, reduction)


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over the wrong classes of max(0, margin - input[target] + input[i]) ** p: input (N, C) or (C), target (N)
    or (). `weight` (C) weighs the right classes.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multi_margin_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    if weight is not None:
        _refuse_gradient(weight, "multi_margin_loss", "weight")
    F._must_be_tensors("multi_margin_loss", input=input, target=target)
    F._must_be_floats("multi_margin_loss_cpu_kernel", input, halves=False)
    _check_rows(input)
    n = input.shape[0] if input.dim() == 2 else 1
    if target.dim() > 1 or target.numel() != n:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch size). "
            f"Expected target size [{n}], but got {list(target.shape)}. Input has shape {list(input.shape)}."
        )
    n_classes = input.shape[-1] if input.dim() else 1
    if weight is not None and weight.numel() != n_classes:
        raise RuntimeError(f"inconsistent weight size, expected {n_classes} but got {list(weight.shape)}")
    if target.dtype != _C.int64:
        raise RuntimeError(f"expected scalar type Long but found {scalar_type(target.dtype)}")
    if anywhere((target < 0) | (target >= n_classes)):
        raise RuntimeError("target out of range")
    return _multi_margin(input, target, p, margin, weight, reduction)


@one_node("MultilabelMarginLossBackward0", 0, saved="self target reduction", results="- is_target", differentiable=1)
def _multilabel_margin(input, target, reduction):
    one = input.dim() < 2
    rows, labels = (input.reshape(1, -1), target.reshape(1, -1)) if one else (input, target)
    counts = (labels < 0).cumsum(1) == 0  # labels up to the first negative one
    places = labels.clamp_min(0)
    is_target = hookgrad.zeros(rows.shape, dtype=hookgrad.int64).scatter_add(1, places, counts.long()) > 0
    right = rows.gather(1, places)
    # Each label against each class that is no label: (N, C, C).
    violation = (1 - right.unsqueeze(2) + rows.unsqueeze(1)).relu()
    violation = violation * (counts.unsqueeze(2) & ~is_target.unsqueeze(1))
    loss = violation.sum((1, 2)) / rows.shape[1]
    return _reduced(loss.squeeze(0) if one else loss, reduction), is_target.to(input.dtype).reshape(target.shape)


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """The sum over labels j and classes i that are none of max(0, 1 - input[j] + input[i]), over the number of classes.

    Input and target are (N, C) or (C); the labels are the target's entries up to the first that is negative.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.multilabel_margin_loss.html
    """
    reduction = _reduction(size_average, reduce, reduction)
    F._must_be_tensors("multilabel_margin_loss", input=input, target=target)
    F._must_be_floats("multilabel_margin_loss_forward_out_frame", input, halves=False)
    _check_rows(input)
    if target.dtype != hookgrad.int64:
        raise RuntimeError(f"expected scalar type Long but found {scalar_type(target.dtype)}")
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    n_classes = input.shape[-1] if input.dim() else 1
    if anywhere((target < -1) | (target >= n_classes)):
        raise RuntimeError("argument #2 'target' is out of range")
    return _multilabel_margin(input, target, reduction)[0]


# ---- Connectionist temporal classification ---------------------------------------------------------------------------------


def _log_sum_exp(terms):
    """log(sum(exp(terms))) over the first dimension, minus infinity where all are, with a derivative of zero there."""
    most = terms.detach().amax(0)
    is_dead = most == -math.inf
    total = (terms - most.masked_fill(is_dead, 0.0)).exp().sum(0)
    return (total.masked_fill(is_dead, 1.0).log() + most).masked_fill(is_dead, -math.inf)


def _spelled(targets, lengths, blank):
    """Targets (N, S), or all in a row, as (N, longest), blanks following the shorter ones."""
    n, longest = len(lengths), max(lengths, default=0)
    targets = targets.to(hookgrad.int64)
    if targets.dim() == 1:
        rows = targets.split(lengths) if n else ()
        targets = hookgrad.zeros((n, longest), dtype=hookgrad.int64)
        for row, values in zip(targets, rows):
            row[: len(values)] = values
    elif targets.shape[0] != n or targets.shape[1] < longest:
        raise RuntimeError(
            f"Expected tensor to have size at least {longest} at dimension 1, but got size {targets.shape[1]} for "
            "argument #2 'targets' (while checking arguments for ctc_loss_allocate_outputs)"
        )
    targets = targets[:, :longest]
    return targets.masked_fill(hookgrad.arange(longest) >= hookgrad.tensor(lengths).unsqueeze(1), blank)


@one_node(
    "CtcLossBackward0",
    0,
    saved="log_probs targets input_lengths target_lengths blank zero_infinity",
    results="result0 result1",
    differentiable=1,
)
def _ctc(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity):
    """Of (T, N, C) the loss of each sequence (N), and the log-probabilities on the way there (N, T, 2 * longest + 1)."""
    steps, n, _ = log_probs.shape
    targets = _spelled(targets, target_lengths, blank)
    input_lengths, target_lengths = (
        hookgrad.tensor(at, dtype=hookgrad.int64) for at in (input_lengths, target_lengths)
    )
    width = targets.shape[1]
    rows = hookgrad.arange(n)
    # The targets with blanks around each: blank, a, blank, b, blank ...
    labels = hookgrad.full((n, 2 * width + 1), blank, dtype=hookgrad.int64)
    labels[:, 1::2] = targets
    emitted = log_probs.gather(2, labels.expand(steps, -1, -1))
    may_skip = hookgrad.zeros(labels.shape, dtype=hookgrad.bool)
    may_skip[:, 2:] = (labels[:, 2:] != blank) & (labels[:, 2:] != labels[:, :-2])
    dead = log_probs.new_full((n, 1), -math.inf)
    alpha = emitted[0].masked_fill(hookgrad.arange(2 * width + 1) > 1, -math.inf)
    alpha = alpha.masked_fill((hookgrad.arange(2 * width + 1) >= 2 * target_lengths.unsqueeze(1) + 1), -math.inf)
    alphas = [alpha]
    for t in range(1, steps):
        one_back = hookgrad.cat([dead, alpha[:, :-1]], 1)
        two_back = hookgrad.cat([dead, dead, alpha[:, :-2]], 1)[:, : alpha.shape[1]].masked_fill(~may_skip, -math.inf)
        moved = _log_sum_exp(hookgrad.stack([alpha, one_back, two_back])) + emitted[t]
        alpha = hookgrad.where((t < input_lengths).unsqueeze(1), moved, alpha)
        alphas.append(alpha)
    way = hookgrad.stack(alphas, 1).detach()
    ends = alpha[rows, 2 * target_lengths]
    before = alpha[rows, (2 * target_lengths - 1).clamp_min(0)].masked_fill(target_lengths == 0, -math.inf)
    loss = -_log_sum_exp(hookgrad.stack([ends, before]))
    # PyTorch's derivative takes the log-probabilities for those of log_softmax: it has exp(log_probs) in it.
    probs = log_probs.exp() * (hookgrad.arange(steps).unsqueeze(1) < input_lengths).unsqueeze(2)
    loss = loss + (probs - probs.detach()).sum((0, 2))
    # No steps spell the empty target, and nothing else.
    unread = input_lengths == 0
    loss = loss.masked_fill(unread & (target_lengths == 0), -0.0).masked_fill(unread & (target_lengths > 0), math.inf)
    # A target that does not fit has NaN for a derivative: that of a square root at zero, times zero.
    misfits = ((loss.detach() == math.inf) & ~unread).nonzero().squeeze(1)
    if not zero_infinity and misfits.numel():
        loss = loss.index_add(0, misfits, (log_probs[:, misfits].exp() * 0).sqrt().sum((0, 2)))
    return loss, way


def _lengths(lengths, name, n):
    lengths = hookgrad.as_tensor(lengths)
    if lengths.is_floating_point() and lengths.numel():
        raise RuntimeError(f"{name} must be integral")
    lengths = lengths.long()
    if lengths.numel() != n:
        raise RuntimeError(f"{name} must be of size batch_size")
    return tuple(lengths.reshape(n).tolist())


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """-log of the probability that log_probs (T, N, C) or (T, C) spell the targets, in any of the ways that leave blanks
    and repetitions between them. Targets are (N, S), or all in a row (sum of target_lengths).

    "mean" divides each loss by its target's length first; `zero_infinity` makes the losses of targets that do not fit
    into their input zero.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html
    """
    reduction = _reduction(None, None, reduction)
    F._must_be_tensors("ctc_loss", log_probs=log_probs, targets=targets)
    F._must_be_floats("ctc_loss_cpu", log_probs, halves=False)
    if log_probs.dim() not in (2, 3) or targets.dim() not in (1, 2):
        raise RuntimeError(
            f"Expected log_probs of 2 or 3 and targets of 1 or 2 dimensions, but got {log_probs.dim()} and {targets.dim()}"
        )
    is_batched = log_probs.dim() == 3
    if not is_batched:
        log_probs = log_probs.unsqueeze(1)
        if targets.dim() == 1:
            targets = targets.unsqueeze(0)
    steps, n, n_classes = log_probs.shape
    if not 0 <= blank < n_classes:
        raise RuntimeError("blank must be in label range")
    input_lengths = _lengths(input_lengths, "input_lengths", n)
    target_lengths = _lengths(target_lengths, "target_lengths", n)
    if min(target_lengths, default=0) < 0:
        raise RuntimeError(
            f"Expected target_lengths to have value at least 0, but got value {min(target_lengths)} "
            "(while checking arguments for ctc_loss_allocate_outputs)"
        )
    if max(input_lengths, default=0) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {max(input_lengths)} "
            "(while checking arguments for ctc_loss_allocate_outputs)"
        )
    loss, _ = _ctc(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
    if zero_infinity:
        loss = hookgrad.where(loss == math.inf, hookgrad.zeros((), dtype=loss.dtype), loss)
    if reduction == "mean":
        return (loss / hookgrad.tensor(target_lengths, dtype=loss.dtype).clamp_min(1)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if is_batched else loss.squeeze(0)


# ---- Of a layer's output -------------------------------------------------------------------------------------------------


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """cross_entropy of linear(input, linear_weight, linear_bias): input (N, F) or (F), linear_weight (C, *, F), target (N, *).

    >>> import hookgrad as torch
    >>> linear_cross_entropy(torch.ones(1, 2), torch.zeros(4, 2), torch.tensor([3]))
    tensor(1.3863)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html
    """
    if options is not None:
        raise NotImplementedError(
            "linear_cross_entropy(): hookgrad computes all of the logits at once: options must be None"
        )
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    classes, *places, features = linear_weight.shape
    if input.shape[-1] != features:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {features}, respectively"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *places):
        raise RuntimeError(f"expected linear_bias shape {(classes, *places)}, got {tuple(linear_bias.shape)}")
    if places and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    logits_shape = (*input.shape[:-1], classes, *places)
    if ignore_index is None:
        ignore_index = -100
    elif target.shape == logits_shape:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    matrix = linear_weight.reshape(-1, features) if places else linear_weight
    logits = F.linear(input, matrix, bias).reshape(logits_shape)
    return F.cross_entropy(
        logits, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
    )
