from typing import Any

from pmpctl.runtime.base import Progress
from pmpctl.runtime.docker_progress import BuildLog, PullProgress, build_step


def layer(name: str, status: str, current: int | None = None, total: int | None = None) -> dict[str, Any]:
    detail = {} if current is None else {"current": current, "total": total}
    return {"id": name, "status": status, "progressDetail": detail}


def states(*events: dict[str, Any]) -> list[Progress]:
    progress = PullProgress("base:1")
    return [state for event in events if (state := progress.feed(event)) is not None]


def test_bytes_are_summed_over_layers_and_the_total_is_known_when_all_have_told_theirs() -> None:
    seen = states(
        {"id": "1", "status": "Pulling from library/base"},
        layer("a", "Pulling fs layer"),
        layer("b", "Pulling fs layer"),
        layer("a", "Downloading", 10, 100),
        layer("b", "Downloading", 5, 50),
        layer("a", "Download complete"),
        layer("b", "Downloading", 50, 50),
    )
    assert [(one.done, one.total) for one in seen] == [(10, None), (15, 150), (105, 150), (150, 150)]
    assert {one.message for one in seen} == {"Pulling base:1"}


def test_unpacking_follows_when_all_layers_are_here() -> None:
    seen = states(
        layer("a", "Pulling fs layer"),
        layer("a", "Downloading", 100, 100),
        layer("a", "Download complete"),
        layer("a", "Extracting", 40, 100),
        layer("a", "Pull complete"),
    )
    assert [(one.message, one.done, one.total) for one in seen[-2:]] == [
        ("Unpacking base:1", 40, 100),
        ("Unpacking base:1", 100, 100),
    ]


def test_layers_that_are_here_already_do_not_count() -> None:
    seen = states(layer("a", "Already exists"), layer("b", "Pulling fs layer"), layer("b", "Downloading", 20, 20))
    assert (seen[-1].done, seen[-1].total) == (20, 20)


def test_a_layer_too_small_for_a_download_event_does_not_hide_the_total() -> None:
    seen = states(
        layer("a", "Pulling fs layer"),
        layer("b", "Pulling fs layer"),
        layer("a", "Download complete"),
        layer("b", "Downloading", 7, 70),
    )
    assert (seen[-1].done, seen[-1].total) == (7, 70)


def test_a_build_counts_its_steps() -> None:
    assert build_step("Step 3/7 : RUN pip install", "gateway:1") == Progress("Building gateway:1", 2, 7, "steps")
    assert build_step(" ---> Running in 0123", "gateway:1") is None


def test_a_failed_build_shows_what_its_last_step_wrote_to_stderr() -> None:
    log = BuildLog()
    for text in (
        "Step 1/2 : FROM base",
        " ---> 0123\n",
        "Step 2/2 : RUN make",
        " ---> Running in 4567\n",
        "compiling\n",
        "\x1b[91merror: no such header\n\x1b[0m",
        "Removing intermediate container 4567\n",
    ):
        log.feed(text)
    assert log.relevant_lines() == ("error: no such header",)


def test_a_failed_build_that_wrote_nothing_to_stderr_shows_its_last_lines() -> None:
    log = BuildLog()
    for text in ("Step 1/1 : RUN make\n", "one\n", "two\n", "three\n"):
        log.feed(text)
    assert log.relevant_lines(2) == ("two", "three")


def test_a_build_wants_its_base_until_that_is_here() -> None:
    log = BuildLog()
    log.feed("Step 1/2 : FROM base")
    assert log.wants_base
    log.feed(" ---> 0123\n")
    assert not log.wants_base
