"""What is installed for development and release: locked, hash-checked, and of known licences."""

import base64
import hashlib
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts import install, licences, lock, locked
from scripts.locked import FILES, LockError, Pin, canonical, constraints, parse, read

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED = {name: pin for which in FILES for name, pin in read(which).items()}
A, B = "a" * 64, "b" * 64


def requirements(apart=False):
    """Yield (group, requirement) for everything that pyproject.toml asks for."""
    extras = licences.extras()
    if not apart:
        del extras[lock.APART]
    groups = {**extras, **PROJECT["dependency-groups"]}
    for group, lines in groups.items():
        for line in lines:
            if isinstance(line, str):
                yield group, Requirement(line)


# The lock files.


def test_the_locks_cover_every_pin_and_nothing_else():
    assert {str(pin) for pin in constraints().values()} == {str(pin) for pin in LOCKED.values()}


def test_every_locked_version_has_hashes():
    assert [str(pin) for pin in LOCKED.values() if not pin.hashes] == []
    for which in FILES:  # and no other kind of hash
        text = (locked.LOCKS / f"{which}.txt").read_text(encoding="utf-8")
        count = sum(len(pin.hashes) for pin in read(which).values())
        assert text.count("--hash=") == text.count("--hash=sha256:") == count


def test_a_package_has_one_version_in_all_locks():
    for which in FILES:
        assert [
            pin for name, pin in read(which).items() if pin.version != LOCKED[name].version
        ] == []


def test_the_locked_versions_fit_pyproject():
    for group, requirement in requirements():
        name = canonical(requirement.name)
        if name in locked.OWN:
            continue
        assert name in LOCKED, f"{group}: {name} is not locked; run `make lock`."
        assert LOCKED[name].version in requirement.specifier, f"{group}: {requirement}"


def test_the_build_backend_is_locked():
    names = {canonical(Requirement(line).name) for line in PROJECT["build-system"]["requires"]}
    assert names <= read("dev").keys()


def test_the_locks_name_no_index_and_no_folder():
    for path in locked.LOCKS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*-(?!-hash)|://|file:|@ ", text, re.MULTILINE), path.name


def test_torch_may_be_the_index_build_or_the_build_without_cuda():
    builds = lock.listed_hashes(
        locked.TORCH_CPU.read_text(encoding="utf-8"), read("torch")["torch"].version
    )
    assert len(builds) >= 8  # four Pythons, x86-64 and ARM
    assert builds < read("torch")["torch"].hashes


def test_cuda_is_locked_apart():
    for which in ("pip", "torch", "runtime", "dev", "audit"):
        assert not [name for name in read(which) if lock.CUDA.match(name)]
    assert all("linux" in pin.marker for pin in read("cuda").values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch>=2\n", "does not pin"),
        ("-r other.txt\n", "does not pin"),
        ("torch @ https://example.org/torch.whl\n", "does not pin"),
        ("torch==2\nTorch==2\n", "pinned twice"),
    ],
)
def test_a_lock_file_has_nothing_but_pins(text, message):
    with pytest.raises(LockError, match=message):
        parse(text)


def test_a_pin_is_read_with_its_marker_and_hashes():
    pin = "My_Pkg==1.0 ; sys_platform == 'win32'"
    text = f"# made\n{pin} \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
    assert parse(text) == {
        "my-pkg": Pin("my-pkg", "1.0", "sys_platform == 'win32'", frozenset({A, B}))
    }
    assert parse(f"a==1 --hash=sha256:{A}")["a"] == Pin("a", "1", "", frozenset({A}))


def test_a_file_that_changes_on_the_index_is_noticed():
    lock.compare(Pin("a", "1", "", frozenset({A})), Pin("a", "1", "", frozenset({A, B})))
    lock.compare(Pin("a", "1", "", frozenset({A})), Pin("a", "2", "", frozenset({B})))
    with pytest.raises(LockError, match="no longer has 1 of the 2 files of a==1"):
        lock.compare(Pin("a", "1", "", frozenset({A, B})), Pin("a", "1", "", frozenset({A})))


