"""Builds the parts of the metadata that name the repository: the project's URLs, and a README whose
relative links become absolute, since PyPI shows it without the files beside it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK: Final = re.compile(r"(!?)\[([^]]*)\]\((?!https?:|mailto:|#)([^)]+)\)")
COMMENT: Final = re.compile(r"<!--.*?-->\n", re.DOTALL)


class CustomMetadataHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        repository = self.config["repository"]
        readme = (Path(self.root) / "README.md").read_text()
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": COMMENT.sub("", with_absolute_links(readme, repository)),
        }
        metadata["urls"] = {
            "Repository": repository,
            "Issues": f"{repository}/issues",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        }


def with_absolute_links(markdown: str, repository: str) -> str:
    """Return the text with each relative link as an absolute one; images point at raw files."""

    def absolute(match: re.Match[str]) -> str:
        image, text, path = match.groups()
        return f"{image}[{text}]({repository}/{'raw' if image else 'blob'}/main/{path})"

    return LINK.sub(absolute, markdown)
