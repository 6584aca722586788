"""The hostile model folders that are made on purpose."""

from __future__ import annotations

import codecs
import json
import os
import random
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch

from tests.trials import hostile_models as make
from tests.trials.hostile_models import ALL_FILES, HEAD, Hostile, content, head, pickled, setting
from tests.trials.small_model import Call, calls, tensor_pickle

ODD_VALUES: list[Any] = [0, -7, 7, 10**9, 10**30, 1.5, 16.0, "16", True, None, [], {}, [16], 1e-300]
ODD_KEYS = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("vocab_size", "type_vocab_size", "max_position_embeddings", "pad_token_id"),
    *("layer_norm_eps", "hidden_act", "hidden_dropout_prob"),
)
OTHER_KEYS: dict[str, Any] = {
    "num_labels": 10**9,
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "position_embedding_type": "relative_key",
    "is_decoder": True,
    "chunk_size_feed_forward": 7,
    "auto_map": {"AutoModel": "evil.Model"},
    "dtype": "complex64",
    "output_attentions": True,
    "attn_implementation": "flash_attention_9",
    "model_type": "bert",
}
ODD_JSON: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{",
    "an object": b"{}",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "NaN": b"NaN",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "not UTF-8": b'{"model_type": "\xff\xfe"}',
    "many digits": b'{"model_type": ' + b"9" * 10_000 + b"}",
    "many lists": b"[" + b"[]," * 7_000_000 + b"[]]",
    "a surrogate": b'{"model_type": "\\ud800", "weight_map": {"\\ud800": "\\ud800"}}',
    "a key twice": b'{"model": {"a": 1, "a": 2}}',
}
JSON_FILES = ("config.json", "tokenizer.json", "presets.json", "model.safetensors.index.json")
SPECIAL = ("folder", "FIFO", "device", "dangling link", "link to itself", "kernel file")
SHARDS: list[Any] = [
    *("../outside.safetensors", "/etc/passwd", "model.safetensors\0", "", ".", ".."),
    *("./model.safetensors", "config.json", 5, None, ["a"], {}, "x" * 5000, "a/b.safetensors"),
    *("missing.safetensors", "tokenizer.json/a.safetensors"),
]
WEIGHT = "encoder.layer.1.output.dense.weight"


def constructed() -> Iterator[tuple[str, Hostile]]:
    """Yield the hostile changes with their names."""
    for key in ODD_KEYS:
        yield from ((f"config: {key} = {v!r}", setting(key, v)) for v in ODD_VALUES)
    yield from ((f"config: {key}", setting(key, value)) for key, value in OTHER_KEYS.items())
    for name in JSON_FILES:
        yield from ((f"{name}: {what}", content(name, data)) for what, data in ODD_JSON.items())
        yield f"{name}: 20 GB", make.sparse_file(name, 20 << 30)
    for name in (*ALL_FILES, "presets.json"):
        yield from ((f"{name}: {kind}", make.special(name, kind)) for kind in SPECIAL)
    yield from _indexes()
    yield from _weights()
    yield from _safetensors()
    yield from _heads()
    yield from _pickles()
    yield from _vocabularies()
    yield from _normalizers()
    yield from _presets()


def _indexes() -> Iterator[tuple[str, Hostile]]:
    yield from ((f"shard {str(name)[:30]!r}", make.index({"a": name})) for name in SHARDS)
    maps: list[Any] = [[], {}, 5, None, "model.safetensors", {"a": "model.safetensors"}]
    for value in maps:
        yield f"weight_map {value!r}", make.index(value)
    many = {str(i): f"{i}.safetensors" for i in range(50_000)}
    yield "weight_map of 50,000 shards", make.index(many)


def _weights() -> Iterator[tuple[str, Hostile]]:
    for dtype in (torch.bool, torch.int8, torch.int64, torch.complex64, torch.uint8):
        for as_bin in (False, True):
            yield f"weights: {dtype}, bin {as_bin}", make.tensor(WEIGHT, dtype, pickled=as_bin)
    for factor in (float("nan"), float("inf"), 1e30, 3e37, -1e20, 0.0):
        yield f"weights: times {factor}", make.times(factor, WEIGHT)
    for factor in (1e15, 1e-40, 0.0):
        yield f"weights: all times {factor}", make.times(factor)
    for shape in ((0, 16), (16,), (), (1, 16, 32), (32, 16)):
        yield f"weights: shape {shape}", make.tensor(WEIGHT, torch.zeros(shape))
    wide, meta = torch.zeros(1, 1).expand(1 << 20, 1 << 20), torch.zeros(1 << 40, device="meta")
    yield "weights: expanded", make.tensor(WEIGHT, wide, pickled=True)
    yield "weights: sparse", make.tensor(WEIGHT, torch.zeros(16, 32).to_sparse(), pickled=True)
    yield "weights: meta", make.tensor(WEIGHT, meta, pickled=True)
    many = {f"x{i}": torch.zeros(1) for i in range(20_000)}
    yield "weights: many", make.tensors(lambda found: found.update(many))
    yield "weights: long name", make.tensor("x" * 10**6, torch.zeros(1))


