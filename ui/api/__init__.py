"""The studio over HTTP, for gradio_client: the page's own photos, jobs and pictures under names that stay."""
