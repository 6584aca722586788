"""Whole runs on the bundled model: they learn, stop and resume, and report errors."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from m3rag import M3Model
from m3rag.errors import InputError, TrainingError, TruncationWarning
from m3rag.evaluation import RetrievalSet, evaluate
from m3rag.model import checkpoint as checkpoints
from m3rag.model.lookup import BUNDLED
from m3rag.training import Task, train
from m3rag.training.state import State
from tests.training.conftest import HELD_OUT, write

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")


def losses(folder):
    with (folder / "training" / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def weights(folder):
    return dict(checkpoints.read(folder).tensors())


def assert_similar(one, other, atol=2e-3):
    """Check almost equal weights; Adam's first steps turn rounding noise into full steps."""
    others = weights(other)
    for name, tensor in weights(one).items():
        difference = (tensor.float() - others[name].float()).abs().mean()
        assert difference < atol * 0.02, name


@pytest.fixture(scope="module")
def plain(pairs, quick, tmp_path_factory):
    """A run of four steps to compare others to."""
    to = tmp_path_factory.mktemp("plain") / "m3"
    train(pairs, to, model="tiny", settings=quick())
    return to


@pytest.fixture(scope="module")
def trained(pairs, quick, tmp_path_factory):
    """A longer run: (folder, its progress)."""
    to = tmp_path_factory.mktemp("trained") / "m3"
    settings = quick(max_steps=12, batch=16, max_passage_length=64, learning_rate=1e-3, freeze=())
    return to, train(pairs, to, model="tiny", settings=settings, evaluation=HELD_OUT)


def test_it_learns(trained, tiny):
    folder, progress = trained
    found = losses(folder)
    assert np.mean(found[-4:]) < 0.6 * np.mean(found[:4])
    before = evaluate(tiny, RetrievalSet.read(HELD_OUT), channels=("dense", "sparse", "colbert"))
    for channel in (
        "dense",
        "colbert",
        "default",
    ):  # sparse has a tenth of the weight and learns later
        assert progress.scores[f"{channel} ndcg@10"] > before.channels[channel]["ndcg@10"]


def test_the_saved_model_has_the_evaluated_scores(trained):
    folder, progress = trained
    with M3Model.load(folder) as model:
        channels = ("dense", "sparse", "colbert")
        report = evaluate(model, RetrievalSet.read(HELD_OUT), channels=channels)
    for name, value in progress.scores.items():
        channel, metric = name.split()
        assert report.channels[channel][metric] == pytest.approx(value), name
    rows = (folder / "training" / "scores.csv").read_text().splitlines()
    assert len(rows) == 2
    assert rows[0].startswith("step,dense ndcg@10,")


