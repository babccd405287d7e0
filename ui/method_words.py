"""What the pages call the methods and say of them."""

from __future__ import annotations

from trainer.recipe.choices import Method

METHOD_WORDS = {
    Method.textual_inversion.value: "textual inversion",
    Method.dreambooth_lora.value: "DreamBooth adapter",
    Method.dreambooth.value: "DreamBooth full model",
}


def method_words(method: str) -> str:
    """What a job's method is called; one that came from elsewhere may have none."""
    return METHOD_WORDS.get(method, "imported")


# in one glance, the default first
METHOD_GLANCES: dict[Method, dict[str, str]] = {
    Method.dreambooth_lora: {
        "name": "DreamBooth adapter",
        "learns": "small additions to the model",
        "use": "The usual choice; several combine.",
    },
    Method.dreambooth: {
        "name": "DreamBooth full model",
        "learns": "the whole model anew",
        "use": "The most faithful likeness.",
    },
    Method.textual_inversion: {
        "name": "Textual inversion",
        "learns": "a few new words",
        "use": "Smallest; good for styles, many combine.",
    },
}

METHOD_IN_A_WORD = {
    Method.textual_inversion.value: "textual inversion",
    Method.dreambooth_lora.value: "adapter",
    Method.dreambooth.value: "full model",
}
