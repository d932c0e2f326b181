"""torch.save and torch.load: what is built from a file, where its memory comes from, and how it fails."""

import copy
import gzip
import io
import os
import pickle
import sys
import zipfile
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
        torch.load(saved([1]), pickle_module=pickle, weights_only=True)
    assert torch.load(saved(Other(2)), pickle_module=pickle).value == 2
    with torch.serialization.safe_globals([(Other, f"{__name__}.Other")]):
        assert torch.load(saved(Other(3))).value == 3


def test_the_environment_decides_what_is_built(monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected"):
        assert torch.load(saved(Other(1))).value == 1
    with pytest.raises(pickle.UnpicklingError):
        torch.load(saved(Other(1)), weights_only=True)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="Only one of"):
        torch.load(saved(Other(1)))
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(saved(Other(1)), weights_only=False)


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
    with pytest.raises(RuntimeError, match=r"don't know how to restore data location .* \(tagged with foo\)"):
        torch.load(saved(torch.ones(1)), map_location="foo")


def test_packages_say_where_storages_are(monkeypatch):
    monkeypatch.setattr(torch.serialization, "_packages", list(torch.serialization._packages))
    asked = []
    torch.serialization.register_package(
        5,
        lambda storage: "here",
        lambda storage, where: (asked.append(where), storage)[1] if where == "here" else None,
    )
    assert torch.load(saved(torch.ones(2))).tolist() == [1.0, 1.0] and asked == ["here"]
    assert torch.load(saved(torch.ones(2)), map_location="cpu").tolist() == [1.0, 1.0] and asked == ["here"]


def test_the_old_format():
    x = torch.arange(4.0)
    file = io.BytesIO()
    torch.save({"x": x, "tail": x[1:]}, file, _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 1), file, _use_new_zipfile_serialization=False)
    file.seek(0)
    read = torch.load(file)
    read["x"][1] = 9
    assert read["tail"].tolist() == [9.0, 2.0, 3.0]
    assert str(torch.load(file, weights_only=False)) == "Linear(in_features=2, out_features=1, bias=True)"
    file.seek(0)
    assert torch.load(file, map_location="meta")["tail"].is_meta and file.read() != b""
    seen = []
    file.seek(0)
    torch.load(file, map_location=lambda storage, where: seen.append((storage.nbytes(), where)))
    assert seen == [(16, "cpu")]
    with pytest.raises(RuntimeError, match="Invalid magic number; corrupt file"):
        torch.load(io.BytesIO(pickle.dumps(3, protocol=2)))


def test_pickles_of_pytorch_hold_storages_as_old_files():
    file = io.BytesIO()
    torch.save(torch.arange(2.0)._typed_storage(), file, _use_new_zipfile_serialization=False)
    assert torch.storage._load_from_bytes(file.getvalue()).tolist() == [0.0, 1.0]


def test_memory_is_saved_as_one_dtype_only():
    x = torch.zeros(2)
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        saved([x, x.view(torch.int32)])


def test_files_that_cannot_be_sought_in():
    class Stream:
        def __init__(self, file):
            self.read = file.read

    with pytest.raises(AttributeError, match="You can only torch.load from a file that is seekable"):
        torch.load(Stream(saved(1)))
    file = io.BytesIO(b"abc" + saved(torch.ones(1)).getvalue())
    file.seek(3)
    assert torch.load(file).item() == 1


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(RuntimeError, match="Parent directory .* does not exist"):
        torch.save(1, tmp_path / "none" / "w.pt")


def test_shared_storages():
    x = torch.ones(2)
    assert not x.is_shared() and x.share_memory_().is_shared() and x._typed_storage().is_shared()
    assert torch.ones(3).untyped_storage().share_memory_().is_shared()


class Slotted(torch.Tensor):
    __slots__ = ["inner"]


class OfItsOwnState(torch.Tensor):
    def __getstate__(self):
        return "state", self.__dict__

    def __setstate__(self, state):
        self.mark, self.__dict__ = state[0], {**state[1], "mark": state[0]}


def test_attributes_of_tensor_classes_are_copied_and_saved():
    x = torch.ones(2).as_subclass(Slotted)
    x.inner, x.other = [torch.zeros(1)], 3
    for y in (copy.deepcopy(x), torch.load(saved(x), weights_only=False), pickle.loads(pickle.dumps(x))):
        assert type(y) is Slotted and y.inner[0].item() == 0 and y.inner is not x.inner and y.other == 3
    z = torch.ones(2).as_subclass(OfItsOwnState)
    z.other = 4
    with torch.serialization.safe_globals([OfItsOwnState]):
        y = torch.load(saved(z))
    assert type(y) is OfItsOwnState and y.mark == "state" and y.other == 4


def test_modules_that_are_never_built_from():
    with torch.serialization.safe_globals([os.getcwd]):
        with pytest.raises(pickle.UnpicklingError, match="unsupported GLOBAL .*getcwd whose module .* is blocked"):
            torch.load(saved(os.getcwd))


def test_compressed_files_and_bytes_for_strings(tmp_path):
    x = torch.arange(100_000.0)
    for new in (True, False):
        with gzip.open(tmp_path / "x.gz", "wb") as file:
            torch.save(x, file, _use_new_zipfile_serialization=new)
        with gzip.open(tmp_path / "x.gz", "rb") as file:
            assert torch.equal(torch.load(file), x)
        assert torch.equal(torch.load(saved(x, _use_new_zipfile_serialization=new), encoding="bytes"), x)


def test_files_of_machines_with_the_other_byte_order():
    source = saved({"w": torch.tensor([1, 2], dtype=torch.int16), "b": torch.tensor([True])})

    def turned(order):
        file = io.BytesIO()
        source.seek(0)
        with zipfile.ZipFile(source) as archive, zipfile.ZipFile(file, "w") as written:
            for name in archive.namelist():
                if not name.endswith("byteorder"):
                    written.writestr(name, archive.read(name))
                elif order:
                    written.writestr(name, order)
        file.seek(0)
        return file

    assert torch.load(turned("big"))["w"].tolist() == [256, 512] and torch.load(turned("little"))["w"].tolist() == [
        1,
        2,
    ]
    with pytest.raises(ValueError, match="Unknown endianness type: middle"):
        torch.load(turned("middle"))
    assert torch.load(turned(None))["w"].tolist() == [1, 2]
    torch.serialization.set_default_load_endianness(torch.serialization.LoadEndianness.BIG)
    try:
        assert torch.load(turned(None))["w"].tolist() == [256, 512]
    finally:
        torch.serialization.set_default_load_endianness(None)


def test_names_for_annotations():
    from hookgrad.serialization import FILE_LIKE, MAP_LOCATION

    assert torch.device in MAP_LOCATION.__args__ and str in FILE_LIKE.__args__


def test_records_of_a_file(tmp_path):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "a.pt")
    reader = torch.PyTorchFileReader(str(tmp_path / "a.pt"))
    assert reader.has_record("data.pkl") and not reader.has_record("x") and "data/0" in reader.get_all_records()
    assert reader.get_record("byteorder").decode() == sys.byteorder
    assert reader.get_storage_from_record("data/0", 3, torch.float32).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="PytorchStreamReader failed locating file x: file not found"):
        reader.get_record("x")
    with pytest.raises(RuntimeError, match="PytorchStreamReader failed"):
        torch.PyTorchFileReader(str(tmp_path / "none.pt"))
