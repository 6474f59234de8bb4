"""The committed compose files are what the shipped profiles render to."""

from pathlib import Path

from pmpctl.operations.environment import Environment
from pmpctl.operations.render import compose_folder_texts
from pmpctl.workspace import Workspace

CHECKOUT = Path(__file__).parents[3]
COMPOSE = CHECKOUT / "compose"


def test_the_compose_folder_is_as_the_profile_file_renders_it() -> None:
    rendered = compose_folder_texts(Environment(Workspace(CHECKOUT), None, "auto", {}), COMPOSE)

    files = [COMPOSE / "compose.yaml", COMPOSE / ".env.example", *(COMPOSE / "engines").iterdir()]
    committed = {path.relative_to(COMPOSE).as_posix(): path.read_bytes() for path in files if path.exists()}
    differing = sorted(
        name for name in {*rendered, *committed} if rendered.get(name, "").encode() != committed.get(name)
    )
    assert not differing, (
        f"compose/ is out of date ({', '.join(differing)}): run `pmpctl render compose --directory compose`"
    )
