"""Parameter files on disk: found by path or in the cache, fetched once, verified, never half written. No torch here."""

import hashlib
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

CHUNK = 1 << 20  # bytes read at a time
TIMEOUT = 30  # seconds without a byte before a download counts as cut


SETTLED = 2.0  # seconds without a write after which a file's times tell whether it changed; some disks count in seconds
_hashes: dict[tuple[str, int, int, int, int], str] = {}  # within this process: see `sha256_of`


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; read once a process as long as its place, size and times stand."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        identity = (os.path.abspath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if identity not in _hashes:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if time.time() - found.st_mtime < SETTLED:  # a second write might leave the same times
                return digest
            _hashes[identity] = digest
        return _hashes[identity]


def features_file(url: str, cache: Path) -> Path:
    """Where the convolutions of a fetched file are kept: 80 MB instead of the 550 MB with the classifier."""
    return cache / f"{Path(url).stem}.features.safetensors"


def at_hand(*, path: str | None, url: str | None, cache: Path) -> Path | None:
    """The file to read without a download: the given one, else the cache's extract, else the original put there."""
    if path is not None:
        return Path(path).expanduser()
    candidates = (features_file(url, cache), cache / Path(url).name) if url is not None else ()
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def verify(path: Path, *, sha256: str | None) -> str:
    """The file's sha256, after holding it against the one expected: `sha256`, else the digits in the file's own name.

    Raises:
        ValueError: the file is not the one that was meant.
    """
    found = sha256_of(path)
    expected = sha256 or hash_in_name(path.name)
    if expected is not None and not found.startswith(expected.lower()):
        raise ValueError(
            f"{path}: sha256 is {found[:16]}..., expected {expected[:16]}...: the file is damaged or another one; "
            "remove it and fetch it again"
        )
    return found


def hash_in_name(name: str) -> str | None:
    """The start of the sha256 that torch's file names carry: `vgg19-d01eb7cb.pth` -> `d01eb7cb`."""
    match = re.search(r"-([0-9a-f]{8,64})\.pth$", name)
    return match.group(1) if match else None


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Keep other processes from making the same file of a cache; the cache is made where it is missing.

    Raises:
        ValueError: it can't be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"network.cache: can't make {file.parent} ({error.strerror}): choose another folder"
        ) from error
    with FileLock(file.with_suffix(".lock")):
        yield


def fetch(url: str, *, sha256: str | None, cache: Path) -> Path:
    """Download a parameter file into the cache: once, whole and verified, or not at all.

    Args:
        url: ends in the file's name.
        sha256: of the whole file, or its first digits; None where the name carries them.
        cache: a folder, made where it is missing.

    Raises:
        ValueError: no connection, not there, cut off or of another sha256; says which file to put where.
    """
    target = cache / Path(url).name
    cure = f"put the file at {target} by hand, or use network=embedded, which needs none"
    if sha256 is None and hash_in_name(target.name) is None:
        raise ValueError(f"network.sha256: {url} can't be verified: give its sha256")
    with one_at_a_time(target):
        if target.is_file():
            verify(target, sha256=sha256)
            return target
        partial = target.with_suffix(f".{os.getpid()}.partial")
        try:
            _download(url, partial)
            verify(partial, sha256=sha256 or hash_in_name(target.name))
            os.replace(partial, target)
        except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
            raise ValueError(f"could not fetch {url} ({_reason(error, partial)}): {cure}") from error
        finally:
            partial.unlink(missing_ok=True)
    return target


def _download(url: str, partial: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, partial.open("wb") as file:
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm.wrapattr(response, "read", total=size, desc=Path(url).name, unit="B", unit_scale=True) as body:
            shutil.copyfileobj(body, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())
        if size is not None and file.tell() != size:
            raise ValueError(f"cut off after {file.tell():,} of {size:,} bytes")


def _reason(error: Exception, partial: Path) -> str:
    match error:
        case urllib.error.HTTPError():
            return f"HTTP {error.code} {error.reason}"
        case urllib.error.URLError():
            return str(error.reason)
        case _:
            return str(error).removeprefix(f"{partial}: ").split(": the file is damaged")[0] or type(error).__name__
