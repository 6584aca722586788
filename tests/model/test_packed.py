"""Packed models: the codes, the numbers they stand for, and the checks of the files."""

import gzip
import json

import numpy as np
import pytest
import safetensors.torch
import torch

from m3rag import M3Model
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint as checkpoints
from m3rag.model.network import M3Network
from m3rag.model.packed import PackedTable, pack_matrix, pack_table, unpack_matrix
from m3rag.model.packing import repeated_positions
from m3rag.model.storage import Positions
from m3rag.training.settings import TrainingSettings
from m3rag.training.trainable import encode, to_checkpoint, trainable
from tests.conftest import TEXTS
from tests.trials.small_model import edit, write_small

WORDS, LAYERS = "model-words.safetensors", "model-layers.safetensors"
TABLE = "embeddings.word_embeddings"
QUERY = "encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The bundled model, packed."""
    folder = tmp_path_factory.mktemp("packed")
    checkpoints.write(checkpoints.read(M3Model.load("tiny")._source), folder, packed=True)
    return folder


@pytest.fixture(scope="module")
def plain(packed, tmp_path_factory):
    """The packed model's float16 copy."""
    folder = tmp_path_factory.mktemp("plain")
    checkpoints.write(checkpoints.read(packed), folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_small(tmp_path / "small", packed=True, hidden_size=64)


def q4_0(rows, width, seed=5):
    """Return codes, scales and the float16 numbers of a random Q4_0 table, computed in numpy."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (rows, width // 32, 32)).astype(np.uint8)
    np.put_along_axis(codes, random.integers(0, 32, (rows, width // 32, 1)), 0, axis=-1)
    scales = random.normal(size=(rows, width // 32)).astype(np.float16) / np.float16(40)
    numbers = (codes.astype(np.float64) - 8) * scales[..., None].astype(np.float64)
    codes = codes.reshape(rows, width)
    return codes[:, ::2] | codes[:, 1::2] << 4, scales, numbers.astype(np.float16).reshape(rows, -1)


# The codes.


def test_a_table_is_low_bits_first_minus_8_times_the_scale_of_32():
    codes, scales, numbers = q4_0(50, 96)
    table = PackedTable(torch.from_numpy(codes), torch.from_numpy(scales))
    assert np.array_equal(table.all_rows(), numbers)
    ids = torch.tensor([[3, 49, 3], [0, 1, 2]])
    assert np.array_equal(table.rows(ids), numbers[ids.numpy()])
    places = torch.tensor([0, 1, 31, 32, 95, 96, 4799])
    assert np.array_equal(table.sample(places), numbers.reshape(-1)[places.numpy()])


def test_a_table_of_q4_0_gets_its_codes_back_bit_for_bit():
    codes, scales, numbers = q4_0(9000, 64)  # more than are packed at a time
    found = pack_table(torch.from_numpy(numbers))
    assert np.array_equal(found.codes, codes)
    assert np.array_equal(found.scales.view(torch.int16), scales.view(np.int16))


def test_other_tables_are_rounded_to_16_levels():
    table = torch.randn(100, 64, generator=torch.Generator().manual_seed(1)).half()
    table[7] = 0
    found = pack_table(table).all_rows().float()
    step = table.float().view(100, 2, 32).abs().amax(-1, keepdim=True) / 8
    error = (found - table.float()).abs().view(100, 2, 32)
    assert (error <= step * 1.01).all()
    assert (found[7] == 0).all()
    assert error.square().mean().sqrt() < 0.4 * step.mean()  # uniform over a step: 0.29


@pytest.mark.parametrize(("columns", "blocks"), [(192, 3), (40, 5), (7, 7)])
def test_blocks_of_8_bits_are_rounded_to_the_nearest_level(columns, blocks):
    weight = torch.randn(50, columns, generator=torch.Generator().manual_seed(2)).half()
    weight[3] = 0
    weight[4] *= 1e-4  # the scale would be subnormal in float16
    codes, scales = pack_matrix(weight)
    assert (codes.dtype, codes.shape) == (torch.int8, (50, columns))
    assert (scales.dtype, scales.shape) == (torch.float32, (50, blocks))
    found = unpack_matrix(codes, scales)
    split = weight.float().view(50, blocks, -1)
    step = split.abs().amax(-1, keepdim=True) / 127
    rounding = split.abs() * 2**-11 + 2**-25  # of float16
    assert ((found.float().view_as(split) - split).abs() <= step / 2 + rounding).all()
    again, scales_again = pack_matrix(found)
    assert torch.equal(again, codes)
    assert torch.equal(scales_again, scales)


# Positions.


def test_repeated_positions_are_stored_once():
    random = torch.Generator().manual_seed(3)
    base = torch.randn(14, 4, generator=random)
    positions = Positions(stored=14, period=9)
    rows = torch.from_numpy(positions.rows(np.arange(60)))
    assert rows[:20].tolist() == [*range(14), *range(5, 11)]
    assert repeated_positions(base[rows], 2) == positions
    assert repeated_positions(torch.randn(60, 4, generator=random), 2) is None
    assert repeated_positions(torch.zeros(60, 4), 2) == Positions(stored=3, period=1)


def test_long_texts_see_the_same_positions_packed_and_plain(tmp_path):
    start = checkpoints.read(
        write_small(tmp_path / "a", hidden_size=64, max_position_embeddings=130)
    )
    table = start.encoder["embeddings.position_embeddings.weight"]
    table[30:] = table[10:30].repeat(5, 1)
    checkpoints.write(start, tmp_path / "b", packed=True)
    assert json.loads((tmp_path / "b" / "config.json").read_text())["m3rag"] == {
        "format": 1,
        "stored_positions": 30,
        "position_period": 20,
    }
    with M3Model.load(tmp_path / "b", dtype="float32") as ours:
        ours.save(tmp_path / "c")
        text = "soil moisture " * 12
        assert ours.encode([text]).n_tokens[0] > 40
        with M3Model.load(tmp_path / "c", dtype="float32") as copy:
            assert np.array_equal(ours.encode([text]).dense, copy.encode([text]).dense)
            assert copy.max_length == ours.max_length == 128


# Whole models.


@pytest.mark.filterwarnings("ignore:.* texts was cut")
def test_a_packed_model_has_the_numbers_of_its_float16_copy(packed, plain):
    with (
        M3Model.load(packed, dtype="float32") as ours,
        M3Model.load(plain, dtype="float32") as copy,
    ):
        assert ours.fingerprint == copy.fingerprint
        a, b = ours.encode(TEXTS), copy.encode(TEXTS)
    assert np.array_equal(a.dense, b.dense)
    for i in range(len(TEXTS)):
        assert a.sparse[i] == b.sparse[i]
        assert np.array_equal(a.colbert[i], b.colbert[i])


@pytest.mark.filterwarnings("ignore:.* texts was cut")
def test_a_packed_model_is_close_to_the_original(packed, tiny):
    with M3Model.load(packed, dtype="float32") as ours:
        assert ours.fingerprint != tiny.fingerprint  # its words need more than 4 bits
        found, expected = ours.encode(TEXTS), tiny.encode(TEXTS)
    assert np.median((found.dense * expected.dense).sum(1)) > 0.98


def test_the_word_table_stays_packed(packed):
    checkpoint = checkpoints.read(packed)
    rows, width = checkpoint.tokenizer.vocab_size, 256
    table = {name: t for name, t in checkpoint.encoder.items() if name.startswith(TABLE)}
    assert sum(tensor.nbytes for tensor in table.values()) == rows * width * 9 // 16
    with M3Model.load(packed, dtype="float32") as model:
        state = model._worker._network.state_dict()
        assert state[f"encoder.{TABLE}.codes"].shape == (rows, width // 2)
        assert f"encoder.{TABLE}.weight" not in state


def test_packing_twice_changes_nothing(packed, plain, tmp_path):
    checkpoints.write(checkpoints.read(plain), tmp_path / "again", packed=True)
    checkpoints.write(checkpoints.read(packed), tmp_path / "kept", packed=True)
    for path in packed.iterdir():
        for other in ("again", "kept"):
            assert path.read_bytes() == (tmp_path / other / path.name).read_bytes(), path.name


def test_a_packed_model_is_small(packed, tiny_folder):
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    vocabulary = (tiny_folder / "tokenizer.json").stat().st_size
    assert (packed / "tokenizer.json.gz").stat().st_size < vocabulary / 2
    assert size(packed) < 0.5 * size(tiny_folder)  # which has words in 8 bits


def test_a_model_whose_rows_are_no_blocks_of_32(tmp_path):
    start = checkpoints.read(write_small(tmp_path / "a"))
    with pytest.raises(CheckpointError, match=r"hidden_size is 16; .* multiple of 32"):
        checkpoints.write(start, tmp_path / "b", packed=True)


def test_the_packed_words_are_frozen_in_training(folder, tmp_path):
    start = checkpoints.read(folder)
    network = trainable(M3Network, start, TrainingSettings(), torch.device("cpu"))
    assert not any(TABLE in name for name, _ in network.named_parameters())
    views = encode(network, [[0, 9, 8, 2], [0, 7, 2]], start.tokenizer.unweighted)
    views.dense[0, 0].backward()
    weight = network.encoder.encoder.layer[0].attention.self.query.weight
    assert weight.grad.abs().sum() > 0
    with torch.no_grad():
        weight += 0.25
    after = to_checkpoint(network, start)
    checkpoints.write(after, tmp_path / "packed", packed=True)
    checkpoints.write(after, tmp_path / "plain")
    assert (tmp_path / "packed" / WORDS).read_bytes() == (folder / WORDS).read_bytes()
    found = checkpoints.read(tmp_path / "packed").encoder[f"{QUERY}.weight"]
    difference = (found - start.encoder[f"{QUERY}.weight"]).float()
    assert torch.allclose(difference, torch.tensor(0.25), atol=0.02)
    plain = checkpoints.read(tmp_path / "plain").encoder
    assert torch.equal(plain[f"{TABLE}.weight"], words_of(folder).all_rows())


def words_of(folder):
    tensors = safetensors.torch.load_file(folder / WORDS)
    return PackedTable(tensors[f"{TABLE}.codes"], tensors[f"{TABLE}.scales"])


# Damage.


def load_error(folder, match):
    with pytest.raises(CheckpointError, match=match) as raised:
        checkpoints.read(folder)
    assert len(str(raised.value)) < 1500


def change(folder, file, name, value):
    """Replace a tensor of a file, or remove it."""
    tensors = safetensors.torch.load_file(folder / file)
    found = tensors.pop(name)
    if value is not None:
        tensors[name] = value(found.clone())
    else:
        edit(
            folder / "model.safetensors.index.json",
            lambda index: index["weight_map"].pop(name) and None,
        )
    safetensors.torch.save_file(tensors, folder / file)


def put(value):
    def apply(tensor):
        tensor.view(-1)[5] = value
        return tensor

    return apply


@pytest.mark.parametrize(
    ("file", "name", "value", "message"),
    [
        (WORDS, f"{TABLE}.codes", None, r"word_embeddings\.codes is missing"),
        (WORDS, f"{TABLE}.scales", None, r"word_embeddings\.scales is missing"),
        (
            WORDS,
            f"{TABLE}.codes",
            lambda t: t[:-1],
            r"has the shape \(299, 32\), expected \(300, 32",
        ),
        (WORDS, f"{TABLE}.codes", lambda t: t.repeat(1, 2), r"the shape \(300, 64\), expected"),
        (WORDS, f"{TABLE}.codes", lambda t: t.view(torch.int8), "is int8; .* uint8 there"),
        (WORDS, f"{TABLE}.codes", lambda t: t.float(), "is float32; .* uint8 there"),
        (WORDS, f"{TABLE}.scales", lambda t: t.float(), "is float32; .* float16 there"),
        (WORDS, f"{TABLE}.scales", lambda t: t[:, :1].clone(), r"the shape \(300, 1\), expected"),
        (WORDS, f"{TABLE}.scales", put(float("nan")), f"{TABLE} has a scale of nan"),
        (WORDS, f"{TABLE}.scales", put(float("-inf")), "a scale of inf; at most 8,188"),
        (WORDS, f"{TABLE}.scales", put(8192.0), "a scale of 8192; at most 8,188"),
        (LAYERS, f"{QUERY}.codes", None, r"query\.codes is missing"),
        (LAYERS, f"{QUERY}.scales", None, r"query\.scales is missing"),
        (LAYERS, f"{QUERY}.codes", lambda t: t.half(), "is float16; .* int8 there"),
        (LAYERS, f"{QUERY}.codes", lambda t: t.view(-1), r"the shape \(4096,\), expected \(64, 64"),
        (LAYERS, f"{QUERY}.scales", lambda t: t.half(), "is float16; .* float32 there"),
        (LAYERS, f"{QUERY}.scales", put(float("nan")), "query has a scale of nan"),
        (LAYERS, f"{QUERY}.scales", put(1e30), "query has a scale of 1e[+]30; at most 512"),
        (LAYERS, f"{QUERY}.bias", put(float("nan")), "bias contains NaN"),
        (LAYERS, f"{QUERY}.bias", lambda t: t.to(torch.int8), "bias.* is int8"),
        (LAYERS, "embeddings.LayerNorm.bias", None, "LayerNorm.bias is missing"),
    ],
)
def test_damaged_tensors(folder, file, name, value, message):
    change(folder, file, name, value)
    load_error(folder, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"format": 2}, r"packed in format 2; this m3rag reads formats up to 1\. Upgrade m3rag"),
        ({"format": 10**5000}, "Upgrade m3rag|is not JSON"),
        ({}, 'an object with a number "format"'),
        ([1], 'an object with a number "format"'),
        (None, 'an object with a number "format"'),
        ({"format": True}, 'an object with a number "format"'),
        ({"format": 0}, 'an object with a number "format"'),
        ({"format": 1, "stored_positions": 40}, "position_period must be from 1 to 38"),
        ({"format": 1, "position_period": 3}, "stored_positions must be above 2"),
        ({"format": 1, "stored_positions": 40, "position_period": 0}, "must be from 1 to 38"),
        ({"format": 1, "stored_positions": 40, "position_period": 39}, "must be from 1 to 38"),
        ({"format": 1, "stored_positions": 40, "position_period": 2.0}, "must be from 1 to 38"),
        ({"format": 1, "stored_positions": 67, "position_period": 2}, "must be above 2 and"),
        ({"format": 1, "stored_positions": 2, "position_period": 1}, "must be above 2 and"),
        ({"format": 1, "stored_positions": 40, "position_period": 2}, r"\(66, 64\), expected \(40"),
    ],
)
def test_odd_values_of_the_storage(folder, value, message):
    if value == {"format": 10**5000}:
        text = (
            (folder / "config.json").read_text().replace('"format": 1', f'"format": {"9" * 5000}')
        )
        (folder / "config.json").write_text(text)
    else:
        edit(folder / "config.json", lambda config: config | {"m3rag": value})
    load_error(folder, message)


def test_positions_cannot_stretch_a_small_file_without_bound(folder):
    sizes = {"max_position_embeddings": 1 << 20}
    stored = {"format": 1, "stored_positions": 66, "position_period": 60}
    edit(folder / "config.json", lambda config: config | sizes | {"m3rag": stored})
    load_error(folder, "of 1,048,576, at least a 64th")


def test_codes_without_the_key_of_packed_models(folder):
    edit(folder / "config.json", lambda config: config.pop("m3rag") and None)
    load_error(folder, "describes 'm3rag-packed'; BGE-M3 is 'xlm-roberta'")
    edit(folder / "config.json", lambda config: config | {"model_type": "xlm-roberta"})
    load_error(folder, r"codes' is u?int8\. Export the checkpoint")


def test_plain_weights_with_the_key_of_packed_models(tmp_path):
    folder = write_small(tmp_path / "plain", hidden_size=64)
    edit(folder / "config.json", lambda config: config | {"m3rag": {"format": 1}})
    load_error(folder, 'a model with the key "m3rag" is .m3rag-packed')
    edit(folder / "config.json", lambda config: config | {"model_type": "m3rag-packed"})
    load_error(folder, "differences")


def test_a_width_that_cannot_be_packed(folder):
    edit(folder / "config.json", lambda config: config | {"hidden_size": 16})
    load_error(folder, "hidden_size is 16, not a multiple of 32")


# The compressed tokenizer.


def test_a_compressed_tokenizer_is_the_same_tokenizer(folder, tmp_path):
    before = checkpoints.read(folder)
    (folder / "tokenizer.json").write_bytes(before.tokenizer.json)
    (folder / "tokenizer.json.gz").write_bytes(b"")  # not read beside a tokenizer.json
    after = checkpoints.read(folder)
    assert after.tokenizer.ids(TEXTS) == before.tokenizer.ids(TEXTS)
    assert after.fingerprint() == before.fingerprint()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"{}", "it is not compressed by gzip"),
        (lambda data: data[:-9], "its end is missing, or something follows"),
        (lambda data: data + b"x", "its end is missing, or something follows"),
        (lambda data: data[:60] + bytes(200) + data[260:], "is not compressed by gzip|is damaged"),
        (lambda data: gzip.compress(b" " * (1 << 27)), "expands to more than 4,271,104 bytes"),
        (lambda data: gzip.compress(b'{"model": {"type": "BPE"}}'), "its model is 'BPE'"),
    ],
)
def test_a_damaged_compressed_tokenizer(folder, damage, message):
    path = folder / "tokenizer.json.gz"
    path.write_bytes(damage(path.read_bytes()))
    load_error(folder, message)
