"""Damaged and hostile parts of a model folder: what the error names."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from m3rag import M3Model
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint, weights
from tests.trials import hostile_models as hostile
from tests.trials.small_model import edit, save_pickle, tensor_pickle, write_small

linux = pytest.mark.skipif(sys.platform != "linux", reason="special files and limits of Linux")


@pytest.fixture
def folder(tmp_path):
    return write_small(tmp_path / "small")


def load_error(folder, match):
    with pytest.raises(CheckpointError, match=match) as raised:
        checkpoint.read(folder)
    assert len(str(raised.value)) < 1500


def test_the_small_model_loads(folder):
    with M3Model.load(folder, dtype="float32") as model:
        assert model.encode(["soil moisture"]).dense.shape == (1, 16)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_attention_heads", 0, "an integer from 1 to 4,096"),
        ("num_attention_heads", 7, "it must divide hidden_size, 16"),
        ("pad_token_id", -7, "an integer from 0"),
        ("pad_token_id", 300, "it must be below vocab_size, 300"),
        ("hidden_act", "magic", "BGE-M3 has 'gelu'"),
        ("num_hidden_layers", 10**9, "num_hidden_layers = 1000000000: it must be an integer"),
        ("num_hidden_layers", 1000, "15968 differences"),
        ("hidden_size", 1 << 16, "has the shape"),
        ("hidden_size", 16.0, "hidden_size = 16.0: it must be an integer"),
        ("hidden_size", True, "hidden_size = True"),
        ("hidden_size", "16", "hidden_size = '16'"),
        ("vocab_size", 301, r"word_embeddings.weight has the shape \(300, 16\), expected \(301"),
        ("type_vocab_size", 2, "token_type_embeddings.weight has the shape"),
        ("max_position_embeddings", 4, "leaves less than 3 tokens"),
        ("layer_norm_eps", 0, "above 0"),
        ("layer_norm_eps", None, "layer_norm_eps = None"),
        ("is_decoder", True, "does not support"),
        ("quantization_config", {}, "does not support"),
        ("passage_tokens", 8, "passage_tokens = 8: it must be an integer from 16 to 64"),
        ("passage_tokens", 200, "it must be an integer from 16 to 64"),
        ("passage_tokens", "32", "passage_tokens = '32'"),
    ],
)
def test_odd_values_of_the_config(folder, key, value, message):
    hostile.setting(key, value)(folder)
    load_error(folder, message)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(folder, value):
    text = (folder / "config.json").read_text().replace("1e-05", value)
    (folder / "config.json").write_text(text)
    load_error(folder, "layer_norm_eps = (nan|inf|-inf): it must be a number above 0")


def test_the_length_of_passages_that_suits_a_model(folder):
    assert checkpoint.read(folder).passage_tokens == 64, "512, but the model takes only 64"
    hostile.setting("passage_tokens", 32)(folder)
    with M3Model.load(folder, dtype="float32") as model:
        assert model.passage_tokens == 32
    with M3Model.load(folder, dtype="float32", max_length=20) as model:
        assert model.passage_tokens == 20


def test_labels_do_not_take_memory(folder):
    hostile.setting("num_labels", 10**9)(folder)
    with M3Model.load(folder, dtype="float32") as model:
        assert model.dim == 16


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/outside.safetensors", "a/b.safetensors"]
)
def test_a_shard_outside_of_the_folder(folder, name):
    target = Path(os.path.normpath(folder / name)) if name[0] != "/" else None
    if target is not None:
        target.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "model.safetensors", target)
    hostile.index({"embeddings.LayerNorm.bias": name})(folder)
    load_error(folder, "A shard is a file in the same folder, named without a path")


def as_shard(folder, place):
    """Move the weights to `place` and let the index name a link to them."""
    names = safetensors.torch.load_file(folder / "model.safetensors")
    shutil.move(folder / "model.safetensors", place)
    (folder / "a.safetensors").symlink_to(os.path.relpath(place, folder))
    hostile.index(dict.fromkeys(names, "a.safetensors"))(folder)


@linux
def test_a_shard_that_is_a_link_out_of_the_folder(folder, tmp_path):
    as_shard(folder, tmp_path / "secret.safetensors")
    load_error(folder, "is a link that leads out of the model folder, to .*secret")


@linux
@pytest.mark.parametrize("place", ["models--a--b/blobs/0123", "blobs/01/0123"])
def test_shards_of_the_hubs_cache_are_links(folder, tmp_path, place):
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / "0123456789abcdef"
    shutil.copytree(folder, snapshot)
    (tmp_path / "hub" / place).parent.mkdir(parents=True)
    as_shard(snapshot, tmp_path / "hub" / place)
    assert checkpoint.read(snapshot).config["hidden_size"] == 16


@linux
def test_the_weights_may_be_a_link(folder, tmp_path):
    shutil.move(folder / "model.safetensors", tmp_path / "shared.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "shared.safetensors")
    assert checkpoint.read(folder).config["hidden_size"] == 16


def test_shards_and_their_index_must_agree(folder):
    names = list(safetensors.torch.load_file(folder / "model.safetensors"))
    places = dict.fromkeys(names, "model.safetensors")
    hostile.index(places | {"extra": "model.safetensors"})(folder)
    load_error(folder, "says that 'extra' is in model.safetensors, which does not have it")
    del places[names[0]]
    hostile.index(places)(folder)
    load_error(folder, f"has 1 tensors that .* does not name, such as '{names[0]}'")


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int8, torch.complex64])
def test_weights_of_another_dtype(folder, dtype, pickled):
    name = "encoder.layer.0.output.dense.weight"
    change = hostile.tensor(name, dtype, pickled=pickled)
    change(folder)
    kind = str(dtype).removeprefix("torch.")
    load_error(folder, f"the tensor '{name}' is ({kind}|C64)")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(16, 32).to_sparse(), "sparse"),
        (torch.zeros(1 << 15, 1 << 15, device="meta"), "meta, without values"),
    ],
)
def test_weights_that_are_no_plain_tensors(folder, value, kind):
    name = "encoder.layer.0.output.dense.weight"
    hostile.tensor(name, value, pickled=True)(folder)
    with pytest.raises(CheckpointError, match=kind):
        checkpoint.read(folder)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_expanded_from_one_number(folder, legacy):
    wide = torch.zeros(1, 1).expand(1 << 20, 16)
    save = hostile.head(
        {"weight": wide, "bias": wide[:, 0]}, _use_new_zipfile_serialization=not legacy
    )
    save(folder)
    load_error(folder, r"tensors would expand to 71,303,168 bytes")


@pytest.mark.parametrize(
    ("shape", "stride", "numel", "message"),
    [
        ((8, 16), (16, 1), 1 << 40, r"record '0' has 512 bytes, and 4,398,046,511,104 are needed"),
        ((8, 17), (17, 1), 128, "goes beyond its 128 numbers"),
        ((8, 16), (-16, 1), 128, "impossible shape"),
    ],
)
def test_a_tensor_beyond_its_storage(folder, shape, stride, numel, message):
    data = tensor_pickle(shape, stride, numel)
    save_pickle(folder / hostile.HEAD, data, {"data/0": bytes(512)})
    load_error(folder, message)


def test_our_own_pickle_is_a_good_one(folder):
    data = tensor_pickle((8, 16), (16, 1), 128)
    save_pickle(folder / hostile.HEAD, data, {"data/0": bytes(512)})
    assert checkpoint.read(folder).heads["colbert_linear"]["weight"].shape == (8, 16)


def test_a_compressed_head(folder):
    hostile.deflated(megabytes=64)(folder)
    load_error(folder, r"'head/data.pkl' is compressed from 67,108,864 to \d+,\d+ bytes")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_head_is_refused_wherever_it_is_cut(folder, legacy):
    path = folder / hostile.HEAD
    good = {"weight": torch.zeros(8, 16), "bias": torch.zeros(8)}
    torch.save(good, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"colbert_linear.pt cannot be read"):
            weights.inspect(path)
    path.write_bytes(whole)
    checkpoint.read(folder)


def test_weights_are_refused_wherever_they_are_cut(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in [*range(20), *range(20, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read"):
            weights.inspect(path)


def test_numbers_that_overflow(folder):
    name = "encoder.layer.0.output.dense.weight"
    hostile.tensors(lambda t: t[name].fill_(3e38))(folder)
    load_error(folder, f"{name} contains numbers up to 3e")
    hostile.tensors(lambda t: t[name].fill_(1e33))(folder)
    with (
        M3Model.load(folder, dtype="float32") as model,
        pytest.raises(CheckpointError, match="computes NaN or infinity"),
    ):
        model.encode(["soil"])


def test_a_model_of_half_a_gigabyte_that_was_never_written(folder):
    hostile.sparse_file("model.safetensors", 512 << 20)(folder)
    load_error(folder, r"only [\d,]+ of its 536,870,912 bytes were ever written")


def test_an_unknown_character_needs_no_token(folder):
    edit(folder / "tokenizer.json", lambda found: found["model"].update(unk_id=None))
    load_error(folder, "its unk_id is None")


def test_weights_map_of_another_json_type(folder):
    for value in ("[]", "{}", "5", "null", '"a"'):
        (folder / "model.safetensors.index.json").write_text(f'{{"weight_map": {value}}}')
        load_error(folder, "has no weight_map")
