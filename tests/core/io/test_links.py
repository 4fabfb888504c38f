"""A symbolic link that another person left where a run writes is not followed: its target stays as it is."""

import pytest

from autoloss.app.workers import Workers
from autoloss.core.errors import ConfigError, DiskError
from autoloss.core.io.disk import explained
from autoloss.core.io.files import whole, write_text
from autoloss.core.io.lock import lock
from autoloss.core.io.occupied import WORDS, check_free
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


@pytest.mark.parametrize("name", [".hydra/config.yaml", "multirun.yaml", "worker-1.log"])
def test_a_link_in_the_place_of_a_file_that_is_overwritten_is_refused(tmp_path, target, name):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / name).symlink_to(target)
    for kind in WORDS:
        with pytest.raises(ConfigError, match="A run must write files of its own, but .* is a symbolic link"):
            check_free(tmp_path, kind)


def test_a_link_in_the_place_of_hydras_folder_is_refused(mistaken, tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    target.rename(tmp_path / "elsewhere" / "config.yaml")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".hydra").symlink_to(tmp_path / "elsewhere")
    for line in ("train", "search", "compare weighting=equal,dwa", "diagnose", "meta problems=[two_digits]"):
        code, _, err = mistaken(f"{line} hydra.run.dir=run problem.pairs=200")
        assert code == 2
        assert "is a symbolic link" in err
    (tmp_path / "elsewhere" / "config.yaml").rename(target)


def test_a_log_is_not_written_through_a_link(tmp_path, target):
    """A link that appears after the directory was checked."""
    (tmp_path / "worker-1.log").symlink_to(target)
    with (
        pytest.raises(DiskError, match="must be no symbolic link"),
        explained(tmp_path),
        Workers(1, ["plugins"], tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    "garbage", [b"\x00garbage{\n", b'{"op_code": 99, "worker_id": "x"}\n', b"[]\n", b'{"op_code": 0}\n']
)
def test_garbage_in_the_middle_of_a_journal_is_one_sentence(tmp_path, garbage):
    storage = open_storage(None, tmp_path)
    storage.create_new_study(directions=[1], study_name="one")
    log = tmp_path / "study.log"
    log.write_bytes(garbage + log.read_bytes())
    with pytest.raises(ConfigError, match=r"study.log' is damaged: .*Restore it, or start again with fresh=true"):
        open_storage(None, tmp_path)
