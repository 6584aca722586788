"""Models that installed packages offer by an entry point."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import safetensors.torch

from m3rag import M3Model, shared_model
from m3rag.errors import CheckpointError
from m3rag.model import ModelSpec
from m3rag.model.lookup import BUNDLED, EXTRAS, locate
from tests.trials.small_model import edit, write_small

PROJECT = tomllib.loads(
    (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
)
NEWER = {"model_type": "m3rag-packed", "m3rag": {"format": 2}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def install(site, weights):
    """Return a function that installs a package with a model, and returns the model's folder."""

    def make(dist="m3rag-mini", name="mini", package="minimodel", value=None):
        info = site / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[m3rag.models]\n{name} = {value or package}\n")
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("raise RuntimeError('it was imported')\n")
        return Path(shutil.copytree(weights, site / package / "model"))

    return make


def load_error(name, *matches):
    with pytest.raises(CheckpointError) as raised:
        M3Model.load(name)
    for match in matches:
        assert match in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_model_of_a_package_is_loaded_by_its_name(install, weights):
    folder = install()
    assert locate("mini") == folder
    with M3Model.load("mini") as model, M3Model.load(weights) as same:
        assert model.name == "mini"
        assert model.fingerprint == same.fingerprint
        assert model.spec.name == "mini"
    assert "minimodel" not in sys.modules
    assert shared_model("mini").fingerprint == model.fingerprint


def test_another_process_finds_the_same_package(install, site):
    install()
    with M3Model.load("mini", dtype="float32") as model:
        spec = bytes(ForkingPickler.dumps(model.spec))
    code = (
        "import pickle, sys; from m3rag.model.shared import model_of;"
        "print(model_of(pickle.loads(sys.stdin.buffer.read())).fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=spec,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.stdout.decode().split() == [model.fingerprint]
    assert ModelSpec("mini").fingerprint is None


def test_the_command_line_takes_the_name(install, m3rag):
    install()
    status, out, _ = m3rag("encode", "soil", "--model", "mini", "--json")
    assert status == 0
    assert len(json.loads(out)["dense"]) == 16


def test_a_package_in_a_package(install, site):
    parent = site / "acme"
    shutil.copytree(install(value="acme.minimodel").parent, parent / "minimodel")
    (parent / "__init__.py").write_text("")
    assert locate("mini") == parent / "minimodel" / "model"
    sys.modules.pop("acme")


def test_a_name_of_m3rags_own_that_is_not_installed(site, monkeypatch):
    monkeypatch.setitem(EXTRAS, "absent", "absent")
    load_error("absent", '"absent" is not installed', 'pip install "m3rag[absent]"')
    (site.parent / "absent").mkdir()
    load_error("absent", 'For the folder, pass "./absent".')


def test_every_extra_of_a_model_exists():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {name: extras[extra] for name, extra in EXTRAS.items()} == {
        "small": ["m3rag-small>=1,<2"]
    }
    assert "small" in extras["all"][0]


def test_a_name_that_nothing_has(site):
    load_error("mini", "There is no model folder 'mini'", '"small"')


def test_a_name_that_two_packages_claim(install):
    install()
    install("acme-mini", package="acme_mini")
    load_error("mini", "acme-mini and m3rag-mini both offer", "pip uninstall m3rag-mini")


def test_a_bundled_name_cannot_be_claimed(install):
    install(name="tiny")
    assert locate("tiny") == BUNDLED["tiny"]


def test_a_name_comes_before_a_folder(install, weights, tmp_path):
    folder = install()
    shutil.copytree(weights, tmp_path / "mini")  # in the working directory
    assert locate("mini") == folder
    for other in ("./mini", Path("mini"), tmp_path / "mini"):
        assert locate(other).resolve() == tmp_path / "mini"
    shutil.copytree(weights, tmp_path / "mine")
    assert locate("mine") == Path("mine")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package", "there is no such package"),
        ("no_such_parent.package", "it cannot be imported (ModuleNotFoundError"),
        ("this", "that is no package"),
        ("minimodel.model.config", "it cannot be imported (RuntimeError: it was imported)"),
        ("../minimodel", "that is not the name of a package"),
        ("/etc", "that is not the name of a package"),
        ("minimodel:model", "that is not the name of a package"),
        ("minimodel [extra]", "that is not the name of a package"),
    ],
)
def test_a_value_that_leads_to_no_model(install, value, message):
    install(value=value)
    load_error("mini", "package m3rag-mini", message, "pip install --force-reinstall m3rag-mini")


def test_a_package_without_a_folder(install):
    shutil.rmtree(install())
    load_error("mini", "has no folder model")


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_that_leads_out_of_the_package(install, tmp_path):
    folder = install()
    shutil.move(folder, tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    load_error("mini", "a link that leads out of it", "outside")


def test_a_package_for_a_newer_m3rag(install):
    folder = install()
    edit(folder / "config.json", lambda config: config | NEWER)
    load_error("mini", "packed in format 2", "Upgrade m3rag", str(folder))


def test_a_damaged_package(install):
    folder = install()
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["embeddings.LayerNorm.bias"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    load_error("mini", "embeddings.LayerNorm.bias is missing")
    (folder / "config.json").unlink()
    load_error("mini", str(folder), "has no config.json")


def test_damaged_metadata_of_any_package(install, site):
    install()
    info = site / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"[m3rag.models]\nno equals sign\n\xff\n")
    load_error("mini", "metadata of the installed packages cannot be read")
    with M3Model.load("tiny") as model:  # is found without it
        assert model.dim == 256
