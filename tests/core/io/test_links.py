"""A symbolic link that another person left where a run writes is not followed: its target stays as it is."""

import pytest

from autoloss.core.errors import ConfigError
from autoloss.core.io.files import whole, write_text
from autoloss.core.io.lock import lock
from autoloss.search.study import open_storage


@pytest.fixture
def target(tmp_path):
    file = tmp_path / "precious"
    file.write_text("all my work")
    yield file
    assert file.read_text() == "all my work"


def test_a_lock_truncates_nothing(tmp_path, target):
    (tmp_path / "claim").symlink_to(target)
    with (
        pytest.raises(ConfigError, match="must be a file of its own, but .* is a symbolic link"),
        lock(tmp_path / "claim"),
    ):
        pass
    (tmp_path / "kept").write_text("kept")
    with lock(tmp_path / "kept") as mine:
        assert mine
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_that_is_written_whole_replaces_a_link(tmp_path, target):
    (tmp_path / "summary.json").symlink_to(target)
    write_text(tmp_path / "summary.json", "new")
    assert not (tmp_path / "summary.json").is_symlink()
    (tmp_path / ".last.ckpt.new").symlink_to(target)
    with whole(tmp_path / "last.ckpt", alone=True) as file:
        file.write("new")
    assert (tmp_path / "last.ckpt").read_text() == "new"


@pytest.mark.parametrize("name", ["study.log", "study.log.lock"])
def test_a_study_is_not_written_through_a_link(tmp_path, target, name):
    (tmp_path / name).symlink_to(target)
    with pytest.raises(ConfigError, match="A study must be a file of its own"):
        open_storage(None, tmp_path)


def test_garbage_in_the_middle_of_a_journal_is_one_sentence(tmp_path):
    storage = open_storage(None, tmp_path)
    storage.create_new_study(directions=[1], study_name="one")
    log = tmp_path / "study.log"
    log.write_bytes(b"\x00garbage{\n" + log.read_bytes())
    with pytest.raises(ConfigError, match=r"study.log' is damaged: .*Restore it, or start again with fresh=true"):
        open_storage(None, tmp_path)
