"""Training steps: plain, with every output captured by forward hooks, with every gradient clipped by tensor hooks."""

import networks

from cases import group

case = group("train")


def images(torch, *shape):
    return torch.randn(shape), torch.randint(0, 10, (shape[0],))


def words(torch, batch, length, tokens, classes):
    return torch.randint(0, tokens, (batch, length)), torch.randint(0, classes, (batch,))


NETWORKS = {
    "MLP 64-128-10, batch 32, SGD": (
        lambda torch: networks.mlp(torch, 64, 128, 10),
        lambda torch: images(torch, 32, 64),
        lambda optim, p: optim.SGD(p, lr=0.01),
    ),
    "MLP 784-512-512-10, batch 128, SGD": (
        lambda torch: networks.mlp(torch, 784, 512, 512, 10),
        lambda torch: images(torch, 128, 784),
        lambda optim, p: optim.SGD(p, lr=0.01),
    ),
    "MLP 784-512-512-10, batch 128, Adam": (
        lambda torch: networks.mlp(torch, 784, 512, 512, 10),
        lambda torch: images(torch, 128, 784),
        lambda optim, p: optim.Adam(p, lr=0.001),
    ),
    "LeNet 28x28, batch 32, SGD": (
        networks.lenet,
        lambda torch: images(torch, 32, 1, 28, 28),
        lambda optim, p: optim.SGD(p, lr=0.01),
    ),
    "small ResNet 3x32x32, batch 32, momentum": (
        networks.small_resnet,
        lambda torch: images(torch, 32, 3, 32, 32),
        lambda optim, p: optim.SGD(p, lr=0.01, momentum=0.9),
    ),
    "two transformer layers 64x8, Adam": (
        networks.transformer,
        lambda torch: words(torch, 8, 64, 1000, 10),
        lambda optim, p: optim.Adam(p, lr=0.001),
    ),
    "bag of words, batch 64, SGD": (
        networks.bag_of_words,
        lambda torch: words(torch, 64, 20, 10_000, 20),
        lambda optim, p: optim.SGD(p, lr=0.1),
    ),
}


def plain(net):
    return None


def clip(net):
    for p in net.parameters():
        p.register_hook(lambda grad: grad.clamp(-0.01, 0.01))


for _title, _parts in NETWORKS.items():

    @case(_title, parts=_parts, hook=plain)
    @case(f"{_title}, outputs captured", parts=_parts, hook=networks.capture)
    @case(f"{_title}, gradients clipped", parts=_parts, hook=clip)
    def training(torch, parts, hook):
        make, data, optim = parts
        net, (x, y), loss_fn = make(torch), data(torch), torch.nn.CrossEntropyLoss()
        kept = hook(net)
        optimizer = optim(torch.optim, net.parameters())

        def step():
            optimizer.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        # Adam's steps are as long for a gradient that is all rounding as for any other, so what comes after them goes apart:
        # its networks are compared by the loss, outputs and gradients before the first, of which samples are kept.
        if isinstance(optimizer, torch.optim.Adam):
            loss = step()
            tensors = [*(p.grad for p in net.parameters()), *(kept or {}).values()]
            sizes = [t.square().mean().sqrt() for t in tensors]
            first = [(size.item(), (t / size).flatten()[::97].tolist()) for t, size in zip(tensors, sizes)]
            return step, lambda: (loss.item(), first)
        return step, lambda: (step(), kept, net(x))
