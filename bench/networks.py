"""The networks that are trained and run, written against PyTorch's API only."""


def mlp(torch, *sizes):
    nn = torch.nn
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(torch):
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def resnet(torch, stem, widths, blocks, classes):
    """Residual blocks of two 3x3 convolutions with BatchNorm; `blocks` of each width, halving the image between widths."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, n_in, n_out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(n_out)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(n_out)
            self.downsample = None
            if stride != 1 or n_in != n_out:
                self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    layers, n_in = [stem], widths[0]
    for i, width in enumerate(widths):
        for j in range(blocks):
            layers.append(Block(n_in, width, 2 if i > 0 and j == 0 else 1))
            n_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, classes))


def small_resnet(torch):
    nn = torch.nn
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    return resnet(torch, stem, (16, 32, 64), 1, 10)


def resnet18(torch):
    nn = torch.nn
    stem = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    )
    return resnet(torch, stem, (64, 128, 256, 512), 2, 1000)


def transformer(torch, width=128, heads=4, layers=2, tokens=1000, classes=10):
    """PyTorch's own encoder layers over an embedding; the mean over the tokens is classified."""
    nn = torch.nn

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(tokens, width)
            layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.head = nn.Linear(width, classes)

        def forward(self, x):  # (batch, length) of int64
            return self.head(self.encoder(self.embedding(x)).mean(1))

    return Classifier()


def bag_of_words(torch, tokens=10_000, width=64, classes=20):
    return torch.nn.Sequential(torch.nn.EmbeddingBag(tokens, width), torch.nn.Linear(width, classes))


def encoder(torch, fused, width=384, heads=12, layers=6, tokens=30_522, longest=512):
    """BERT's encoder in MiniLM's shape. `fused`: attention by scaled_dot_product_attention, else written out."""
    nn, F = torch.nn, torch.nn.functional

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.output, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)

        def split(self, x):
            return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)

        def forward(self, x):  # (batch, length, width)
            q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
            if fused:
                y = F.scaled_dot_product_attention(q, k, v)
            else:
                y = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
            return self.norm(x + self.output(y.transpose(1, 2).reshape(x.shape)))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = Attention()
            self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)

        def forward(self, x):
            x = self.attention(x)
            return self.norm(x + self.down(self.act(self.up(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.positions = nn.Embedding(tokens, width), nn.Embedding(longest, width)
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))

        def forward(self, x):
            y = self.norm(self.words(x) + self.positions(torch.arange(x.shape[1])))
            for layer in self.layers:
                y = layer(y)
            return y.mean(1)

    return Encoder()


def capture(net):
    """Keeps the latest output of every module without children; returns the dict they are kept in."""
    kept = {}

    def keep(name):
        def hook(module, args, output):
            kept[name] = output.detach()

        return hook

    for name, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(keep(name))
    return kept
