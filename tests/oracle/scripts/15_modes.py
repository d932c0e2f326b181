# no_grad, enable_grad, set_grad_enabled, inference_mode: as context managers and as decorators.
import torch

x = torch.ones(2, requires_grad=True)
with torch.no_grad():
    y = x * 2
    print(y.requires_grad, torch.is_grad_enabled())
    with torch.enable_grad():
        print((x * 2).requires_grad)
print((x * 2).requires_grad, torch.is_grad_enabled())
with torch.set_grad_enabled(False):
    print((x * 2).requires_grad)


@torch.no_grad()
def evaluate(t):
    """Doubles."""
    return t * 2


print(evaluate(x).requires_grad, evaluate.__name__, evaluate.__doc__)
with torch.inference_mode():
    z = x * 2
    print(z.requires_grad, z.is_inference(), torch.is_inference_mode_enabled())
try:
    (z * x).sum().backward()
except RuntimeError as error:
    print(type(error).__name__)
hooked = torch.ones(1, requires_grad=True)
hooked.register_hook(lambda g: print("in hook", torch.is_grad_enabled(), g.requires_grad))
(hooked * 2).backward()
torch.autograd.grad((hooked**3).sum(), hooked, create_graph=True)
try:
    with torch.no_grad():
        raise ValueError
except ValueError:
    print(torch.is_grad_enabled())
a = torch.ones(3)
a.requires_grad_()
with torch.no_grad():
    a.mul_(3)
    a[0] = 10
a.sum().backward()
print(a, a.grad)
a.grad.zero_()
print(a.grad, a.grad.requires_grad)
