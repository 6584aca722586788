"""Prints `printed/*.html` to PDF with Chromium and LibreOffice.

Run `python -m tests.documents.print_corpus`. The results are committed, so that no test needs
either program.
"""

import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "printed"


def with_chromium(page: Path, target: Path) -> None:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    outline = "--generate-pdf-document-outline"
    printed = [*options, outline, f"--print-to-pdf={target}", page.resolve().as_uri()]
    subprocess.run(["chromium", *printed], check=True, capture_output=True)


def with_libreoffice(page: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for source, form in ((page, "odt"), (Path(folder, f"{page.stem}.odt"), "pdf")):
            command = ["soffice", "--headless", "--convert-to", form, "--outdir", folder]
            subprocess.run([*command, str(source)], check=True, capture_output=True)
        target.write_bytes(Path(folder, f"{page.stem}.pdf").read_bytes())


def main() -> None:
    for page in sorted(FOLDER.glob("*.html")):
        with_chromium(page, FOLDER / f"{page.stem}-chromium.pdf")
        with_libreoffice(page, FOLDER / f"{page.stem}-libreoffice.pdf")


if __name__ == "__main__":
    main()
