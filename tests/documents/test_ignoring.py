"""Patterns that exclude entries of a folder: they mean what they mean to git."""

import os
import random
import shutil
import subprocess

import pytest

from m3rag.documents import scan
from m3rag.documents.ignoring import IGNORE_FILE
from m3rag.errors import DocumentError, InputError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such entries")
NAMES = ("a", "b", "foo", "x.md", "k.md", "y.txt", "é.md", "a b")
PARTS = (
    "a",
    "b",
    "foo",
    "*.md",
    "*",
    "**",
    "y.txt",
    "?",
    "x*",
    "*a*d",
    "*[ak]*.*",
    "[ab]",
    "[!a]*",
    r"a\ b",
    "*o*",
)


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes files, each with its own name as text."""

    def tree(*names, **patterns):
        root = tmp_path / "handbook"
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        for place, lines in patterns.items():
            folder = root if place == "top" else root / place
            (folder / IGNORE_FILE).write_text(lines)
        return root

    return tree


def test_what_nobody_searches_is_left_out_and_can_be_included(tree):
    root = tree(
        "a.md",
        ".git/config.txt",
        ".hidden.md",
        "node_modules/lib/readme.md",
        "sub/__pycache__/a.txt",
        "sub/~$report.docx",
        "env/pyvenv.cfg",
        "env/lib/licence.txt",
        "Thumbs.db",
        "desktop.ini",
    )
    found = scan(root)
    assert [*found.files] == ["a.md"]
    assert found.excluded == {
        ".git/": ".* (default)",
        ".hidden.md": ".* (default)",
        "Thumbs.db": "[Tt]humbs.db (default)",
        "desktop.ini": "[Dd]esktop.ini (default)",
        "env/": "pyvenv.cfg (default)",
        "node_modules/": "node_modules/ (default)",
        "sub/__pycache__/": "__pycache__/ (default)",
        "sub/~$report.docx": "~$* (default)",
    }
    found = scan(root, exclude=["!node_modules", "!.hidden.md", "!env"])
    included = [".hidden.md", "env/lib/licence.txt", "node_modules/lib/readme.md"]
    assert [*found.files] == sorted(["a.md", *included])


def test_files_of_patterns_apply_in_their_folders_and_exclude_decides_first(tree):
    root = tree(
        "a.md",
        "drafts/b.md",
        "sub/a.md",
        "sub/keep.txt",
        "sub/log.txt",
        "sub/deep/a.md",
        top="# Comment\n\ndrafts/\n*.txt\r\n",
        sub="\ufeff!keep.txt\n/a.md\n",
    )
    found = scan(root)
    assert [*found.files] == ["a.md", "sub/deep/a.md", "sub/keep.txt"]
    assert found.excluded == {
        "drafts/": "drafts/ (.m3ragignore, line 3)",
        "sub/a.md": "/a.md (sub/.m3ragignore, line 2)",
        "sub/log.txt": "*.txt (.m3ragignore, line 4)",
    }
    found = scan(root, exclude=["a.md", "!drafts", "*.txt", "!log.txt"])
    assert [*found.files] == ["drafts/b.md", "sub/log.txt"]
    assert found.excluded["a.md"] == "a.md (exclude)"


def test_files_of_other_kinds_are_counted(tree):
    root = tree("a.md", "b.PSD", "sub/c.psd", "d.mp4", "Makefile", "x/e.psd")
    os.symlink("d.mp4", root / "link.mp4")
    os.mkfifo(root / "pipe")
    found = scan(root, exclude=["x"])
    assert found.other == {".psd": 2, ".mp4": 2, "": 1}
    assert not found.skipped


@pytest.mark.parametrize(
    "line", ["!", "/", "[", "[[:alpha:]].md", "[z-a]", "[a--b]", "a\\", "#x", "", " "]
)
def test_what_is_no_pattern_is_refused(tree, line):
    with pytest.raises(InputError, match=r"exclude: .* is no pattern\. Use one such as \*\.log"):
        scan(tree("a.md"), exclude=["*.log", line])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("line", ["*a*a*a*a*a*a*b", "*[ab]*a?*[ab]*[!b]*a*b", "**/a*/**/b*/**/c"])
def test_no_pattern_takes_forever(tree, line):
    root = tree("a" * 240 + ".md", "/".join(["a" * 200] * 10) + "/a.md")
    assert len(scan(root, exclude=[line]).files) == 2
    with pytest.raises(InputError, match='at most 3 "\\*\\*"'):
        scan(root, exclude=["**/a/**/b/**/c/**"])


@pytest.mark.parametrize("exclude", ["*.log", [1], [None]])
def test_exclude_is_a_list_of_patterns(tree, exclude):
    with pytest.raises(InputError, match="must be a list of patterns"):
        scan(tree("a.md"), exclude=exclude)


def test_a_folder_whose_patterns_cannot_be_used_is_not_read(tree):
    root = tree("a.md", "sub/b.md", "c/d.md", sub="ok\n\n[z-a]\n")
    (root / "c" / IGNORE_FILE).write_bytes(b"\xff\xfe\xff")
    found = scan(root)
    assert [*found.files] == ["a.md"]
    assert "sub/.m3ragignore, line 3: '[z-a]' is no pattern" in found.failed["sub/"]
    assert "c/.m3ragignore is not UTF-8: byte 0" in found.failed["c/"]
    (root / IGNORE_FILE).symlink_to("/etc/passwd")
    with pytest.raises(DocumentError, match="is a link"):
        scan(root)
    (root / IGNORE_FILE).unlink()
    (root / IGNORE_FILE).write_text("*\n" * 10_001)
    with pytest.raises(DocumentError, match="10,001 patterns"):
        scan(root)


def test_patterns_also_hold_for_followed_links(tree, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("Ferns")
    root = tree("a.md")
    (root / "drafts").symlink_to("../other")
    assert [*scan(root, follow_links=True).files] == ["a.md", "drafts/a.md"]
    found = scan(root, follow_links=True, exclude=["drafts/"])
    assert [*found.files] == ["a.md"]
    assert found.excluded == {"drafts/": "drafts/ (exclude)"}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("seed", range(12))
def test_patterns_mean_what_they_mean_to_git(tmp_path, seed):
    rng = random.Random(seed)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    def pattern():
        text = "/".join(rng.choice(PARTS) for _ in range(rng.choice([1, 1, 1, 2, 2, 3])))
        marks = rng.choice(["", "", "!"]), rng.choice(["", "", "/"]), rng.choice(["", "", "/"])
        return f"{marks[0]}{marks[1]}{text}{marks[2]}"

    def fill(folder, depth):
        for name in rng.sample(NAMES, rng.randint(2, 5)):
            if "." in name or depth == 3:
                (folder / f"{name}.md").write_text("x")
            else:
                (folder / name).mkdir()
                fill(folder / name, depth + 1)
        if rng.random() < (0.3 if depth else 1):
            lines = "\n".join(pattern() for _ in range(rng.randint(1, 4)))
            for name in (".gitignore", IGNORE_FILE):
                (folder / name).write_text(f"{lines}\n")

    fill(tmp_path, 0)
    command = ["git", "-C", tmp_path, "ls-files", "-z", "--others", "--exclude=.*"]
    listed = subprocess.run(
        [*command, "--exclude-per-directory=.gitignore"], capture_output=True, check=True
    )
    expected = {name for name in listed.stdout.decode().split("\0") if name.endswith(".md")}
    assert set(scan(tmp_path).files) == {name for name in expected if "/." not in f"/{name}"}
