"""The location of an index, given its path or URL."""

from pathlib import Path

import pytest

from m3rag import M3Index
from m3rag.errors import FormatError, InputError
from m3rag.stores.edge.directory import FolderLocation
from m3rag.stores.location import locate
from m3rag.stores.memory import MemoryLocation
from m3rag.stores.remote.location import RemoteLocation


def test_none_is_memory():
    place = locate(None)
    assert isinstance(place, MemoryLocation)
    assert (str(place), place.path, place.exists(), place.engine) == (
        "memory",
        None,
        False,
        "memory",
    )


@pytest.mark.parametrize("given", ["kb", "./kb", Path("kb"), "C:\\kb", "a b/ü", "kb:1"])
def test_a_path_is_a_folder(given):
    place = locate(given)
    assert isinstance(place, FolderLocation)
    assert place.path == Path(given)
    assert place.engine == "qdrant-edge"


@pytest.mark.parametrize("url", ["qdrant://host:6334/kb", "FTP://host", "s3://bucket/kb"])
def test_a_url_without_a_store_names_the_scheme(url, tiny):
    scheme = url.partition(":")[0]
    with pytest.raises(InputError, match=f"no store for {scheme}:// URLs"):
        locate(url)
    with pytest.raises(InputError, match=f"no store for {scheme}:// URLs"):
        M3Index.open(url, model=tiny)


def test_an_http_url_is_an_index_of_a_server():
    place = locate("HTTPS://host:1/proxied/kb%20one/")
    assert isinstance(place, RemoteLocation)
    assert (str(place), place.path) == ("HTTPS://host:1/proxied/kb%20one", None)
    for wrong, reason in {
        "http://host": "names no knowledge base",
        "http://:8080/kb": "is no address",
        "http://host:x/kb": "is no address",
        "http://user:secret@host/kb": "is no address",
        "http://host/kb?key=secret": "is no address",
    }.items():
        with pytest.raises(InputError, match=reason) as caught:
            locate(wrong)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_path_is_refused(empty):
    with pytest.raises(InputError, match="path of the index is empty"):
        locate(empty)


@pytest.fixture(params=["memory", "folder"])
def place(request, tmp_path):
    return MemoryLocation() if request.param == "memory" else FolderLocation(tmp_path / "kb")


def test_records_are_read_as_they_were_written(place):
    assert place.read("a.json") is None
    place.check_new(create=True)
    place.write("a.json", b"{}")
    place.write("a.json", b'{"\xc3\xbc": 1}')
    assert place.read("a.json") == b'{"\xc3\xbc": 1}'
    assert place.read("b.json") is None


def test_a_path_that_cannot_hold_an_index_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match="is a file"):
        FolderLocation(tmp_path / "file").exists()
    with pytest.raises(FormatError, match="not empty: it has 'file'"):
        FolderLocation(tmp_path).check_new(create=True)
    with pytest.raises(FormatError, match="does not exist"):
        FolderLocation(tmp_path / "none").check_new(create=False)


def test_an_index_in_memory_keeps_its_presets(tiny):
    from m3rag.index.presets import Preset

    with M3Index.open(model=tiny) as index:
        index.save_preset("mine", Preset({"dense": 1.0}))
        assert index.presets["mine"].weights["dense"] == 1.0
        assert index.path is None


def test_a_location_of_ones_own(tiny):
    """A store of your own needs no change of the package: pass its location as the path."""

    class Shelf(MemoryLocation):
        engine = "shelf"

        def __str__(self):
            return "shelf://top"

    shelf = Shelf()
    assert locate(shelf) is shelf
    with M3Index.open(shelf, model=tiny) as index:
        index.add(["Ferns like shade."])
        assert index.search("shade")[0].passage.text == "Ferns like shade."
        assert repr(index) == "M3Index('shelf://top', model='tiny', colbert='stored', 1 passage)"
    assert b'"engine": "shelf"' in shelf.read("m3rag.json")
