"""The field for a picture to start from, and what is said of one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData

from trainer.errors import PhotoError, RequestError
from trainer.photos.decode import decode_photo


class StartPicture(gr.Image):
    """Its value is the file as it came: gradio would decode it before anybody could say what is wrong with it."""

    is_template = True  # the browser draws it as what it is made from

    def preprocess(self, payload: ImageData | None) -> str | None:
        return payload.path if payload else None


def check_start_picture(file: str) -> Path:
    """The file. Raises RequestError for what is no photo, or one that is damaged, too large or gone."""
    if not Path(file).is_file():  # the same file may have been sent to train on, and is removed when it was read
        raise RequestError("The picture to start from is not on this machine any more. Choose it again.")
    try:
        decode_photo(Path(file))
    except PhotoError as error:
        raise RequestError(f"The picture to start from {error}") from error
    return Path(file)
