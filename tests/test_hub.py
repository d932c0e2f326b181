"""torch.hub: models of a folder, weights from a URL."""

import hashlib
from urllib.error import URLError

import pytest

import hookgrad as torch
from hookgrad import hub


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "hubconf.py").write_text(
        'dependencies = ["math"]\nfrom helper import twice\ndef net(n, m=1):\n    "A net."\n    return twice(n) + m\n'
    )
    return str(tmp_path)


def test_models_of_a_folder(folder):
    assert hub.list(folder, source="local") == ["net", "twice"]
    assert hub.load(folder, "net", 3, source="local", m=5) == 11
    assert hub.help(folder, "net", source="local") == "A net."
    with pytest.raises(RuntimeError, match="Cannot find callable other in hubconf"):
        hub.load(folder, "other", source="local")
    with pytest.raises(ValueError, match='Unknown source: "web"'):
        hub.load(folder, "net", source="web")
    with pytest.raises(NotImplementedError, match="from folders only"):
        hub.load("owner/repo", "net")


def test_weights_from_a_url_are_downloaded_once_and_checked(tmp_path, capsys):
    torch.save({"w": torch.ones(2)}, tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    good, bad = tmp_path / f"net-{digest[:8]}.pth", tmp_path / "net-00000000.pth"
    (tmp_path / "net.pth").rename(good)
    bad.write_bytes(good.read_bytes())
    kept = tmp_path / "kept"
    for _ in range(2):
        state = hub.load_state_dict_from_url(good.as_uri(), kept, check_hash=True, progress=False)
        assert state["w"].tolist() == [1, 1]
    assert capsys.readouterr().out.count("Downloading") == 1
    with pytest.raises(RuntimeError, match='invalid hash value \\(expected "00000000"'):
        hub.load_state_dict_from_url(bad.as_uri(), kept, check_hash=True)
    with pytest.raises(URLError):
        hub.load_state_dict_from_url((tmp_path / "none.pth").as_uri(), kept)
    assert [path.name for path in kept.iterdir()] == [good.name]


def test_where_downloads_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert hub.get_dir() == str(tmp_path / "hub")
    hub.set_dir(tmp_path / "elsewhere")
    assert hub.get_dir() == str(tmp_path / "elsewhere")


def test_old_names():
    from hookgrad.utils import model_zoo

    assert model_zoo.load_url is hub.load_state_dict_from_url
    with hub._Faketqdm(range(3), total=3) as progress:
        for _ in progress:
            progress.update(2)
    assert progress.n == 6 and list(hub.tqdm(range(2), disable=True)) == [0, 1]