def test_flagembedding_loads_it_and_computes_the_same(trained):
    folder, _ = trained
    text = ["How many points did the Panthers defense surrender?"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding import BGEM3FlagModel

        model = BGEM3FlagModel(str(folder), use_fp16=False, devices="cpu")
        theirs = model.encode(text, return_dense=True, return_sparse=True, return_colbert_vecs=True)
    with M3Model.load(folder, dtype="float32") as model:
        ours = model.encode(text)
    np.testing.assert_allclose(ours.dense, theirs["dense_vecs"], atol=1e-5)
    np.testing.assert_allclose(ours.colbert[0], theirs["colbert_vecs"][0], atol=1e-5)
    sparse = {int(token): float(weight) for token, weight in theirs["lexical_weights"][0].items()}
    assert ours.sparse[0] == pytest.approx(sparse, abs=1e-5)


def test_the_same_seed_gives_the_same_numbers(pairs, quick, plain, tmp_path):
    train(pairs, tmp_path / "a", model="tiny", settings=quick())
    assert losses(tmp_path / "a") == losses(plain)
    train(pairs, tmp_path / "b", model="tiny", settings=quick(seed=1))
    assert losses(tmp_path / "b") != losses(plain)


@pytest.mark.parametrize("changes", [{"token_budget": 200}, {"gradient_checkpointing": True}])
def test_less_memory_gives_the_same(changes, pairs, quick, plain, tmp_path):
    train(pairs, tmp_path / "m3", model="tiny", settings=quick(**changes))
    np.testing.assert_allclose(losses(tmp_path / "m3"), losses(plain), rtol=1e-3)
    assert_similar(tmp_path / "m3", plain)


def test_without_the_cache_a_step_is_split(pairs, quick, plain, tmp_path):
    settings = quick(token_budget=100, gradient_cache=False)
    train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    found = losses(tmp_path / "m3")
    assert len(found) == 4
    assert found[0] < losses(plain)[0]  # fewer negatives are easier


def test_frozen_weights_do_not_change(plain):
    before, after = weights(BUNDLED["tiny"]), weights(plain)
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert {n for n in unchanged if "word" in n or "position" in n} == {
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
    }
    assert not torch.equal(before["sparse_linear.weight"], after["sparse_linear.weight"])
    saved = load_file(plain / "training" / "state.safetensors")
    assert not any("word_embeddings" in name for name in saved)


def test_negatives_and_a_teacher(rows, quick, tmp_path):
    wrong = [row["pos"][0] for row in rows]
    scored = [
        {
            "query": row["query"],
            "pos": row["pos"][:1],
            "neg": [text for text in wrong[i + 9 : i + 14] if text not in row["pos"]],
        }
        for i, row in enumerate(rows[:24])
    ]
    for row in scored:
        row |= {"pos_scores": [9.0], "neg_scores": [float(i) for i in range(len(row["neg"]))]}
    data = write(tmp_path / "scored.jsonl", scored)
    for teacher in ("kl_div", "m3_kd_loss"):
        settings = quick(teacher=teacher, group_size=3, max_steps=2)
        assert train(data, tmp_path / teacher, model="tiny", settings=settings).step == 2
    settings = quick(teacher="kl_div", group_size=7)
    with pytest.raises(InputError, match=r"needs 7 scored passages .* example \d+ has \d"):
        train(data, tmp_path / "m3", model="tiny", settings=settings)


def start(pairs, to):
    """Start `m3rag train` with the settings of `test_killed_and_stopped_runs_resume_unchanged`."""
    options = ["--max-steps", "10", "--epochs", "100", "--batch", "6", "--save-every", "3"]
    options += ["--max-query-length", "24", "--max-passage-length", "48"]
    options += ["--learning-rate", "3e-4", "--model", "tiny", "--dtype", "float32"]
    options += ["--freeze", "embeddings", "--freeze", "positions"]
    line = [sys.executable, "-m", "m3rag", "train", "--data", str(pairs), "--to", str(to), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(run, to, steps):
    log = to / "training" / "log.csv"
    while run.poll() is None and not (log.exists() and log.read_text().count("\n") > steps):
        time.sleep(0.01)


@pytest.mark.timeout(300)
def test_killed_and_stopped_runs_resume_unchanged(pairs, quick, tmp_path):
    to, whole = tmp_path / "killed", tmp_path / "whole"
    settings = quick(max_steps=10, batch=6, save_every=3)
    run = start(pairs, to)
    train(pairs, whole, model="tiny", settings=settings)
    wait_for(run, to, 4)
    run.kill()
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert 4 <= len(losses(to)) < 10
    assert not (to / "config.json").exists()

    steps = []

    def stop(report):
        steps.append(report.progress.step)
        if report.progress.step == 8:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(pairs, to, model="tiny", settings=settings, on_step=stop)
    assert steps[0] in (4, 7)  # after the last save before the kill
    assert steps[-1] == len(losses(to)) == 8
    checkpoints.read(to)  # the model so far

    done = train(pairs, to, model="tiny", settings=settings)
    assert done.step == len(losses(to)) == 10
    np.testing.assert_allclose(losses(to), losses(whole), rtol=1e-4)
    assert_similar(to, whole)


def test_a_finished_run_is_not_run_again(pairs, quick, plain):
    before = (plain / "training" / "log.csv").stat()
    progress = train(pairs, plain, model="tiny", settings=quick(save_every=7))
    assert (progress.step, progress.finished) == (4, True)
    assert (plain / "training" / "log.csv").stat() == before


def test_another_run_is_rejected(rows, pairs, quick, plain, tmp_path):
    def rejected(message, data=pairs, **changes):
        with pytest.raises(TrainingError, match=message):
            train(data, plain, model="tiny", settings=quick(**changes))

    rejected(
        "holds another run: batch was 8 and is 9; temperature was 0.02 and is 0.1",
        batch=9,
        temperature=0.1,
    )
    rejected("data was .* and is", data=write(tmp_path / "other.jsonl", rows[1:]))
    with pytest.raises(TrainingError, match=r"model was .* and is"):
        train(pairs, plain, model=plain, settings=quick())


def test_folders_without_a_run(pairs, quick, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainingError, match="is not empty and holds no run"):
        train(pairs, tmp_path, model="tiny", settings=quick())
    (tmp_path / "m3" / "training").mkdir(parents=True)
    (tmp_path / "m3" / "training" / "state.safetensors").write_bytes(b"\x08")
    with pytest.raises(TrainingError, match="is not a saved training run"):
        train(pairs, tmp_path / "m3", model="tiny", settings=quick())


def test_divergence_is_an_error_and_the_last_good_model_is_kept(pairs, quick, tmp_path):
    settings = quick(learning_rate=1e30, clip=1e30, warm_up=0.0, schedule="constant")
    with pytest.raises(TrainingError, match=r"diverged at step 2: the loss is nan.*below 1e\+30"):
        train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    assert State(tmp_path / "m3" / "training", {}).progress().step == 1


def test_settings_that_cannot_be_trained(pairs, quick, tmp_path):
    with pytest.raises(InputError, match="No passage would be a negative"):
        train(pairs, tmp_path / "m3", model="tiny", settings=quick(batch=1, group_size=1))
    with pytest.raises(InputError, match=r"`max_passage_length` must be .* 8,192 .* got 9,000"):
        train(pairs, tmp_path / "m3", model="tiny", settings=quick(max_passage_length=9000))


def test_cut_texts_are_reported_once(pairs, quick, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = quick(max_steps=2, max_query_length=9)
        progress = train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    [message] = [str(w.message) for w in caught if w.category is TruncationWarning]
    assert "In step 1, " in message
    assert "queries were cut to 9 tokens" in message
    assert progress.truncated > 16


def random_score(folder, rows):
    """Return the mean dense score of two different texts."""
    with M3Model.load(folder, dtype="float32") as model:
        dense = model.encode([row["query"] for row in rows]).dense
    return ((dense @ dense.T).sum() - len(rows)) / (len(rows) * (len(rows) - 1))


def test_the_dense_vectors_can_be_centred(rows, pairs, quick, tmp_path):
    start = checkpoints.read(BUNDLED["tiny"])
    name = max(name for name in start.encoder if name.endswith(".output.LayerNorm.bias"))
    bias = start.encoder[name].float() + 1.5  # all vectors now point in one direction
    narrow = replace(start, encoder={**start.encoder, name: bias})
    checkpoints.write(narrow, tmp_path / "narrow")
    assert random_score(tmp_path / "narrow", rows) > 0.6
    scores = []
    for weight in (0.0, 10.0):
        settings = quick(centre_weight=weight, learning_rate=3e-3)
        to = tmp_path / f"{weight}"
        progress = train(pairs, to, model=tmp_path / "narrow", settings=settings)
        assert ("centre" in progress.losses) == bool(weight)
        scores.append(random_score(to, rows))
    assert scores[1] < scores[0] - 0.1


def test_heads_can_have_a_rate_of_their_own(pairs, quick, plain, tmp_path):
    settings = quick(head_learning_rate=3e-2)
    train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    start, ours, theirs = (weights(folder) for folder in (BUNDLED["tiny"], tmp_path / "m3", plain))

    def moved(now, name):
        return (now[name].float() - start[name].float()).abs().mean().item()

    assert moved(ours, "sparse_linear.weight") > 20 * moved(theirs, "sparse_linear.weight")
    layer = "encoder.layer.0.output.dense.weight"
    assert moved(ours, layer) == pytest.approx(moved(theirs, layer), rel=0.3)


def test_a_mix_of_tasks_resumes_unchanged(rows, quick, tmp_path):
    words = [{"t": {"en": row["query"], "xx": row["pos"][0]}} for row in rows]
    tasks = [
        Task(write(tmp_path / "pairs.jsonl", rows), share=2, batch=4, same_source=0.5),
        Task(
            write(tmp_path / "words.jsonl", words), batch=6, symmetric=True, same_language=1.0,
            teacher_vectors_weight=0.0, sparse_weight=0.5,
        ),
    ]  # fmt: skip
    settings = quick(max_steps=9, save_every=4)
    whole = train(tasks, tmp_path / "whole", model="tiny", settings=settings)

    names = []

    def stop(report):
        names.append(report.task)
        if report.progress.step == 6:
            signal.raise_signal(signal.SIGINT)

    to = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(tasks, to, model="tiny", settings=settings, on_step=stop)
    assert set(names) == {"pairs", "words"}
    done = train(tasks, to, model="tiny", settings=settings)
    assert (done.step, done.queries) == (9, whole.queries)
    np.testing.assert_allclose(losses(to), losses(tmp_path / "whole"), rtol=1e-4)
    with (to / "training" / "log.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["task"] for row in table][:6] == names
    assert all(float(row["distillation"]) > 0 for row in table)
    changed = [replace(tasks[0], share=1), tasks[1]]
    with pytest.raises(TrainingError, match=r"tasks was \[.*'share': 2"):
        train(changed, to, model="tiny", settings=settings)
    long = [tasks[0], replace(tasks[1], max_passage_length=9000)]
    with pytest.raises(InputError, match=r"The task 'words': `max_passage_length` must be at most"):
        train(long, tmp_path / "long", model="tiny", settings=settings)


def test_the_average_of_the_weights_is_written_and_resumes(pairs, quick, plain, tmp_path):
    settings = quick(average=0.9)

    def stop(report):
        if report.progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(pairs, tmp_path / "m3", model="tiny", settings=settings, on_step=stop)
    train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    np.testing.assert_allclose(losses(tmp_path / "m3"), losses(plain), rtol=1e-4)
    name = "encoder.layer.0.output.dense.bias"
    state = load_file(tmp_path / "m3" / "training" / "state.safetensors")
    theirs = load_file(plain / "training" / "state.safetensors")
    last = f"model.encoder.{name}"
    torch.testing.assert_close(state[last], theirs[last], atol=1e-5, rtol=0)
    written, average = weights(tmp_path / "m3")[name], state[f"average.encoder.{name}"]
    torch.testing.assert_close(written.float(), average, atol=1e-3, rtol=1e-3)
    assert (average - state[last]).abs().max() > 1e-5


def test_lower_layers_can_be_frozen(pairs, quick, tmp_path):
    settings = quick(freeze_layers=1, max_steps=1, learning_rate=1e-2, warm_up=0.0)
    train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    before, after = weights(BUNDLED["tiny"]), weights(tmp_path / "m3")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder.layer.1.") for name in changed)
    assert not any(name.startswith("encoder.layer.0.") for name in changed)
    with pytest.raises(InputError, match="`freeze_layers` must be at most 2 for this model, got 3"):
        train(pairs, tmp_path / "other", model="tiny", settings=quick(freeze_layers=3))


def test_a_state_without_the_newer_settings_resumes(pairs, quick, plain, tmp_path):
    def older(change):
        to = tmp_path / "older" / "training"
        to.mkdir(parents=True, exist_ok=True)
        with safe_open(plain / "training" / "state.safetensors", "pt") as file:
            about = json.loads(file.metadata()["m3rag"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about["identity"] |= change
        for name in ("tasks", "teacher_vectors", "centre_weight", "same_language"):
            del about["identity"][name]
        save_file(tensors, to / "state.safetensors", metadata={"m3rag": json.dumps(about)})
        return to.parent

    done = train(pairs, older({}), model="tiny", settings=quick())
    assert (done.step, done.finished) == (4, True)
    with pytest.raises(TrainingError, match=r"centre_weight was 0\.0 and is 1\.0"):
        train(pairs, older({}), model="tiny", settings=quick(centre_weight=1.0))


def test_the_log_has_a_column_for_self_distillation_that_starts_later(pairs, quick, tmp_path):
    train(pairs, tmp_path / "m3", model="tiny", settings=quick(max_steps=2, distil_from=1))
    with (tmp_path / "m3" / "training" / "log.csv").open() as file:
        first, second = csv.DictReader(file)
    assert first["distillation"] == ""
    assert float(second["distillation"]) > 0


def test_an_error_in_the_thread_of_the_data_is_raised(pairs, quick, tmp_path):
    class Broken:
        def queries(self, texts, /):
            return np.full((len(texts), 3), np.inf)

        passages = queries

    with pytest.raises(InputError, match="a vector with NaN or infinity"):
        train(pairs, tmp_path / "m3", model="tiny", settings=quick(), teacher_vectors=Broken())


def test_minutes_end_a_run(pairs, quick, tmp_path):
    settings = quick(max_steps=None, minutes=0.003)
    progress = train(pairs, tmp_path / "m3", model="tiny", settings=settings)
    assert progress.finished
    assert progress.seconds >= 0.18
    assert progress.step < 100


def test_a_run_of_minutes_resumes_with_the_rest_of_its_time(pairs, quick, tmp_path):
    settings = quick(max_steps=None, minutes=0.01, warm_up=0.0)
    shares = []

    def stop(report):
        shares.append(report.done)
        if report.done > 0.4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(pairs, tmp_path / "m3", model="tiny", settings=settings, on_step=stop)
    progress = train(
        pairs, tmp_path / "m3", model="tiny", settings=settings,
        on_step=lambda report: shares.append(report.done),
    )  # fmt: skip
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert progress.finished
    assert 0.6 <= progress.seconds < 1.2
    with (tmp_path / "m3" / "training" / "log.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 2 * rates[-1]
