# For a machine of your own, with or without a GPU; a Space needs only app.py. Torch comes from PyPI and brings its CUDA.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 studio \
    && install --directory --owner studio --group studio /home/studio/app /home/studio/data
USER studio
WORKDIR /home/studio/app

# The libraries first: they change less often than the app, and are gigabytes.
COPY --chown=studio requirements.txt ./
RUN python -m venv /home/studio/venv \
    && /home/studio/venv/bin/pip install --no-cache-dir --requirement requirements.txt
ENV PATH=/home/studio/venv/bin:$PATH

COPY --chown=studio LICENSE README.md app.py ./
COPY --chown=studio assets/ assets/
COPY --chown=studio inference/ inference/
COPY --chown=studio jobs/ jobs/
COPY --chown=studio trainer/ trainer/
COPY --chown=studio ui/ ui/

# Photos, jobs, results and downloaded models, all of it on the volume.
ENV STUDIO_HOME=/home/studio/data \
    HF_HOME=/home/studio/data/huggingface \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    PYTHONUNBUFFERED=1
VOLUME /home/studio/data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=8)"]
CMD ["python", "app.py"]
