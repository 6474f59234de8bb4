"""What the token file says, before a gateway is started that would refuse it."""

import json
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pmpctl.errors import TokenFileInvalid
from pmpctl.host.token_entries import TokenEntry, digest_of
from pmpctl.host.tokens import count_tokens, read_tokens, require_readable_by, write_tokens


def test_no_file_and_an_empty_one_mean_no_tokens(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    assert count_tokens(path) == 0
    path.touch()
    assert count_tokens(path) == 0


def test_plain_and_hashed_tokens_count(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["one", {"name": "two", "sha256": "' + "0" * 64 + '"}]}')

    assert count_tokens(path) == 2


def test_a_file_that_cannot_be_used_is_named_with_its_fault_and_a_cure_and_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["canary-one", {"name": "canary-two"}]}')

    with pytest.raises(TokenFileInvalid) as caught:
        count_tokens(path)
    assert f"{path}: token number 2 needs a sha256" in caught.value.message
    assert "pmpctl token add" in caught.value.cure
    assert "canary" not in caught.value.message + caught.value.cure


def test_a_folder_that_docker_made_in_the_files_place_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(TokenFileInvalid, match="is a folder"):
        count_tokens(tmp_path)


def test_a_file_that_the_gateways_user_cannot_read_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["one"]}')
    path.chmod(0o600)

    with pytest.raises(TokenFileInvalid) as caught:
        require_readable_by(path, 65532, 65532)
    assert f"chown 65532:65532 {path}" in caught.value.cure
    path.chmod(0o644)
    require_readable_by(path, 65532, 65532)


NEW = TokenEntry("new", digest_of("secret"))


def added_to(path: Path, uid: int, gid: int) -> os.stat_result:
    write_tokens(read_tokens(path).adding(NEW), uid=uid, gid=gid)
    return path.stat()


def test_a_new_file_is_for_the_gateway_alone(tmp_path: Path) -> None:
    status = added_to(tmp_path / "auth.json", os.getuid(), os.getgid())

    assert stat.S_IMODE(status.st_mode) == 0o600
    assert json.loads((tmp_path / "auth.json").read_text()) == {"tokens": [{"name": "new", "sha256": NEW.digest}]}


def test_a_file_that_the_gateway_can_read_keeps_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["plain"], "comment": "kept"}')
    path.chmod(0o644)

    old = os.umask(0o077)
    try:
        status = added_to(path, os.getuid(), os.getgid())
    finally:
        os.umask(old)

    assert stat.S_IMODE(status.st_mode) == 0o644
    written = json.loads(path.read_text())
    assert (written["tokens"][0], written["comment"]) == ("plain", "kept")


def test_a_link_to_the_file_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "kept-elsewhere.json", tmp_path / "auth.json"
    target.write_text('{"tokens": []}')
    link.symlink_to(target)

    added_to(link, os.getuid(), os.getgid())

    assert link.is_symlink()
    assert count_tokens(target) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, (1234, 1235, 0o600)),
        ((0, 0, 0o600), (1234, 1235, 0o600)),
        ((0, 1235, 0o640), (0, 1235, 0o640)),
        ((65532, 65532, 0o400), (65532, 65532, 0o400)),
    ],
)
def test_root_hands_a_file_that_is_roots_alone_to_the_gateways_user_and_leaves_others_to_whom_they_are(
    before: tuple[int, int, int] | None, after: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "auth.json"
    if before is not None:
        path.touch()
        os.chown(path, *before[:2])
        path.chmod(before[2])

    status = added_to(path, 1234, 1235)

    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("group", "expected"), [(1235, (1236, 1235, 0o640)), (1237, (1236, 1237, 0o600))])
def test_others_share_the_file_with_the_gateway_by_a_group_that_both_are_in(
    group: int, expected: tuple[int, int, int]
) -> None:
    # Nobody but root gets through to tmp_path.
    with TemporaryDirectory() as folder:
        os.chown(folder, 1236, group)
        path = Path(folder) / "auth.json"
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(group)
            os.setuid(1236)
            try:
                added_to(path, 1234, 1235)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

        status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == expected
