"""Files that a client sends: gradio puts them into its folder of uploads and passes their places on, unchecked here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from trainer.errors import RequestError


def uploaded_files(sent: Sequence[Any]) -> list[Path]:
    """Where the files of a request lie. Raises RequestError for what was not uploaded, such as a path of this machine.

    gradio checks what comes from its own components; what comes to a plain endpoint may be any JSON.
    """
    return [_uploaded(each) for each in sent]


def _uploaded(sent: Any) -> Path:
    path = sent.get("path") if isinstance(sent, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    folder = Path(get_upload_folder()).resolve()
    if isinstance(path, str) and "\0" not in path:
        file = Path(path).resolve()
        if file.is_relative_to(folder) and file.is_file():
            return file
    raise RequestError("Send each file with gradio_client's handle_file(PATH).")
