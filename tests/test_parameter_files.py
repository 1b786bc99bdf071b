"""Parameter files: fetched once from a real server on 127.0.0.1, verified, never half there; found, refused, bound."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stylelab import job, parameter_files
from stylelab.spec import Vgg19

BODY = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(BODY).hexdigest()
NAME = f"vgg19-{SHA256[:8]}.pth"


class Server:
    """Serves one body under any path; `mode` says how it fails."""

    def __init__(self) -> None:
        self.body, self.mode, self.requests, self.seconds = BODY, "whole", 0, 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                time.sleep(server.seconds)
                if server.mode == "404":
                    self.send_error(404)
                    return
                self.send_response(200)
                if server.mode != "no length":
                    self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                body = server.body[: len(server.body) // 2] if server.mode == "cut" else server.body
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, name: str = NAME) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/models/{name}"


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def left(cache: Path) -> list[str]:
    """What lies in the cache beside the lock."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("mode", ["whole", "no length"])
def test_a_file_is_fetched_whole_verified_and_leaves_nothing_partial(server, tmp_path, capsys, mode):
    server.mode = mode
    cache = tmp_path / "deep" / "cache"
    found = parameter_files.fetch(server.url(), sha256=None, cache=cache)
    assert found == cache / NAME
    assert found.read_bytes() == BODY
    assert left(cache) == [NAME]
    shown = capsys.readouterr().err
    assert NAME in shown and ("100%" in shown) == (mode == "whole")  # the progress bar
    parameter_files.fetch(server.url(), sha256=None, cache=cache)
    assert server.requests == 1


def test_a_given_sha256_does_where_the_name_has_none(server, tmp_path):
    found = parameter_files.fetch(server.url("mine.pth"), sha256=SHA256.upper(), cache=tmp_path)
    assert found.read_bytes() == BODY
    with pytest.raises(ValueError, match=r"^network.sha256: .*other.pth can't be verified: give its sha256$"):
        parameter_files.fetch(server.url("other.pth"), sha256=None, cache=tmp_path)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("cut", r"(cut off after 2,560,000 of 5,120,000 bytes|IncompleteRead.*)"),
        ("404", r"HTTP 404 Not Found"),
        ("wrong", r"sha256 is [0-9a-f]{16}\.\.\., expected " + SHA256[:8] + r"\.\.\."),
    ],
)
def test_a_failed_download_says_which_file_to_put_where_and_leaves_nothing(server, tmp_path, mode, reason):
    server.mode = mode
    if mode == "wrong":
        server.body = BODY[:-1] + b"?"
    cure = rf"put the file at {tmp_path}/{NAME} by hand, or use network=embedded, which needs none$"
    with pytest.raises(ValueError, match=rf"^could not fetch {server.url()} \({reason}\): {cure}"):
        parameter_files.fetch(server.url(), sha256=None, cache=tmp_path)
    assert left(tmp_path) == []
    server.mode, server.body = "whole", BODY
    assert parameter_files.fetch(server.url(), sha256=None, cache=tmp_path).read_bytes() == BODY


def test_without_a_server_the_reason_is_in_the_line(server, tmp_path):
    url = server.url()
    server.http.server_close()
    server.http.shutdown()
    with pytest.raises(ValueError, match=r"^could not fetch .* \(.*refused.*\): put the file at"):
        parameter_files.fetch(url, sha256=None, cache=tmp_path)
    assert left(tmp_path) == []


def test_an_address_that_is_none_is_refused_in_the_same_way(tmp_path):
    with pytest.raises(ValueError, match=r"^could not fetch vgg19-0123abcd.pth \(unknown url type"):
        parameter_files.fetch("vgg19-0123abcd.pth", sha256=None, cache=tmp_path)


def test_a_cache_that_can_not_be_made_is_named_by_its_key(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ValueError, match=r"^network.cache: can't make .*/file/cache \(.*\): choose another folder"):
        parameter_files.fetch(server.url(), sha256=None, cache=tmp_path / "file" / "cache")
    assert server.requests == 0


def test_a_damaged_file_in_the_cache_is_not_used(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"{NAME}: sha256 is .*: the file is damaged or another one; remove it"):
        parameter_files.fetch(server.url(), sha256=None, cache=tmp_path)


def test_two_at_once_fetch_once(server, tmp_path):
    server.seconds = 0.2
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(parameter_files.fetch, server.url(), sha256=None, cache=tmp_path) for _ in range(3)]
        assert [found.result().read_bytes() == BODY for found in asked] == [True] * 3
    assert server.requests == 1
    assert left(tmp_path) == [NAME]


def test_the_hash_in_a_name_is_read_as_torch_writes_it():
    assert parameter_files.hash_in_name("vgg19-d01eb7cb.pth") == "d01eb7cb"
    assert parameter_files.hash_in_name("vgg19.pth") is None
    assert parameter_files.hash_in_name("vgg19-features.pth") is None


