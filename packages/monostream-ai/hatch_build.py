"""Builds the metadata of monostream-ai from that of monostream-ai-slim: one version, and the same
extras. The sdist has the result in its PKG-INFO, and needs no folder around it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.metadata.core import ProjectMetadata
from hatchling.metadata.plugin.interface import MetadataHookInterface
from hatchling.plugin.manager import PluginManager


class CustomMetadataHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        project = ProjectMetadata(str(Path(self.root).parents[1]), PluginManager())
        slim = project.core
        metadata |= {
            "authors": slim.config["authors"],
            "classifiers": slim.classifiers,
            "description": slim.description,
            "keywords": slim.keywords,
            "readme": slim.config["readme"],
            "requires-python": slim.requires_python,
            "urls": slim.urls,
            "version": project.version,
            "dependencies": [f"{slim.name}[{','.join(self.config['brings'])}]=={project.version}"],
            "optional-dependencies": {
                extra: [f"{slim.name}[{extra}]=={project.version}"]
                for extra in slim.optional_dependencies
            },
        }
