# In-place operations and views, one rule a function: values, gradients, names of nodes, errors.
import torch


def tr(name, f):
    try:
        r = f()
        print(name, r)
    except Exception as e:
        print(name, type(e).__name__, str(e).splitlines()[0][:190])


def base():
    a = torch.arange(1.0, 5.0, requires_grad=True)
    return a, a * 2


def p1():
    a, b = base()
    v = b[1:3]
    v.mul_(10)
    b.sum().backward()
    return a.grad, v.grad_fn.name(), b.grad_fn.name(), v._base is b


def p2():
    a, b = base()
    v = b.view(2, 2)
    b.add_(1)
    return v.grad_fn.name(), v._version, v._is_view(), v.sum().backward() or a.grad


def p3():
    a, b = base()
    x, y = b.chunk(2)
    x.mul_(2)


def p4():
    a, b = base()
    v = b.detach()
    v.mul_(0)
    b.sum().backward()
    return a.grad, b


def p5():
    a, b = base()
    c = b.sin()
    b.detach().zero_()
    c.sum().backward()


def p6():
    a, b = base()
    c = b.sin()
    b.data.zero_()
    c.sum().backward()
    return a.grad


def p7():
    a = torch.ones(3, requires_grad=True)
    with torch.no_grad():
        a.mul_(5)
        a[0] = 7
    return a, a._version, a.is_leaf


def p8():
    a = torch.ones(3, requires_grad=True)
    a.data.mul_(5)
    a.data = torch.zeros(2)
    return a, a._version


def p9():
    a, b = base()
    v = b[0]
    w = v.view(1)
    w.fill_(3)
    return b, b.grad_fn.name(), v.grad_fn.name(), w.grad_fn.name(), b.sum().backward() or a.grad


def p10():
    z = torch.zeros(4)
    a = torch.ones(2, requires_grad=True)
    z[:2] = a
    z[2:].copy_(a * 3)
    return z.requires_grad, z.grad_fn.name(), (z * torch.arange(4.0)).sum().backward() or a.grad


def p11():
    with torch.no_grad():
        a = torch.ones(3, requires_grad=True)
        v = a[:2]
    v.mul_(2)
    return v


def p12():
    a = torch.ones(3, requires_grad=True)
    b = a.clone()
    with torch.no_grad():
        v = b[:2]
    v.mul_(2)
    b.sum().backward()
    return a.grad


def p13():
    a, b = base()
    b.requires_grad_(False)


def p14():
    a, b = base()
    b.detach_()
    return b.requires_grad, b.is_leaf


def p15():
    a, b = base()
    v = b[:1]
    v.detach_()


def p16():
    a, b = base()
    b.set_(torch.ones(1)) if hasattr(b, "set_") else None
    return 1


def p17():
    a, b = base()
    b.resize_(2)


def p18():
    a = torch.ones(2, 2, requires_grad=True)
    a.t_()
    return 1


def p19():
    a = torch.ones(2, 3, requires_grad=True) * 1
    a.t_()
    a.sum().backward()
    return a.shape, a.grad_fn.name()


def p20():
    a = torch.ones(2, 3, requires_grad=True) * 1
    a.unsqueeze_(0).squeeze_(0).transpose_(0, 1)
    return a.shape, a.grad_fn.name()


def p21():
    a, b = base()
    ev = []
    b.register_hook(lambda g: ev.append(("1", g.tolist())))
    b.mul_(3)
    b.register_hook(lambda g: ev.append(("2", g.tolist())))
    v = b[:2]
    v.register_hook(lambda g: ev.append(("v", g.tolist())))
    v.add_(1)
    v.register_hook(lambda g: ev.append(("v2", g.tolist())))
    b.register_hook(lambda g: ev.append(("3", g.tolist())))
    b.sum().backward()
    return ev


def p22():
    a, b = base()
    b.retain_grad()
    v = b[:2]
    v.retain_grad()
    b.mul_(2)
    b.sum().backward()
    return b.grad, v.grad


def p23():
    a, b = base()
    b.retain_grad()
    b.mul_(2)
    b.retain_grad()
    b.mul_(3)
    b.sum().backward()
    return b.grad


def p24():
    a, b = base()
    c = b * b
    b.add_(1)
    c.sum().backward()


