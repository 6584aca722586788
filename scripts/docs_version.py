"""MkDocs hooks: the version in the header, the changelog as a page, no requests to GitHub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import m3rag

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show the version beside the repository's name, in the header of every page."""
    config.repo_name = f"{config.repo_name} {m3rag.__version__}"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add CHANGELOG.md to the pages; its links are relative to the repository's root."""
    text = CHANGELOG.read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_post_page(output: str, **_: Any) -> str:
    """Unhook Material's script that asks the GitHub API for stars and releases on every visit."""
    return output.replace(' data-md-component="source"', "")


on_post_template = on_post_page  # 404.html
