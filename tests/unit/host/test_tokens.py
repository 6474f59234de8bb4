"""What the token file says, before a gateway is started that would refuse it."""

from pathlib import Path

import pytest

from pmpctl.errors import TokenFileInvalid
from pmpctl.host.tokens import count_tokens, require_readable_by


def test_no_file_and_an_empty_one_mean_no_tokens(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    assert count_tokens(path) == 0
    path.touch()
    assert count_tokens(path) == 0


def test_plain_and_hashed_tokens_count(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["one", {"name": "two", "sha256": "00"}]}')

    assert count_tokens(path) == 2


@pytest.mark.parametrize("text", ["[", "[]", '{"tokens": "x"}', '{"tokens": [1]}', '{"tokens": [""]}', "{}"])
def test_a_file_that_the_gateway_would_refuse_is_refused_here(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)

    with pytest.raises(TokenFileInvalid) as caught:
        count_tokens(path)
    assert str(path) in caught.value.message


def test_a_file_that_the_gateways_user_cannot_read_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"tokens": ["one"]}')
    path.chmod(0o600)

    with pytest.raises(TokenFileInvalid) as caught:
        require_readable_by(path, 65532, 65532)
    assert f"chown 65532:65532 {path}" in caught.value.cure
    path.chmod(0o644)
    require_readable_by(path, 65532, 65532)
