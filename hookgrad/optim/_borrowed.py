"""What optimizers written after PyTorch's own import from `torch.optim.optimizer`, besides what is used here."""

_capturable_doc = _differentiable_doc = _foreach_doc = _fused_doc = _maximize_doc = _params_doc = ""


def _default_to_fused_or_foreach(params, differentiable, use_fused=False):
    """Whether a step is to be fused, and whether it is to go by lists: on the CPU it never is unasked."""
    fused = use_fused and not differentiable
    return fused and all(p is None or p.is_floating_point() for p in params), False


def _disable_dynamo_if_unsupported(single_tensor_fn=None):
    """A decorator that changes nothing: there is no compiler to keep out."""
    return lambda function: function


def _get_capturable_supported_devices(supports_xla=True):
    return ["cuda", "xpu", "hpu", "privateuseone", *["xla"] * supports_xla]


def _stack_if_compiling(x):
    return x


def _view_as_real(params, *state_and_grads):
    """Nothing is complex."""
