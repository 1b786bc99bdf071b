"""Where a picture comes from: flattened configurations, commits, versions."""

import os
import subprocess
from pathlib import Path

import pytest

from stylelab import parameter_files, provenance


def test_flattened_names_lists_by_index_and_keeps_empty_ones() -> None:
    nested = {"a": {"b": 1, "c": [2, [3]]}, "d": [], "e": None, "f": {}, "g": (4,)}
    assert provenance.flattened(nested) == {"a.b": 1, "a.c.0": 2, "a.c.1.0": 3, "d": [], "e": None, "f": {}, "g.0": 4}


def test_canonical_leaves_out_whole_groups_and_single_keys_but_no_namesakes() -> None:
    config = {
        "images": {"content": "a", "style": ["b"], "style_size": "area"},
        "tracking": {"uri": "c"},
        "force": True,
        "forced": 1,
    }
    found = provenance.canonical(config, content="1", styles=["2"], parameters={"means": "3"})
    assert found["configuration"] == {"images.style_size": "area", "forced": 1}
    assert (found["content"], found["styles"], found["parameters"]) == ("1", ["2"], {"means": "3"})


def test_a_key_does_not_depend_on_the_order_of_keys() -> None:
    assert provenance.key_of({"a": 1, "b": 2}) == provenance.key_of({"b": 2, "a": 1})
    assert provenance.key_of({"a": 1}) != provenance.key_of({"a": 2})
    assert len(provenance.key_of({})) == 64


def test_a_commit_is_known_with_whether_tracked_files_differ_from_it(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) == (None, None)

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    head = git("rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == (head, False)
    (tmp_path / "untracked").touch()
    assert provenance.commit(tmp_path) == (head, False)
    (tmp_path / "file").write_text("two")
    assert provenance.commit(tmp_path) == (head, True)


def test_versions_and_machine_are_told() -> None:
    found = provenance.versions()
    assert found["torch"] and found["python"].count(".") == 2
    machine = provenance.machine()
    assert machine["pid"] == os.getpid() and machine["cores"] >= 1 and machine["processor"]


def test_a_hash_is_read_once_as_long_as_the_file_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, (1e9, 1e9))
    first = parameter_files.sha256_of(path)
    reads = []
    digest = parameter_files.hashlib.file_digest
    monkeypatch.setattr(parameter_files.hashlib, "file_digest", lambda *a: reads.append(a) or digest(*a))
    assert parameter_files.sha256_of(path) == first
    assert reads == []
    path.write_bytes(b"two")
    os.utime(path, (1e9, 1e9))  # the same size and time; only when its entry changed tells
    assert parameter_files.sha256_of(path) != first
    assert len(reads) == 1
    path.write_bytes(b"now")  # written this very moment: its times may not tell of a second write
    parameter_files.sha256_of(path)
    parameter_files.sha256_of(path)
    assert len(reads) == 3