def _safetensors() -> Iterator[tuple[str, Hostile]]:
    for length in (0, 1, 2**20, 2**33, 2**63, 2**64 - 1):
        yield f"safetensors: header of {length}", make.header(length, b"{}")
    yield "safetensors: deep header", make.header(200_000, b"[" * 200_000)
    shapes: list[list[int]] = [[2**40], [2**62, 4], [-1], [2**32, 2**32], [1] * 10_000]
    for shape in shapes:
        yield f"safetensors: {str(shape)[:30]}", make.header_of("F32", shape, 0)
    yield "safetensors: unknown dtype", make.header_of("F99", [1], 4)
    yield "safetensors: huge offset", make.header_of("F32", [2**60], 2**62)
    yield "safetensors: 6 GB of nothing", make.sparse_file("model.safetensors", 6 << 30)


def _heads() -> Iterator[tuple[str, Hostile]]:
    good = {"weight": torch.zeros(8, 16), "bias": torch.zeros(8)}
    wide = torch.zeros(1, 1).expand(1 << 18, 16)
    expanded = {"weight": wide, "bias": wide[:, 0]}
    yield "head: expanded", head(expanded)
    yield "head: legacy, expanded", head(expanded, _use_new_zipfile_serialization=False)
    odd: list[Any] = [5, [], {}, torch.zeros(3), {"weight": 1, "bias": 2}]
    for value in [*odd, good | {"x": good["bias"]}]:
        yield f"head: {str(value)[:40]}", head(value)
    for dtype in (torch.bool, torch.int32, torch.complex128, torch.float8_e4m3fn, torch.uint16):
        yield f"head: {dtype}", head({name: value.to(dtype) for name, value in good.items()})
    yield "head: quantized", make.quantized()
    yield "head: sparse", head(good | {"weight": good["weight"].to_sparse()})
    yield "head: protocol 4", head(good, pickle_protocol=4)
    yield "head: legacy", head(good, _use_new_zipfile_serialization=False)
    yield "head: a module", head(torch.nn.Linear(16, 8))
    yield "head: NaN", head(good | {"bias": torch.full((8,), float("nan"))})
    yield "head: deflated pickle", make.deflated()
    yield "head: deflated numbers", make.deflated("data/0")
    yield "head: 100 bytes", content(HEAD, b"PK\x03\x04" + bytes(96))
    yield "head: 20 GB", make.sparse_file(HEAD, 20 << 30)


def _pickles() -> Iterator[tuple[str, Hostile]]:
    doubled: Any = "\\" * 1000
    for _ in range(24):  # each call doubles the length
        doubled = Call(codecs.encode, doubled, "unicode_escape")
    attacks: dict[str, Any] = {
        "bytearray": Call(bytearray, 20_000_000_000),
        "tensor": Call(torch.Tensor, 10**10),
        "system": Call(os.system, "touch /tmp/owned-by-a-model"),
        "eval": Call(eval, "1"),
        "open": Call(open, "owned", "w"),
        "codecs": doubled,
    }
    for name, attack in attacks.items():
        yield f"head: calls {name}", pickled(calls(weight=attack, bias=1))
    yield "head: OrderedDicts", pickled(calls(weight=[OrderedDict(a=1)] * 10, bias={1}))
    places: list[tuple[tuple[int, ...], tuple[int, ...], int]] = [
        ((1 << 30, 16), (0, 0), 128),
        ((8, 16), (16, 1), 1 << 40),
        ((1 << 40, 1 << 40), (1, 1), 128),
        ((8, 16), (-16, 1), 128),
        ((8, 16), (1 << 50, 1), 128),
        ((8,) * 40, (0,) * 40, 128),
    ]
    for shape, stride, numel in places:
        data = tensor_pickle(shape, stride, numel)
        yield f"head: {shape} {stride} {numel}"[:60], pickled(data, {"data/0": bytes(512)})
    many = b"".join(b"r" + struct.pack("<I", i) for i in range(2**31, 2**31 + 1000))
    yield "head: huge memo", pickled(b"\x80\x02}" + many + b".")
    yield "head: marks", pickled(b"\x80\x02" + b"(" * 500_000 + b".")
    yield "head: long string", pickled(b"\x80\x02X\xff\xff\xff\x7fabc.")
    yield "head: 2 MB of a pickle", pickled(b"\x80\x02" + b"N0" * 1_000_000 + b"N.")
    yield "head: bytearray8", content(HEAD, b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".")