def test_the_builds_without_cuda_are_read_from_the_page_of_the_index():
    page = "".join(
        f'<a href="/whl/cpu/torch-{name}.whl#sha256={digest}" data-x="1">torch</a><br/>\n'
        for name, digest in (
            ("2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64", A),
            ("2.13.0%2Bcpu-cp311-cp311-win_amd64", B),
            ("2.13.0-cp311-none-macosx_11_0_arm64", B),
            ("2.13.1%2Bcpu-cp311-cp311-manylinux_2_28_x86_64", B),
        )
    )
    listing = lock.linked_builds(page, "2.13.0")
    assert listing == f"{A}  torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl\n"
    assert lock.listed_hashes(listing, "2.13.0") == {A}
    assert lock.listed_hashes(listing, "2.13") == set()


# Installing.


def wheel(folder, version):
    """Write a wheel of a package "torch" that contains nothing, and return its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"torch-{version}-py3-none-any.whl"
    info = f"torch-{version}.dist-info"
    parts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            record += f"{name},sha256={digest.decode()},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine with find-links, an index and a lock of torch."""
    pytest.importorskip("pip")

    def make(local, index, hashes):
        links, page = tmp_path / "links", tmp_path / "simple" / "torch"
        found = {f"local {local}": wheel(links, local), f"index {index}": wheel(page, index)}
        name = f"torch-{index}-py3-none-any.whl"
        link = f'<a href="{name}#sha256={found[f"index {index}"]}">{name}</a>'
        (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
        lines = [f"--hash=sha256:{found.get(which, which)}" for which in hashes]
        locks = tmp_path / "requirements"
        locks.mkdir()
        (locks / "torch.txt").write_text(" \\\n    ".join(["torch==2.13.0", *lines]) + "\n")
        (locks / "cuda.txt").write_text("# nothing\n")
        monkeypatch.setattr(install, "LOCKS", locks)
        monkeypatch.setattr(locked, "LOCKS", locks)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("PIP_FIND_LINKS", str(links))
        monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
        monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
        monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        return lambda: sorted(p.name for p in tmp_path.glob("target/*.dist-info"))

    return make


def test_a_local_torch_without_cuda_comes_before_that_of_the_index(machine):
    installed = machine("2.13.0+cpu", "2.13.0", ["local 2.13.0+cpu", "index 2.13.0"])
    install.install_torch(None)
    assert installed() == ["torch-2.13.0+cpu.dist-info"]


def test_a_local_torch_of_unknown_content_is_not_installed(machine, capfd):
    installed = machine("2.13.0+cpu", "2.13.0", [A, "index 2.13.0"])
    install.install_torch(None)
    assert installed() == ["torch-2.13.0.dist-info"]
    assert "none of the builds" in capfd.readouterr().err


def test_a_torch_of_unknown_content_is_not_installed_at_all(machine):
    installed = machine("2.13.0+cpu", "2.13.0", [A])
    with pytest.raises(subprocess.CalledProcessError):
        install.install_torch(None)
    assert installed() == []


def test_torch_comes_from_the_index_that_is_named(machine, tmp_path):
    installed = machine("2.12.0", "2.13.0", ["index 2.13.0"])
    install.install_torch((tmp_path / "simple").as_uri())
    assert installed() == ["torch-2.13.0.dist-info"]


def test_nothing_is_built_from_source_by_surprise():
    names = install.wheels("runtime", "dev")[1].split(",")
    assert set(names) | install.BUILT == {*read("runtime"), *read("dev")}
    assert LOCKED.keys() >= install.BUILT


def test_make_installs_only_what_is_checked():
    assert "pip install" not in (ROOT / "Makefile").read_text(encoding="utf-8")


# The workflows.

WORKFLOWS = sorted((ROOT / ".github").rglob("*.yml")) if (ROOT / ".github").is_dir() else []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    for used in re.findall(r"uses: (.+)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"\./\S+|[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", used), used


@pytest.mark.parametrize(
    "path",
    [path for path in WORKFLOWS if path.parent.name == "workflows"],
    ids=lambda path: path.stem,
)
def test_workflows_may_read_and_nothing_else_by_default(path):
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions:(?: \{\}|\n  contents: read)$", text, re.MULTILINE)
    assert "pull_request_target" not in text
    assert text.count("uses: actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_install_with_hashes(path):
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.search(r"(?<!uv )pip install", line):
            assert "--require-hashes" in line, line
