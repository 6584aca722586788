"""Attention by oneDNN's products, beside torch's own."""

import pytest
import torch
import torch.nn.functional as F

from m3rag.model.kernels import attention
from m3rag.model.kernels.onednn import packable


def attended(length: int, dtype: torch.dtype, texts: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """What it gives for random input, and the right answer, `(texts, 4, length, 16)`."""
    torch.manual_seed(length)
    q, k, v = (torch.randn(texts, 4, length, 16).to(dtype) for _ in range(3))
    with torch.inference_mode():
        found = attention._attended(q, k, v, 0.5)
    right = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), scale=0.5)
    assert found.dtype == dtype
    return found.float(), right


@pytest.mark.skipif(not packable(torch.float32), reason="oneDNN does not multiply here")
@pytest.mark.parametrize("length", [1, 63, 64, 128, 129, 512, 700, 2049])
def test_float32_attention_is_torchs_to_its_last_bits(length: int) -> None:
    found, right = attended(length, torch.float32)
    assert torch.allclose(found, right, atol=2e-6)


@pytest.mark.skipif(not packable(torch.bfloat16), reason="no bfloat16 products here")
@pytest.mark.parametrize("length", [129, 700])
def test_bfloat16_attention_is_as_close_as_torchs(length: int) -> None:
    found, right = attended(length, torch.bfloat16)
    assert torch.allclose(found, right, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nobody_looks_into_the_next_text(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    runs = [(3, 5), (1, 16), (1, 21), (2, 30), (1, 33)]
    lengths = [length for texts, length in runs for _ in range(texts)]
    row = torch.randn(sum(lengths), 3, 4, 16).to(dtype)
    for at, text in enumerate(torch.split(row, lengths)):
        text[:, 1] *= 1 if at % 2 else 8  # keys that would win
        text[:, 2] += 10 * at  # values by which one would know where they came from
    with torch.inference_mode():
        found = attention.attend(*row.unbind(1), runs=runs, scale=0.25)
    for text, mixed in zip(torch.split(row, lengths), torch.split(found, lengths), strict=True):
        q, k, v = (x.transpose(0, 1).float() for x in text.unbind(1))
        right = F.scaled_dot_product_attention(q, k, v, scale=0.25).transpose(0, 1)
        close = 1e-4 if dtype == torch.float32 else 0.6
        torch.testing.assert_close(mixed.float(), right, atol=close, rtol=0)


def test_a_gradient_is_left_to_torch() -> None:
    texts, length = 1, 600
    q, k, v = (torch.randn(1, 4, texts * length, 16, requires_grad=True) for _ in range(3))
    mixed, _ = attention.packed_attention(
        torch.nn.Module(), q, k, v, None, scaling=0.25, runs=[(texts, length)]
    )
    mixed.sum().backward()
    assert v.grad is not None
    assert torch.allclose(v.grad.sum(), torch.tensor(float(length * 64)), rtol=1e-3)