def _vocabularies() -> Iterator[tuple[str, Hostile]]:
    letters = random.Random(2)

    def word(length: int) -> str:
        return "".join(letters.choices("abcdefghij", k=length))

    yield "vocabulary: 3 MB token", make.vocabulary([word(3_000_000), -1.0])
    yield "vocabulary: long tokens", make.vocabulary(*[[word(450), -1.0] for _ in range(5000)])
    odd: list[Any] = [["a"], [5, 1.0], "a", None, ["x", "y"], ["x", 1e300], ["x", None]]
    for entry in [*odd, ["\ud800", -1]]:
        yield f"vocabulary: {entry!r}", make.vocabulary(entry)
    for number in (None, -1, 10**9, 1.5, "3", True):
        yield f"unk_id {number!r}", make.of_vocabulary("unk_id", number)
    for kind in ("BPE", "WordLevel", "WordPiece", "Magic", None, 5):
        yield f"model {kind!r}", make.of_vocabulary("type", kind)
    models: list[Any] = [None, [], "Unigram", {"type": "Unigram"}]
    for value in models:
        yield f"model is {value!r}", make.of_tokenizer("model", value)
    for token in ("<s>", "<pad>", "</s>", "<unk>"):
        yield f"without {token}", make.without(token)
    yield "added: huge id", make.added((10**9, "hello"))
    yield "added: beyond the vocabulary", make.added(*[(1000 + i, f"<{i}>") for i in range(500)])
    yield "added: long", make.added((300, word(10**6)))
    yield "added: many", make.added(*[(300 + i, word(20)) for i in range(30_000)])
    yield "added: empty", make.added((0, ""))
    yield "added: matches all", make.added((5, " "), (6, "s"), (7, "▁"))


def _normalizers() -> Iterator[tuple[str, Hostile]]:
    replacing, normalizer = make.replacing, make.normalizer
    bombs = ["(a+)+$", "(s|s|s)*x", "(?=(a*))+b", "[^z]+z", "((a{1000}){1000}){1000}", "", "("]
    bombs += ["a**", r"(\w+\s?)*\d", "(?:s?){25}s{25}", "s{99999}", r"(s)\1*"]
    yield from ((f"regex {bomb!r}", normalizer(replacing(bomb, "x"))) for bomb in bombs)
    yield "replace: long", normalizer(replacing("s", "s" * 10**6, "String"))
    yield "replace: doubling", normalizer(*[replacing("s", "ss", "String")] * 40)
    yield "replace: empty pattern", normalizer(*[replacing("", "xxxx", "String")] * 4)
    yield "prepend: long", normalizer(*[{"type": "Prepend", "prepend": "s" * 10**6}] * 3)
    yield "normalizer: unknown", normalizer({"type": "Magic"})
    nested: dict[str, Any] = {"type": "NFC"}
    for _ in range(50):
        nested = {"type": "Sequence", "normalizers": [nested]}
    odd: list[Any] = [None, [], nested]
    for value in odd:
        yield f"normalizer: {str(value)[:20]}", make.of_tokenizer("normalizer", value)
    maps = [b"", b"\0\0\0", struct.pack("<I", 2**32 - 1) + b"\0", struct.pack("<I", 8) + bytes(4)]
    maps += [struct.pack("<I", 1024) + b"\xff" * 1024 + b"a\0" * 9, bytes(1000)]
    maps += [struct.pack("<I", 1024) + bytes(1024) + b"x" * 10**6]
    yield from ((f"charsmap {len(data)} {data[:4]!r}", make.charsmap(data)) for data in maps)
    parts = [{"Sequence": {"id": "A", "type_id": 0}}] * 10_000
    template = {"type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": {}}
    yield "post-processor: repeats", make.of_tokenizer("post_processor", template)
    padding = {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_id": 1}
    padding |= {"pad_to_multiple_of": None, "pad_type_id": 0, "pad_token": "<pad>"}
    yield "padding: fixed", make.of_tokenizer("padding", padding)


def _presets() -> Iterator[tuple[str, Hostile]]:
    values: list[Any] = [{"a": 1}, {"a": {"dense": -1}}, {"a": {"dense": True}}, {"a": {}}]
    values += [{"a": {"magic": 1}}, {"a": {"dense": "1"}}, {"a": {"dense": 10**400}}, {"a": None}]
    values += [{"a": {"dense": float("nan")}}, {"a": {"dense": 0}}, {"x" * 10**5: {"dense": 1}}]
    for value in values:
        data = json.dumps(value).encode()
        yield f"presets {str(value)[:40]}", content("presets.json", data)
