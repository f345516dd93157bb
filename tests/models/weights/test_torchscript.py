"""Parameters of TorchScript archives, as CLIP's authors publish them."""

import pickle
import zipfile

import pytest
import torch

from tests.support.scripted import Scripted
from vidflow.errors import WeightsError
from vidflow.models import build_model
from vidflow.models.weights import load_weights, read_checkpoint
from vidflow.models.weights.torchscript import is_torchscript, read_torchscript

# Archives are still what CLIP's authors publish, though torch now prefers other formats.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Scripted().half()


@pytest.fixture
def archive(module, tmp_path):
    path = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(module), path)
    return path


def rewrite(archive, member, content):
    """The archive with one member changed."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    (name,) = (name for name in members if name.endswith(member))
    members[name] = content(members[name])
    with zipfile.ZipFile(archive, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)


def test_parameters_and_buffers_come_by_their_names(module, archive):
    assert is_torchscript(archive)
    found = read_torchscript(archive)
    expected = module.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].requires_grad) == (tensor.dtype, False)
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_checkpoints_may_be_archives(module, archive):
    checkpoint = read_checkpoint(archive)
    assert checkpoint.format == "torchscript"
    assert checkpoint.tensors.keys() == module.state_dict().keys()


def test_other_files_are_no_archives(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "plain.pth")
    (tmp_path / "text").write_text("text")
    assert not is_torchscript(tmp_path / "plain.pth")
    assert not is_torchscript(tmp_path / "text")


def test_the_program_is_never_run(archive, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the program was loaded")

    monkeypatch.setattr(torch.jit, "load", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert read_torchscript(archive)


class Harmful:
    """Unpickled naively, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_the_tree_is_refused(archive, tmp_path):
    rewrite(archive, "/data.pkl", lambda _: pickle.dumps(Harmful(tmp_path / "made"), protocol=2))
    with pytest.raises(WeightsError, match="no readable TorchScript archive"):
        read_torchscript(archive)
    assert not (tmp_path / "made").exists()


def test_a_storage_that_is_cut_short_is_refused(archive):
    rewrite(archive, "/data/0", lambda data: data[:-1])
    with pytest.raises(WeightsError, match=r"storage 0 has .* bytes and should have"):
        read_torchscript(archive)


def test_a_tree_without_parameters_is_refused(archive):
    rewrite(archive, "/data.pkl", lambda _: pickle.dumps({}, protocol=2))
    with pytest.raises(WeightsError, match="holds no parameters"):
        read_torchscript(archive)


def test_clip_itself_loads_from_its_archive(tmp_path):
    """Its sizes, stored as whole numbers, are no weights."""
    clip = build_model("actionclip-tiny", num_classes=2)
    tensors = clip.clip.state_dict() | {"input_resolution": torch.tensor(32), "vocab_size": torch.tensor(49408)}
    holder = torch.nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        owner = holder
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, torch.nn.Module())
            owner = owner.get_submodule(part)
        owner.register_buffer(last, tensor.clone())
    torch.jit.save(torch.jit.script(holder), tmp_path / "ViT-tiny.pt")
    report = load_weights(build_model("actionclip-tiny", num_classes=2), tmp_path / "ViT-tiny.pt", mode="finetune")
    assert (report.origin, len(report.matched)) == ("clip", len(clip.clip.state_dict()))


def test_a_cut_archive_is_refused(archive):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(WeightsError):
        load_weights(build_model("videomae-tiny", num_classes=2), archive, mode="finetune")
