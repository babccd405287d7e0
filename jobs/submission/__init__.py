"""From uploaded photos and a recipe to a queued job: what is looked at before, and what is refused."""
