# Every loss, its reductions and options, with the gradient it sends back.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(17)
x = torch.randn(4, 3, requires_grad=True)
t = torch.randn(4, 3)
classes = torch.tensor([0, 2, 1, 2])
soft = torch.softmax(torch.randn(4, 3), 1)


def show(name, loss):
    x.grad = None
    loss.sum().backward()
    print(name, loss)
    print(x.grad)


for cls in (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss):
    for reduction in ("mean", "sum", "none"):
        show(f"{cls.__name__} {reduction}", cls(reduction=reduction)(x, t))
show("smooth beta", nn.SmoothL1Loss(beta=0.3)(x, t))
show("ce", nn.CrossEntropyLoss()(x, classes))
show("ce weights", nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))(x, classes))
show("ce ignore", nn.CrossEntropyLoss(ignore_index=2)(x, classes))
show("ce smoothing", nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")(x, classes))
show("ce soft", nn.CrossEntropyLoss()(x, soft))
show("nll", nn.NLLLoss()(F.log_softmax(x, 1), classes))
show("bce", nn.BCELoss()(x.sigmoid(), soft))
show("bce logits", nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]))(x, soft))
print(nn.CrossEntropyLoss(), nn.MSELoss(), nn.BCEWithLogitsLoss())
