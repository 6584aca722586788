"""Attention by oneDNN, compared with torch's own."""

import pytest
import torch
import torch.nn.functional as F

from m3rag.model.kernels import attention
from m3rag.model.kernels.onednn import packable


def attended(length: int, dtype: torch.dtype, texts: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the result and the expected result for random input, `(texts, 4, length, 16)`."""
    torch.manual_seed(length)
    q, k, v = (torch.randn(texts, 4, length, 16).to(dtype) for _ in range(3))
    with torch.inference_mode():
        actual = attention._attend_by_onednn(q, k, v, 0.5)
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), scale=0.5)
    assert actual.dtype == dtype
    return actual.float(), expected


@pytest.mark.skipif(not packable(torch.float32), reason="needs oneDNN")
@pytest.mark.parametrize("length", [1, 63, 64, 128, 129, 512, 700, 2049])
def test_float32_attention_equals_torchs_up_to_the_last_bits(length: int) -> None:
    actual, expected = attended(length, torch.float32)
    assert torch.allclose(actual, expected, atol=2e-6)


@pytest.mark.skipif(not packable(torch.bfloat16), reason="needs bfloat16 products by oneDNN")
@pytest.mark.parametrize("length", [129, 700])
def test_bfloat16_attention_is_as_close_as_torchs(length: int) -> None:
    actual, expected = attended(length, torch.bfloat16)
    assert torch.allclose(actual, expected, atol=2e-2)


@pytest.mark.skipif(not packable(torch.bfloat16), reason="needs bfloat16 products by oneDNN")
@pytest.mark.parametrize("length", [64, 127, 208, 511])  # the memory has room for 4 heads of 511
def test_attention_by_products_is_as_close_as_torchs(length: int) -> None:
    torch.manual_seed(length)
    q, k, v = torch.randn(length, 3, 5, 32).bfloat16().unbind(1)  # (n, h, k)
    expected = F.scaled_dot_product_attention(*(x.transpose(0, 1).float() for x in (q, k, v)))
    for mode in (torch.inference_mode, torch.no_grad):  # both use the same memory
        actual = torch.empty_like(q)
        with mode():
            attention._attend_by_products(q, k, v, 32**-0.5, actual)
        torch.testing.assert_close(actual.float(), expected.transpose(0, 1), atol=2e-2, rtol=0)


@pytest.mark.parametrize("by_products", [False, True])
def test_both_ways_of_attention_give_the_same_views(monkeypatch, by_products: bool) -> None:
    monkeypatch.setattr(attention, "attention_by_products", lambda _: by_products)
    torch.manual_seed(4)
    runs = [(2, 40), (2, 70), (1, 100)]
    q, k, v = torch.randn(320, 3, 4, 16).bfloat16().unbind(1)
    with torch.inference_mode():
        actual = attention.attend(q, k, v, runs=runs, scale=0.25).float()
    start = 0
    for length in (40, 40, 70, 70, 100):
        text = slice(start, start + length)
        query, key, value = (x[text].transpose(0, 1).float() for x in (q, k, v))
        expected = F.scaled_dot_product_attention(query, key, value, scale=0.25).transpose(0, 1)
        torch.testing.assert_close(actual[text], expected, atol=2e-2, rtol=0)
        start += length


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_text_attends_to_the_next_one(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    runs = [(3, 5), (1, 16), (1, 21), (2, 30), (1, 33)]
    lengths = [length for texts, length in runs for _ in range(texts)]
    row = torch.randn(sum(lengths), 3, 4, 16).to(dtype)
    for at, text in enumerate(torch.split(row, lengths)):
        text[:, 1] *= 1 if at % 2 else 8  # keys that would dominate
        text[:, 2] += 10 * at  # values that identify their text
    with torch.inference_mode():
        actual = attention.attend(*row.unbind(1), runs=runs, scale=0.25)
    for text, attended_text in zip(
        torch.split(row, lengths), torch.split(actual, lengths), strict=True
    ):
        q, k, v = (x.transpose(0, 1).float() for x in text.unbind(1))
        expected = F.scaled_dot_product_attention(q, k, v, scale=0.25).transpose(0, 1)
        tolerance = 1e-4 if dtype == torch.float32 else 0.6
        torch.testing.assert_close(attended_text.float(), expected, atol=tolerance, rtol=0)


def test_torchs_attention_is_used_for_gradients() -> None:
    texts, length = 1, 600
    q, k, v = (torch.randn(1, 4, texts * length, 16, requires_grad=True) for _ in range(3))
    output, _ = attention.packed_attention(
        torch.nn.Module(), q, k, v, None, scaling=0.25, runs=[(texts, length)]
    )
    output.sum().backward()
    assert v.grad is not None
    assert torch.allclose(v.grad.sum(), torch.tensor(float(length * 64)), rtol=1e-3)
