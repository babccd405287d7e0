"""Uploads bring files and nothing else: gradio keeps the other fields of a form in memory, however large they are."""

from __future__ import annotations

from gradio import route_utils, routes
from starlette.formparsers import MultiPartException


class _FilesAlone(route_utils.GradioMultiPartParser):
    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("An upload holds files alone.")


def take_files_alone() -> None:
    """Let gradio's upload route refuse all else; neither its page nor its client sends more."""
    routes.GradioMultiPartParser = route_utils.GradioMultiPartParser = _FilesAlone
