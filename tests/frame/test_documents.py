"""What documents show of the program is what it does now."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["README.md", "docs/operations/adopting.md"])
def test_a_document_shows_the_revision_that_this_version_needs(name: str) -> None:
    revisions = ROOT / "src/moorage/store/migrations/versions"
    newest = max(file.name[:4] for file in revisions.glob("[0-9]*.py"))
    shown = re.findall(r"revision .*: (\d{4})$", (ROOT / name).read_text(), re.MULTILINE)
    assert set(shown) == {newest}
