"""Networks that only answer: without gradients, plain and with every module's output captured."""

import networks

from cases import group

case = group("infer")


def tokens(torch, batch):
    return torch.randint(0, 30_522, (batch, 128))


NETWORKS = {
    "encoder of MiniLM's shape, batch 1": (lambda torch: networks.encoder(torch, True), lambda torch: tokens(torch, 1)),
    "encoder of MiniLM's shape, batch 8": (lambda torch: networks.encoder(torch, True), lambda torch: tokens(torch, 8)),
    "encoder with attention written out, batch 1": (
        lambda torch: networks.encoder(torch, False),
        lambda torch: tokens(torch, 1),
    ),
    "encoder with attention written out, batch 8": (
        lambda torch: networks.encoder(torch, False),
        lambda torch: tokens(torch, 8),
    ),
    "PyTorch's encoder layers, batch 1": (
        lambda torch: networks.transformer(torch, 384, 12, 6, 30_522),
        lambda torch: tokens(torch, 1),
    ),
    "ResNet-18, batch 1": (networks.resnet18, lambda torch: torch.randn(1, 3, 224, 224)),
    "ResNet-18, batch 32": (networks.resnet18, lambda torch: torch.randn(32, 3, 224, 224)),
    "MLP 784-512-512-10, batch 1": (
        lambda torch: networks.mlp(torch, 784, 512, 512, 10),
        lambda torch: torch.randn(1, 784),
    ),
    "MLP 64-128-10, batch 1": (lambda torch: networks.mlp(torch, 64, 128, 10), lambda torch: torch.randn(1, 64)),
}

for _title, _parts in NETWORKS.items():

    @case(_title, parts=_parts, hooked=False)
    @case(f"{_title}, outputs captured", parts=_parts, hooked=True)
    def inference(torch, parts, hooked):
        make, data = parts
        net, x = make(torch).eval(), data(torch)
        kept = networks.capture(net) if hooked else None

        def call():
            with torch.no_grad():
                return net(x)

        return call, lambda: (call(), kept)
