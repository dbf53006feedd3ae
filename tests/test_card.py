"""The tensors that claim to be on a card: what they refuse, what they count, and what they hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.card import DEVICE, Card, CardError, CardTensor, on_card


@pytest.fixture
def card():
    with Card() as card:
        yield card


@pytest.fixture
def matrix(card):
    values = torch.arange(12.0).reshape(3, 4).to("cuda")
    card.uploads.clear()
    return values


MIXED = {
    "sum": lambda x: x + torch.ones(4),
    "sum, the other way round": lambda x: torch.ones(4) + x,
    "sum in place": lambda x: x.add_(torch.ones(4)),
    "sum into a CPU tensor": lambda x: torch.ones(3, 4).add_(x),
    "product": lambda x: x @ torch.ones(4, 2),
    "linear": lambda x: functional.linear(x, torch.ones(2, 4)),
    "cat": lambda x: torch.cat([x, torch.ones(1, 4)]),
    "stack of scalars": lambda x: torch.stack([x[0, 0], torch.tensor(1.0)]),
    "where": lambda x: torch.where(x > 1, x, torch.ones(3, 4)),
    "index from the CPU": lambda x: x[torch.tensor([0, 2])],
    "index of the CPU's tensor": lambda x: torch.ones(3, 4)[(x[:, 0] > 1).long()],
    "index_select": lambda x: x.index_select(0, torch.tensor([0])),
    "gather": lambda x: x.gather(1, torch.zeros(3, 1, dtype=torch.long)),
    "writing rows": lambda x: x.__setitem__((torch.tensor([0]),), 1.0),
    "embedding": lambda x: functional.embedding(torch.tensor([1]), x),
    "attention": lambda x: functional.scaled_dot_product_attention(
        x[None], x[None], x[None], attn_mask=torch.ones(3, 3, dtype=torch.bool)
    ),
    "result from the CPU": lambda x: torch.mul(x, 2, out=torch.empty(3, 4)),
}


@pytest.mark.parametrize("operation", MIXED.values(), ids=MIXED.keys())
def test_mixing_devices_is_refused(matrix, operation):
    with pytest.raises(CardError, match=r"mixes devices: .*(card|cpu)"):
        operation(matrix)


ALLOWED = {
    "a number": lambda x: x * 2 + 1,
    "a tensor without dimensions": lambda x: x * torch.tensor(2.0),
    "a number written by a mask": lambda x: x.__setitem__(x > 3, 0.0),
    "a factory on its device": lambda x: x + torch.arange(4, device=x.device),
    "its own factories": lambda x: x + x.new_ones(4) + torch.zeros_like(x),
    "slices": lambda x: x[1:, :2].add_(x[:2, 2:]),
    "an index on the card": lambda x: x[torch.zeros(2, dtype=torch.long, device="cuda")],
    "moving to where it is": lambda x: x.to("cuda").to(x.device).cuda().to(x.double()),
    "dtypes": lambda x: x.half().float().to(torch.bfloat16),
}


@pytest.mark.parametrize("operation", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_a_card_does_alone_is_no_transfer(card, matrix, operation):
    result = operation(matrix)
    assert result is None or isinstance(result, CardTensor)
    assert (card.reads, card.uploads) == ([], [])


READS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0, 1]),
    "int": lambda x: int(x[0, 1]),
    "bool": lambda x: bool((x >= 0).all()),
    "if": lambda x: 1 if (x < 0).any() else 0,
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "to, by name": lambda x: x.to(device="cpu", dtype=torch.float16),
    "to another's device": lambda x: x.to(torch.ones(1)),
    "copy_": lambda x: torch.empty(3, 4).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "where without values": lambda x: torch.where(x > 3),
    "boolean index": lambda x: x[x > 3],
    "rows by a mask": lambda x: x[torch.ones(3, dtype=torch.bool, device="cuda")],
    "masked_select": lambda x: x.masked_select(x > 3),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x + 1),
}


@pytest.mark.parametrize("operation", READS.values(), ids=READS.keys())
def test_reading_a_value_back_is_counted_and_refused_where_it_is_not_allowed(
    card, matrix, operation
):
    operation(matrix)
    assert len(card.reads) == 1
    with card.at_most(reads=1):
        operation(matrix)
    with card.at_most(reads=0), pytest.raises(CardError, match="read back from the card"):
        operation(matrix)


UPLOADS = {
    "to": lambda x: torch.ones(2).to("cuda", non_blocking=True),
    "to another's device": lambda x: torch.ones(2).to(x),
    "cuda": lambda x: torch.ones(2).pin_memory().cuda(),
    "tensor": lambda x: torch.tensor([1, 2], device=x.device),
    "new_tensor": lambda x: x.new_tensor([1, 2]),
    "copy_": lambda x: x[0].copy_(torch.ones(4)),
    "a slice": lambda x: x.__setitem__((1, slice(2)), torch.ones(2)),
    "a list as an index": lambda x: x[[0, 2]],
}


@pytest.mark.parametrize("operation", UPLOADS.values(), ids=UPLOADS.keys())
def test_a_copy_to_the_card_is_counted(card, matrix, operation):
    result = operation(matrix)
    assert result is None or isinstance(result, CardTensor)
    assert (len(card.uploads), card.reads) == (1, [])


def test_an_index_from_the_cpu_is_an_upload_where_that_is_asked_for():
    index = torch.tensor([2, 0])
    with Card(cpu_indices=True) as card:
        values = torch.arange(6, device="cuda").reshape(3, 2)[index]
        assert card.uploads == ["an index from the CPU"]
        assert values.tolist() == [[4, 5], [0, 1]]
        with pytest.raises(CardError, match="mixes devices"):
            torch.ones(3)[values[:, 0]]


def test_tensors_say_that_they_are_on_the_card(matrix):
    for tensor in (matrix, matrix[1:].mT, matrix + 1, torch.empty(2, device="cuda:0", dtype=int)):
        assert tensor.device == DEVICE and tensor.is_cuda and not tensor.is_cpu
        assert tensor.get_device() == 0
    assert not torch.ones(1).is_cuda
    assert torch.ones(1, device="cpu").device.type == "cpu"


def test_values_are_those_of_the_cpu_also_through_views_and_in_place():
    def work(device):
        x = torch.linspace(-1, 1, 48).to(device).reshape(2, 3, 8)
        part = x[:, 1:]
        part *= torch.arange(8, device=device)
        x[0, torch.tensor([0, 2], device=device)] = 0.5
        out = torch.empty(2, 3, 3, device=device)
        torch.bmm(x, x.mT, out=out)
        attended = functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        values, order = attended.topk(3)
        return torch.cat([out.softmax(-1), values, order.float()], dim=-1).cpu()

    with Card():
        on_a_card = work("cuda")
    assert type(on_a_card) is torch.Tensor
    torch.testing.assert_close(on_a_card, work("cpu"), rtol=0, atol=1e-6)


class Doubled(torch.autograd.Function):
    """A backward pass in Python that makes a tensor of its own."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * torch.full((1,), 2.0, device=x.device)


def test_gradients_are_those_of_the_cpu_and_on_the_card():
    def gradients(move):
        torch.manual_seed(0)
        model = move(nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 2)))
        x = torch.ones(3, 4).to(next(model.parameters()).device)
        Doubled.apply(model(x)).square().sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    with Card() as card:
        ours = gradients(on_card)
        assert all(isinstance(gradient, CardTensor) for gradient in ours)
        assert not card.reads
        ours = [gradient.cpu() for gradient in ours]
    torch.testing.assert_close(ours, gradients(lambda model: model), rtol=0, atol=0)


def test_a_module_tree_moves_with_its_ties_and_its_buffers(card):
    model = nn.ModuleDict(
        {"first": nn.Linear(2, 2), "second": nn.Linear(2, 2), "n": nn.BatchNorm1d(2)}
    )
    model["second"].weight = model["first"].weight
    moved = on_card(model)
    assert moved["second"].weight is moved["first"].weight
    assert isinstance(moved["first"].weight, nn.Parameter)
    tensors = [*moved.parameters(), *moved.buffers()]
    assert len(tensors) == len([*model.parameters(), *model.buffers()])
    assert all(tensor.is_cuda for tensor in tensors)
    assert not any(tensor.is_cuda for tensor in model.parameters())