def test_verify_holds_a_file_against_what_was_given_or_its_name(tmp_path):
    plain, named = tmp_path / "mine.bin", tmp_path / NAME
    plain.write_bytes(BODY)
    named.write_bytes(BODY)
    for path, sha256 in ((plain, None), (plain, SHA256), (plain, SHA256[:12]), (named, None)):
        assert parameter_files.verify(path, sha256=sha256) == SHA256
    for path, sha256 in ((plain, "0" * 64), (named, "0" * 8)):
        with pytest.raises(ValueError, match=r"sha256 is .*, expected 0+\.\.\.: the file is damaged or another one"):
            parameter_files.verify(path, sha256=sha256)


def test_the_given_path_comes_first_then_the_extract_then_the_original(tmp_path):
    url = f"https://example.org/{NAME}"
    assert parameter_files.at_hand(path=None, url=url, cache=tmp_path) is None
    assert parameter_files.at_hand(path=None, url=None, cache=tmp_path) is None
    original, extract = tmp_path / NAME, parameter_files.features_file(url, tmp_path)
    for file in (original, extract):
        file.write_bytes(b"1")
        assert parameter_files.at_hand(path=None, url=url, cache=tmp_path) == file
    assert parameter_files.at_hand(path="given.pth", url=url, cache=tmp_path) == Path("given.pth")


@pytest.fixture
def network(configuration, tmp_path):
    """network(path=..., url=...): Caffe's VGG-19 with its cache in tmp_path."""
    return lambda **changes: Vgg19(**(configuration.vgg19 | {"cache": str(tmp_path)} | changes))


def serve_parameters(server: Server, tmp_path: Path) -> str:
    """A tiny .pth with two of the convolutions and a classifier; the url under which it is served."""
    file = tmp_path / "original"
    torch.save({"features.0.bias": torch.ones(3).half(), "classifier.0.weight": torch.ones(9, 9)}, file)
    server.body = file.read_bytes()
    file.unlink()
    return server.url(f"vgg19-{hashlib.sha256(server.body).hexdigest()[:8]}.pth")


def test_a_fetched_file_is_cut_to_its_convolutions(server, tmp_path, network):
    url = serve_parameters(server, tmp_path)
    found = job.network_file(network(url=url))
    assert found == parameter_files.features_file(url, tmp_path)
    assert {key: value.tolist() for key, value in load_file(found).items()} == {"features.0.bias": [1.0, 1.0, 1.0]}
    assert left(tmp_path) == [found.name]
    assert job.network_file(network(url=url)) == found
    assert server.requests == 1


def test_two_runs_at_once_fetch_once_also_where_one_has_cut_the_file_already(server, tmp_path, network):
    url = serve_parameters(server, tmp_path)
    server.seconds = 0.3
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(job.network_file, network(url=url)) for _ in range(4)]
        assert {found.result() for found in asked} == {parameter_files.features_file(url, tmp_path)}
    assert server.requests == 1


def test_a_path_that_leads_nowhere_is_refused(network, tmp_path):
    with pytest.raises(
        ValueError, match=r"^network.path: there is no file .*nowhere.pth: give the path of vgg19-d01eb7cb.pth"
    ):
        job.network_file(network(path=str(tmp_path / "nowhere.pth")))


def test_a_path_with_the_wrong_bytes_is_refused(network, tmp_path):
    file = tmp_path / "vgg19-d01eb7cb.pth"
    file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"vgg19-d01eb7cb.pth: sha256 is .*, expected d01eb7cb"):
        job.network_file(network(path=str(file)))
    with pytest.raises(ValueError, match=r"vgg19-d01eb7cb.pth: sha256 is .*, expected d01eb7cb"):
        job.network_file(network())  # put into the cache by hand


def test_a_file_put_into_the_cache_by_hand_is_held_against_the_configured_sha256(network, tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"mine.pth: sha256 is .*, expected 1111"):
        job.network_file(network(url="https://example.org/mine.pth", sha256="1" * 64))


def test_a_known_file_under_the_wrong_source_is_refused(network, tmp_path, monkeypatch):
    file = tmp_path / "renamed.pth"
    file.write_bytes(BODY)
    monkeypatch.setitem(job.KNOWN, SHA256[:8], "torchvision")
    with pytest.raises(
        ValueError, match=r"renamed.pth holds torchvision's parameters, but is to be read as caffe's: use"
    ):
        job.network_file(network(path=str(file)))
    assert job.network_file(network(path=str(file), source="torchvision")) == file


@pytest.mark.parametrize(
    ("name", "source", "true"),
    [("vgg19-d01eb7cb.pth", "torchvision", "caffe"), ("vgg19-dcbb9e9d.pth", "caffe", "torchvision")],
)
def test_a_known_url_under_the_wrong_source_is_refused_before_it_is_fetched(network, tmp_path, name, source, true):
    """network=vgg19_caffe network.source=torchvision would mix the preprocessing, in silence."""
    url = f"http://127.0.0.1:9/{name}"
    message = rf"^network.*{name} holds {true}'s parameters, but is to be read as {source}'s: use network=vgg19_{true}"
    with pytest.raises(ValueError, match=message):
        job.network_file(network(url=url, source=source))
    parameter_files.features_file(url, tmp_path).write_bytes(b"an extract of it")
    with pytest.raises(ValueError, match=message):
        job.network_file(network(url=url, source=source))
