"""oneDNN's products equal torch's and NumPy's; "auto" is a dtype that the CPU has in hardware."""

import numpy as np
import pytest
import torch
from torch import nn

from m3rag import M3Model
from m3rag.model import backbone
from m3rag.model.kernels import device, onednn
from m3rag.model.kernels.device import choose_dtype
from m3rag.model.kernels.onednn import PackedLinear, inner_products, packable
from tests.conftest import TEXTS

CPU = torch.device("cpu")
needs_packing = pytest.mark.skipif(not packable(torch.float32), reason="needs oneDNN")


@needs_packing
@pytest.mark.parametrize("rows", [1, 16, 129])
def test_the_same_products(rows):
    torch.manual_seed(rows)
    plain, x = nn.Linear(96, 48), torch.randn(rows, 96)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(plain)(x), plain(x), atol=1e-5, rtol=1e-5)


@needs_packing
@pytest.mark.parametrize("rows", [1, 16, 129])
def test_concatenated_products_with_gelu(rows):
    torch.manual_seed(rows)
    first, second, x = nn.Linear(96, 48), nn.Linear(96, 32), torch.randn(rows, 96)
    with torch.inference_mode():
        expected = nn.functional.gelu(torch.cat([first(x), second(x)], -1))
        actual = PackedLinear(first, second, gelu=True)(x)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@needs_packing
@pytest.mark.parametrize("rows", [1, 16, 129])
def test_products_plus_a_residual(rows):
    torch.manual_seed(rows)
    plain, x, residual = nn.Linear(96, 48), torch.randn(rows, 96), torch.randn(rows, 48)
    before = residual.clone()
    with torch.inference_mode():
        actual = PackedLinear(plain)(x, residual)
        torch.testing.assert_close(actual, plain(x) + residual, atol=1e-5, rtol=1e-5)
    assert torch.equal(residual, before)


def test_without_onednn_layers_are_not_packed(monkeypatch, tiny):
    monkeypatch.setattr(backbone, "packs_weights", lambda *_: False)
    with M3Model.load("tiny", dtype="float32") as plain:
        assert not any(isinstance(m, PackedLinear) for m in plain._worker._network.modules())
        difference = abs(plain.encode(TEXTS).dense - tiny.encode(TEXTS).dense).max()
    assert difference < 1e-5


def test_no_bfloat16_packing_if_onednn_does_not_support_it(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert not packable(torch.bfloat16)


@pytest.mark.parametrize(
    ("amx", "avx512", "max_isa", "dtype"),
    [
        (False, False, "", torch.float32),
        (True, False, "", torch.bfloat16),
        (False, True, "", torch.bfloat16),
        (True, True, "AVX2", torch.float32),
        (True, True, "avx512_core_vnni", torch.float32),
        (True, True, "AVX512_CORE_BF16", torch.bfloat16),
    ],
)
def test_auto_is_bfloat16_only_in_hardware(monkeypatch, amx, avx512, max_isa, dtype):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", max_isa)
    assert choose_dtype("auto", CPU) == dtype


@pytest.mark.parametrize(
    ("max_isa", "amx"), [("", True), ("ALL", True), ("AVX512_CORE_AMX", True), ("AVX2", False)]
)
def test_amx_unless_onednn_is_limited_to_less(monkeypatch, max_isa, amx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", max_isa)
    assert device.has_amx() == amx


def vectors(n, dtype=np.float32):
    return np.random.default_rng(n).normal(size=(n, 40)).astype(dtype)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1023, 1024, 1025, 2100])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_inner_products_equal_numpys(rows, columns, dtype):
    x, y = vectors(rows, dtype), vectors(5000)[:columns]
    products = inner_products(x, y)
    assert products.dtype == np.float32
    assert products.shape == (rows, columns)
    np.testing.assert_allclose(products, x.astype(np.float32) @ y.T, atol=2e-5, rtol=1e-5)


def test_inner_products_of_read_only_arrays():
    x, y = vectors(70, np.float16), vectors(3)
    copies = x.copy(), y.copy()
    for array in (x, y):
        array.flags.writeable = False
    products = inner_products(x, y)
    np.testing.assert_allclose(products, x.astype(np.float32) @ y.T, atol=2e-5, rtol=1e-5)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(y, copies[1])


def test_inner_products_without_onednn(monkeypatch):
    monkeypatch.setattr(onednn, "packable", lambda _: False)
    x, y = vectors(70, np.float16), vectors(3)
    np.testing.assert_array_equal(inner_products(x, y), x.astype(np.float32) @ y.T)
