"""Numbers that go to a device together come back as they were."""

import pytest
import torch

from align.inference.transfers import Bundle, Download, upload

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float64])
def test_what_is_sent_arrives(dtype):
    sent = upload([3, -1, 2], dtype, CPU)
    assert sent.dtype == dtype
    assert Download(sent).wait().tolist() == [3, -1, 2]


def test_the_lists_of_a_bundle_have_their_precision():
    bundle = Bundle()
    bundle.put("ids", [2**53 - 1, 5])
    bundle.put("none", [])
    bundle.put("shares", [0.1])
    bundle.send(CPU)
    assert "ids" in bundle and "shares" in bundle and "other" not in bundle
    assert bundle.ints("ids").tolist() == [2**53 - 1, 5]
    assert bundle.ints("none").tolist() == []
    assert bundle.doubles("shares").tolist() == [0.1]
    assert bundle.floats("shares").tolist() == torch.tensor([0.1]).tolist()


def test_a_bundle_of_nothing_sends_nothing():
    bundle = Bundle()
    bundle.send(CPU)
    assert "ids" not in bundle
