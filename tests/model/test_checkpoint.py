"""A model folder is loaded only if it is complete and valid."""

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

from m3rag import M3Model
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint


@pytest.fixture
def folder(tmp_path, tiny_folder):
    return shutil.copytree(tiny_folder, tmp_path / "model")


def load_error(folder, match):
    with pytest.raises(CheckpointError, match=match):
        M3Model.load(folder)


def test_a_folder_that_does_not_exist(tmp_path):
    load_error(tmp_path / "nothing", "no model folder")
    load_error("./nothing", "no model folder")


def test_a_file_instead_of_a_folder(tiny_folder):
    load_error(tiny_folder / "config.json", "is a file")


def test_a_folder_that_is_not_a_model(tmp_path):
    load_error(tmp_path, r"no config\.json: it is not a model folder")


def test_an_unknown_name_on_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    load_error("nobody/no-such-model", "hub cannot provide 'nobody/no-such-model'")


def test_a_cached_model_loads_offline(monkeypatch, tmp_path, tiny_folder):
    snapshot = tmp_path / "models--somebody--m3" / "snapshots" / "0123456789abcdef"
    shutil.copytree(tiny_folder, snapshot)
    refs = tmp_path / "models--somebody--m3" / "refs"
    refs.mkdir()
    (refs / "main").write_text(snapshot.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    with M3Model.load("somebody/m3", dtype="float32") as model:
        assert model.dim == 256


def test_another_architecture(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    load_error(folder, "describes 'bert'; BGE-M3 is 'xlm-roberta'")


def test_a_config_that_is_not_json(folder):
    (folder / "config.json").write_text("{")
    load_error(folder, "is not JSON")


@pytest.mark.parametrize("name", ["sparse_linear.pt", "colbert_linear.pt"])
def test_a_missing_head_is_never_random(folder, name):
    (folder / name).unlink()
    load_error(folder, f"has no {name}")


def test_a_head_of_the_wrong_shape(folder):
    torch.save({"weight": torch.zeros(1, 99), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    load_error(folder, r"weight of shape \(1, 99\).*needs \(1, 256\)")


def test_a_head_with_other_tensors(folder):
    torch.save({"kernel": torch.zeros(1, 256)}, folder / "sparse_linear.pt")
    load_error(folder, "expected weight and bias")


def test_code_in_a_head_is_not_run(folder, tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "pwned"), "w")

    torch.save({"weight": Attack(), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    load_error(folder, "cannot be read")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "colbert_linear.pt", "tokenizer.json"])
def test_a_truncated_file(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    load_error(folder, f"{name} (cannot be read|is damaged)")


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    load_error(folder, r"no weights: neither model\.safetensors nor pytorch_model\.bin exists")


def test_a_missing_tensor(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["encoder.layer.0.output.dense.weight"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    load_error(folder, r"layer\.0\.output\.dense\.weight is missing")


def test_a_config_of_other_sizes(folder):
    config = json.loads((folder / "config.json").read_text())
    layers, width = config["num_hidden_layers"], config["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers + 1}))
    load_error(folder, rf"16 differences.*layer\.{layers}\..* is missing")
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": width + 8}))
    load_error(folder, rf"has the shape \({width},\), expected \({width + 8},\)")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_in_the_weights(folder, bad):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.weight"][3, 5] = bad
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    load_error(folder, r"layer\.1\.output\.dense\.weight contains NaN or infinity")


def test_nan_in_a_head(folder):
    torch.save(
        {"weight": torch.full((1, 256), float("nan")), "bias": torch.zeros(1)},
        folder / "sparse_linear.pt",
    )
    load_error(folder, r"sparse_linear\.weight contains NaN")


def test_a_tokenizer_of_a_larger_model(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    tensors[name] = tensors[name][:1000].clone()
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 1000}))
    load_error(folder, "files belong to different models")


def test_bin_weights_and_shards_are_the_same_model(folder, tiny):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    tensors["pooler.dense.weight"] = torch.zeros(256, 256)  # in some exports; M3 does not use it
    torch.save(tensors, folder / "pytorch_model.bin")
    with M3Model.load(folder, dtype="float32") as model:
        assert model.fingerprint == tiny.fingerprint
        dense = model.encode(["soil"]).dense
    # Memory may be aligned differently.
    assert np.allclose(dense, tiny.encode(["soil"]).dense, atol=1e-6)

    names = sorted(tensors)
    shards = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(names)}
    (folder / "pytorch_model.bin").unlink()
    for shard in set(shards.values()):
        part = {name: tensors[name] for name in names if shards[name] == shard}
        safetensors.torch.save_file(part, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with M3Model.load(folder, dtype="float32") as model:
        assert model.fingerprint == tiny.fingerprint


def test_a_written_checkpoint_can_be_read(tmp_path, tiny_folder, tiny):
    checkpoint.write(checkpoint.read(tiny_folder), tmp_path / "copy")
    with M3Model.load(tmp_path / "copy", dtype="float32") as model:
        assert model.fingerprint == tiny.fingerprint
        dense = model.encode(["soil"]).dense
    # Memory may be aligned differently.
    assert np.allclose(dense, tiny.encode(["soil"]).dense, atol=1e-6)


def test_other_weights_have_another_fingerprint(folder, tiny):
    torch.save({"weight": torch.ones(1, 256), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    with M3Model.load(folder, dtype="float32") as model:
        assert model.fingerprint != tiny.fingerprint


def test_tiny_is_small_enough_to_bundle(tiny_folder):
    assert sum(f.stat().st_size for f in tiny_folder.rglob("*") if f.is_file()) <= 25_000_000


def test_a_checkpoint_can_have_its_own_presets(folder, tmp_path):
    weights = {"default": {"dense": 0.1, "sparse": 0.3, "colbert": 1.0}}
    (folder / "presets.json").write_text(json.dumps(weights))
    with M3Model.load(folder) as model:
        assert model.presets == weights
    checkpoint.write(checkpoint.read(folder), tmp_path / "copy")
    assert checkpoint.read(tmp_path / "copy").presets == weights


def test_invalid_presets(folder):
    (folder / "presets.json").write_text('{"default": [1, 0.3, 1]}')
    load_error(folder, "not a JSON object of weights such as")
