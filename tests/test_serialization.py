"""torch.save and torch.load: what is built from a file, where its memory comes from, and how it fails."""

import io
import pickle
from collections import Counter, OrderedDict

import pytest

import hookgrad as torch


class Other:
    def __init__(self, value):
        self.value = value


def saved(obj, **settings):
    file = io.BytesIO()
    torch.save(obj, file, **settings)
    file.seek(0)
    return file


def test_what_is_not_allowed_is_named():
    words = r"Weights only load failed[\s\S]*Unsupported global: GLOBAL .*Other was not an allowed global by default"
    with pytest.raises(pickle.UnpicklingError, match=words):
        torch.load(saved({"w": torch.ones(2), "o": Other(1)}))
    assert torch.load(saved(Other(1)), weights_only=False).value == 1
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        torch.load(saved([1]), pickle_module=pickle)


def test_classes_are_allowed_for_good_or_in_a_block():
    with torch.serialization.safe_globals([Other]):
        assert torch.load(saved(Other(2))).value == 2
    with pytest.raises(pickle.UnpicklingError):
        torch.load(saved(Other(2)))
    torch.serialization.add_safe_globals([Other])
    try:
        assert torch.load(saved(Other(3))).value == 3 and torch.serialization.get_safe_globals() == [Other]
        assert torch.serialization.get_unsafe_globals_in_checkpoint(saved(Other(3))) == []
    finally:
        torch.serialization.clear_safe_globals()


def test_the_unsafe_names_in_a_file_are_listed():
    for protocol in (2, 4):
        file = saved({"o": Other(1), "t": torch.ones(2), "d": OrderedDict()}, pickle_protocol=protocol)
        assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == [f"{__name__}.Other"]


@pytest.mark.parametrize("value", [{1, 2}, 1 + 2j, Counter("aab"), OrderedDict(a=1), torch.Size([1]), torch.float16])
def test_harmless_values_are_built(value):
    assert torch.load(saved(value)) == value


def test_a_file_can_be_mapped(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"w": torch.arange(4.0), "n": torch.tensor(3, dtype=torch.int8), "z": torch.arange(3)}, path)
    loaded = torch.load(path, mmap=True)
    assert loaded["w"].data_ptr() % 64 == 0 and loaded["z"].tolist() == [0, 1, 2] and loaded["n"].item() == 3
    loaded["w"].add_(1)
    assert loaded["w"].tolist() == [1.0, 2.0, 3.0, 4.0] and torch.load(path)["w"].tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        torch.load(saved([1]), mmap=True)


def test_data_can_be_left_out():
    with torch.serialization.skip_data():
        file = saved({"w": torch.ones(2, 3)})
    assert torch.load(file)["w"].tolist() == [[0.0] * 3] * 2
    with torch.serialization.skip_data():
        assert torch.load(saved(torch.ones(3))).shape == (3,)


def test_map_location_is_asked_or_refused():
    seen = []
    torch.load(
        saved([torch.ones(1), torch.ones(2)]),
        map_location=lambda storage, where: seen.append((storage.nbytes(), where)),
    )
    assert seen == [(4, "cpu"), (8, "cpu")]
    assert torch.load(saved(torch.ones(1)), map_location={"cuda:0": "cpu"}).item() == 1
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
        torch.load(saved(torch.ones(1)), map_location="cuda")


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        torch.save(1, tmp_path / "none" / "w.pt")


def test_shared_storages():
    x = torch.ones(2)
    assert not x.is_shared() and x.share_memory_().is_shared() and x.storage().is_shared()
    assert torch.ones(3).untyped_storage().share_memory_().is_shared()