def p25():
    a, b = base()
    c = b + 1
    b.add_(1)
    c.sum().backward()
    return a.grad


def p26():
    a, b = base()
    c = torch.relu_(b)
    return c is b, b.grad_fn.name(), b.sum().backward() or a.grad


def p27():
    a, b = base()
    torch.add(a, 1, out=b)


def p28():
    a = torch.ones(2)
    torch.add(torch.ones(2), 1, out=a)
    return a


def p29():
    a, b = base()
    b[b > 4] = 0
    return b.grad_fn.name(), b.sum().backward() or a.grad


def p30():
    a, b = base()
    b[torch.tensor([0, 0])] = torch.tensor([5.0, 6.0])
    return b.sum().backward() or a.grad


def p31():
    a, b = base()
    b.index_add_(0, torch.tensor([0, 1]), a[:2] * 3)
    return b.grad_fn.name(), b.sum().backward() or a.grad


def p32():
    a, b = base()
    b.masked_fill_(a > 2, 0.0).scatter_(0, torch.tensor([0]), 9.0)
    return b, b.sum().backward() or a.grad


def p33():
    a, b = base()
    x = b.expand(2, 4)
    x.add_(1)


def p34():
    a = torch.ones(4)
    a.expand(2, 4).add_(1)


def p35():
    a = torch.arange(4.0)
    a[1:].copy_(a[:-1])
    return a


def p36():
    a, b = base()
    s = b.split(2)
    return s[0]._base is b, [q.grad_fn.name() for q in s], [q.output_nr for q in s]


def p37():
    a, b = base()
    u = b.unbind()
    u[0].add_(1)


def p38():
    a = torch.ones(2, requires_grad=True)
    v = a.view_as(a)
    v.add_(1)


def p39():
    a = torch.ones(2, requires_grad=True)
    v = a.narrow(0, 0, 1)
    v.zero_()


def p40():
    a, b = base()
    b.copy_(a * 3)
    return b.grad_fn.name(), b.grad_fn.next_functions[0][0].name(), b.sum().backward() or a.grad


def p41():
    a, b = base()
    b.zero_()
    return b.grad_fn.name(), b.sum().backward() or a.grad


def p42():
    a, b = base()
    x = b.unsqueeze(0)[0]
    x.mul_(2)
    return b.sum().backward() or a.grad


def p43():
    a, b = base()
    b += b
    return b.sum().backward() or a.grad


def p44():
    a, b = base()
    b *= b
    return b.sum().backward() or a.grad


def p45():
    a, b = base()
    b.exp_().log_()
    return b.sum().backward() or a.grad


def p46():
    a, b = base()
    b.exp_().mul_(2)
    return b.sum().backward()


def p47():
    a, b = base()
    b **= 2
    b /= 2
    b -= 1
    return b, b.sum().backward() or a.grad


def p48():
    a = torch.ones(2, requires_grad=True)
    a += 1


def p49():
    a = torch.ones(2, requires_grad=True)
    b = a.clone()
    b.uniform_(0, 1)
    return b.grad_fn.name(), b.sum().backward() or a.grad


def p50():
    a = torch.ones(2, requires_grad=True).double()
    a.grad_fn.name()
    b = a.clone()
    b.clamp_(0, 0.5)
    return b.sum().backward()


def p51():
    a, b = base()
    c = b.view(2, 2).t()
    c.mul_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    return b, b.sum().backward() or a.grad, c.grad_fn.name()


def p52():
    a, b = base()
    v = b[::2]
    b.mul_(v.repeat_interleave(2))
    return b.sum().backward() or a.grad


def p53():
    a, b = base()
    d = b.diagonal(0, 0, 0) if 0 else torch.diagonal(b.view(2, 2))
    d.zero_()
    return b, b.sum().backward() or a.grad


def p54():
    a, b = base()
    w = b.unfold(0, 2, 2)
    w[0].mul_(5)
    return b.sum().backward() or a.grad


def p55():
    a, b = base()
    (g,) = torch.autograd.grad(b.mul_(a).sum(), a, create_graph=True)
    return g, torch.autograd.grad(g.sum(), a)


for n, f in sorted(
    ((k, v) for k, v in globals().items() if k[0] == "p" and k[1:].isdigit()), key=lambda t: int(t[0][1:])
):
    tr(n, f)
