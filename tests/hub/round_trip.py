"""A client process that sends files to the Hub of its environment and fetches them back, in every way there is.

`python -m tests.hub.round_trip repository|bucket FOLDER`. The environment decides between LFS and Xet, the Hub between
one piece and several. A process of its own, because the library reads its environment when it is imported, and because
what it keeps in memory must not help the next one.
"""

from __future__ import annotations

import io
import os
import random
import sys
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

REPO = "alice/model"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
LATE = "vae/late.safetensors"
BUFFERED = "buffer.bin"
BUCKET = "alice/runs"
NUMBER = random.Random(0)


def repository_trip(folder: Path) -> None:
    """Send everything to a repository, fetch everything, compare."""
    api = HfApi()
    files = _files()
    _write(folder / "sent", files)
    api.create_repo(REPO, private=True)
    first = api.upload_folder(repo_id=REPO, folder_path=folder / "sent", commit_message="Add model")
    again = api.upload_folder(repo_id=REPO, folder_path=folder / "sent")
    assert again.oid == first.oid, "an unchanged folder made a commit"

    files[LATE] = NUMBER.randbytes(3_000_000)
    api.upload_file(path_or_fileobj=files[LATE], path_in_repo=LATE, repo_id=REPO)
    files[BUFFERED] = NUMBER.randbytes(50_000)
    api.upload_file(path_or_fileobj=io.BytesIO(files[BUFFERED]), path_in_repo=BUFFERED, repo_id=REPO)
    api.delete_file("empty.txt", REPO)
    del files["empty.txt"]

    whole = Path(snapshot_download(REPO))
    assert _read(whole) == files
    _check_parts(files, folder)
    listed = {entry.path: entry for entry in api.get_paths_info(REPO, [WEIGHTS, "model_index.json"])}
    hash_known = getattr(listed[WEIGHTS], "xet_hash", None) is not None
    assert hash_known == ("TEST_XET_READS" in os.environ), "Xet was offered where it is not, or the other way round"


def bucket_trip(folder: Path) -> None:
    """Fill a bucket, list it, fetch from it, delete from it."""
    api = HfApi()
    weights = NUMBER.randbytes(2_000_000)
    _write(folder / "sent", {"weights.bin": weights})
    assert api.create_bucket("runs", private=True).bucket_id == BUCKET
    api.create_bucket(BUCKET, exist_ok=True)
    api.batch_bucket_files(
        BUCKET, add=[(folder / "sent" / "weights.bin", "a/weights.bin"), (b"hello", "a/b/hello.txt")]
    )
    api.batch_bucket_files(BUCKET, add=[(b"", "empty"), (b"hello", "a/b/again.txt")])

    everything = {"a/weights.bin": 2_000_000, "a/b/hello.txt": 5, "a/b/again.txt": 5, "empty": 0}
    assert {
        file.path: getattr(file, "size", None) for file in api.list_bucket_tree(BUCKET, recursive=True)
    } == everything
    assert {entry.path for entry in api.list_bucket_tree(BUCKET)} == {"a", "empty"}
    assert {entry.path for entry in api.list_bucket_tree(BUCKET, "a/")} == {"a/weights.bin", "a/b"}
    info = api.bucket_info(BUCKET)
    assert (info.private, info.total_files, info.size) == (True, 4, sum(everything.values()))
    assert [bucket.id for bucket in api.list_buckets()] == [BUCKET]

    targets = {path: folder / "got" / path for path in everything}
    api.download_bucket_files(BUCKET, list(targets.items()))
    assert targets["a/weights.bin"].read_bytes() == weights
    assert {path: target.stat().st_size for path, target in targets.items()} == everything

    api.batch_bucket_files(BUCKET, delete=["a/b/hello.txt"])
    assert "a/b/hello.txt" not in {file.path for file in api.list_bucket_tree(BUCKET, recursive=True)}
    api.update_bucket_settings(BUCKET, private=False)
    assert not api.bucket_info(BUCKET).private


def _check_parts(files: dict[str, bytes], folder: Path) -> None:
    """As a pipeline is loaded: the index alone, then only what it names, then from the cache alone."""
    cache = folder / "cache"
    assert Path(hf_hub_download(REPO, "model_index.json", cache_dir=cache)).read_bytes() == files["model_index.json"]
    weights_only = snapshot_download(
        REPO, allow_patterns=["*.json", "unet/*"], ignore_patterns=["*.txt"], cache_dir=cache
    )
    assert set(_read(Path(weights_only))) == {"model_index.json", WEIGHTS}
    cached = snapshot_download(REPO, allow_patterns=["unet/*"], cache_dir=cache, local_files_only=True)
    assert (Path(cached) / WEIGHTS).read_bytes() == files[WEIGHTS]


def _files() -> dict[str, bytes]:
    return {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
        "README.md": b"---\nlicense: mit\n---\n# Model\n",
        WEIGHTS: NUMBER.randbytes(12_000_000),
        "samples/na\u00efve #1 100%.txt": "h\u00e9llo".encode(),
        "samples/picture.png": NUMBER.randbytes(20_000),
        "empty.txt": b"",
    }


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _read(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name != ".gitattributes"}


TRIPS = {"repository": repository_trip, "bucket": bucket_trip}

if __name__ == "__main__":
    assert constants.ENDPOINT.startswith("http://127.0.0.1:"), constants.ENDPOINT
    TRIPS[sys.argv[1]](Path(sys.argv[2]))
