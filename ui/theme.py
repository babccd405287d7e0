"""Colours and type of the page, from fonts that every machine has."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, sizes


def build_theme() -> gr.themes.Base:
    """A quiet theme, light and dark."""
    return gr.themes.Base(
        primary_hue=colors.teal,
        secondary_hue=colors.slate,
        neutral_hue=colors.slate,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        block_border_width="1px",
        block_shadow="none",
        button_primary_background_fill="*primary_700",  # white on 600 is 3.7 : 1, and 4.5 is needed
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
    )
