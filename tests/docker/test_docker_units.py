"""Units as containers: started, seen, stopped, removed; and nothing of somebody else's touched."""

import hashlib
import json
import signal
from pathlib import Path

import pytest

from pmpctl.errors import NameConflict, RuntimeFailed
from pmpctl.planning.plan import UNLESS_CRASH_LOOP, HealthCheck, Mount, PortBinding
from pmpctl.runtime.base import LogQuery, UnitState
from pmpctl.runtime.docker import DockerRuntime
from pmpctl.runtime.docker_connect import EngineClient
from pmpctl.workspace import Workspace
from tests.docker.conftest import UnitMaker
from tests.docker.containers import foreign_container, is_running
from tests.support import eventually

pytestmark = pytest.mark.docker


def state_of(runtime: DockerRuntime, state: UnitState) -> UnitState:
    found = runtime.state(state.id)
    assert found is not None
    return found


def ended(runtime: DockerRuntime, state: UnitState) -> UnitState:
    eventually(lambda: not state_of(runtime, state).alive, 20)
    return state_of(runtime, state)


def network_of(client: EngineClient, container: str) -> str:
    (network,) = client.inspect_container(container)["NetworkSettings"]["Networks"].values()
    return str(network["NetworkID"])


def test_a_started_unit_tells_what_it_is_and_how_it_does(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    unit = make_unit()
    runtime.check(unit)
    assert list(runtime.prepare(unit)) == []
    started = runtime.start(unit)
    assert (started.name, started.role, started.profile) == (unit.name, "engine", "demo")
    assert (started.plan_hash, started.image) == ("0123456789abcdef", unit.image)
    assert (started.phase, started.health, started.exit_code) == ("running", "unknown", None)
    assert started.started_at is not None
    assert started.finished_at is None
    assert [state.id for state in runtime.units()] == [started.id]
    usage = runtime.usage(started)
    assert usage is not None
    assert 1_000_000 < usage.memory_bytes < 200_000_000
    assert usage.pids >= 1


def test_the_engine_of_a_docker_context_is_used(engine: str, workspace: Workspace, tmp_path: Path) -> None:
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"lab").hexdigest()
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": "lab", "Endpoints": {"docker": {"Host": engine}}}))
    runtime = DockerRuntime.connect(workspace, None, {"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "lab"})
    info = runtime.info()
    assert (info.kind, info.endpoint, info.why) == ("docker", engine, "context 'lab' (DOCKER_CONTEXT)")
    assert int(info.version.split(".")[0]) >= 20
    runtime.close()


def test_an_ended_unit_tells_how_it_ended(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    state = ended(runtime, runtime.start(make_unit("raise SystemExit(3)", restart="no")))
    assert (state.phase, state.exit_code, state.oom_killed) == ("exited", 3, False)
    assert state.finished_at is not None
    assert state.started_at is not None
    assert state.finished_at >= state.started_at
    assert runtime.usage(state) is None


def test_a_unit_that_ran_out_of_memory_says_so(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker
) -> None:
    wait_and_grow = """
import pathlib, time
while not pathlib.Path("/tmp/go").exists():
    time.sleep(0.02)
hoard = bytearray(512 * 1024 * 1024)
"""
    started = runtime.start(make_unit(wait_and_grow, restart="no"))
    client.update_container(started.id, mem_limit="64m", memswap_limit="64m")
    runtime.execute(started, ["touch", "/tmp/go"])
    state = ended(runtime, started)
    assert (state.exit_code, state.oom_killed) == (128 + signal.SIGKILL, True)


def test_a_unit_that_crashes_again_and_again_is_seen_doing_so_and_can_be_stopped(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    started = runtime.start(make_unit("raise SystemExit(1)"))
    eventually(lambda: state_of(runtime, started).restart_count >= 2, 20)
    assert state_of(runtime, started).alive
    runtime.stop(started, 1)
    assert ended(runtime, started).phase == "exited"


def test_stop_kills_a_program_that_ignores_the_request_and_it_stays_down(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
    started = runtime.start(make_unit(deaf, restart="always"))
    eventually(lambda: [line.text for line in runtime.logs(started, LogQuery())] == ["up"])
    runtime.stop(started, 1)
    state = state_of(runtime, started)
    assert (state.phase, state.exit_code, state.oom_killed) == ("exited", 128 + signal.SIGKILL, False)
    assert state.restart_count == 0


def test_stopping_and_removing_again_what_is_gone_is_no_error(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    started = runtime.start(make_unit())
    for _ in range(2):
        runtime.stop(started, 1)
    for _ in range(2):
        runtime.remove(started)
    runtime.stop(started, 1)
    assert runtime.state(started.id) is None
    assert runtime.units() == ()


def test_start_replaces_a_leftover_of_ours(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    first = runtime.start(make_unit())
    second = runtime.start(make_unit())
    assert [state.id for state in runtime.units()] == [second.id]
    assert first.id != second.id


def test_a_name_that_a_foreign_container_has_is_refused_and_that_container_lives_on(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str
) -> None:
    unit = make_unit()
    with foreign_container(client, base_image, unit.name) as foreign:
        for step in (runtime.check, runtime.start):
            with pytest.raises(NameConflict, match=unit.name) as caught:
                step(unit)
            assert f"docker rename {unit.name}" in caught.value.cure
        assert is_running(client, foreign)
    runtime.check(unit)


def test_a_name_that_is_only_part_of_another_s_is_free(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str
) -> None:
    unit = make_unit()
    with foreign_container(client, base_image, f"{unit.name}-of-somebody-else"):
        runtime.check(unit)


def test_foreign_containers_are_neither_seen_nor_touched(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str
) -> None:
    labels = {"io.pmpctl.workspace": "another-00000000", "io.pmpctl.role": "engine"}
    with (
        foreign_container(client, base_image) as plain,
        foreign_container(client, base_image, Labels=labels) as other_workspace,
    ):
        ours = runtime.start(make_unit())
        for foreign in (plain, other_workspace):
            assert runtime.state(foreign) is None
            forged = UnitState(**{**{f: getattr(ours, f) for f in UnitState.__slots__}, "id": foreign})
            runtime.stop(forged, 1)
            runtime.remove(forged)
        runtime.stop(ours, 1)
        runtime.clean()
        assert runtime.units() == ()
        assert is_running(client, plain)
        assert is_running(client, other_workspace)


def test_two_workspaces_live_side_by_side_and_the_gateway_finds_its_own_engine(
    runtime: DockerRuntime, engine: str, make_unit: UnitMaker, tmp_path: Path
) -> None:
    other_workspace = Workspace(tmp_path / "other")
    other = DockerRuntime.connect(other_workspace, engine, {})
    try:
        mine = runtime.start(make_unit())
        labels = {"io.pmpctl.workspace": other_workspace.id, "io.pmpctl.role": "engine"}
        name, network = f"pmpctl-{other_workspace.id}-engine", f"pmpctl-{other_workspace.id}"
        theirs = other.start(make_unit(name=name, network=network, labels=labels))
        assert [state.id for state in runtime.units()] == [mine.id]
        assert [state.id for state in other.units()] == [theirs.id]

        client = runtime.client
        assert network_of(client, mine.id) != network_of(client, theirs.id)
        gateway = runtime.start(make_unit(role="gateway"))
        resolved = runtime.execute(gateway, ["getent", "ahostsv4", "engine"])[1]
        (attached,) = client.inspect_container(mine.id)["NetworkSettings"]["Networks"].values()
        assert {line.split()[0] for line in resolved.splitlines()} == {attached["IPAddress"]}

        for state in runtime.units():
            runtime.remove(state)
        runtime.clean()
        assert state_of(other, theirs).phase == "running"
    finally:
        for state in other.units():
            other.remove(state)
        other.clean()
        other.close()


def test_clean_removes_networks_and_leftovers_and_keeps_the_caches(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, workspace: Workspace
) -> None:
    volume = f"pmpctl-{workspace.id}-compile"
    unit = make_unit("pass", mounts=(Mount("volume", volume, "/var/cache/pmpctl"),), restart="no")
    ended(runtime, runtime.start(unit))
    assert set(runtime.clean()) == {unit.name, unit.network}
    assert client.networks(names=[unit.network]) == []
    assert client.inspect_volume(volume)["Labels"] == {"io.pmpctl.workspace": workspace.id}
    assert runtime.clean() == ()


def test_a_network_that_a_foreign_container_joined_is_kept_and_used_again(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, base_image: str
) -> None:
    unit = make_unit()
    started = runtime.start(unit)
    with foreign_container(client, base_image, HostConfig={"NetworkMode": unit.network}) as guest:
        runtime.remove(started)
        assert runtime.clean() == ()
        again = runtime.start(unit)
        assert network_of(client, again.id) == network_of(client, guest)


def test_a_foreign_network_of_our_name_is_refused(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker
) -> None:
    unit = make_unit()
    foreign = client.create_network(unit.network)["Id"]
    try:
        for step in (runtime.check, runtime.start):
            with pytest.raises(NameConflict, match=unit.network):
                step(unit)
        assert runtime.units() == ()
    finally:
        client.remove_network(foreign)


def test_a_missing_folder_is_an_error_and_not_created(
    runtime: DockerRuntime, make_unit: UnitMaker, tmp_path: Path
) -> None:
    missing = tmp_path / "no such folder"
    with pytest.raises(RuntimeFailed, match="no such folder does not exist"):
        runtime.start(make_unit(mounts=(Mount("bind", str(missing), "/models"),)))
    assert not missing.exists()
    assert runtime.units() == ()


def test_a_user_that_the_image_lacks_is_told_and_nothing_stays_behind(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    with pytest.raises(RuntimeFailed, match="unable to find user nobody-here"):
        runtime.start(make_unit(user="nobody-here"))
    assert runtime.units() == ()


def test_a_program_that_the_image_lacks_ends_with_127(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    state = ended(runtime, runtime.start(make_unit(argv=("vllm", "serve"), restart="no")))
    assert state.exit_code == 127


def test_a_health_check_decides_on_healthy_and_unhealthy(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    check = HealthCheck(
        ("test", "-e", "/tmp/well"), interval_seconds=1, timeout_seconds=5, retries=1, start_period_seconds=1
    )
    started = runtime.start(make_unit(health=check))
    assert started.health == "starting"
    eventually(lambda: state_of(runtime, started).health == "unhealthy", 20)
    runtime.execute(started, ["touch", "/tmp/well"])
    eventually(lambda: state_of(runtime, started).health == "healthy", 20)


def test_a_hardened_unit_can_do_nothing_but_what_it_is_given(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker
) -> None:
    unit = make_unit(
        user="65532:65532",
        read_only=True,
        pids_limit=64,
        shm_size_bytes=256 * 1024**2,
        mounts=(Mount("tmpfs", "", "/tmp", size_bytes=1024**2),),
    )
    started = runtime.start(unit)
    inspected = client.inspect_container(started.id)["HostConfig"]
    assert (inspected["CapDrop"], inspected["Privileged"]) == (["ALL"], False)
    assert not inspected["CapAdd"]
    assert inspected["SecurityOpt"] == ["no-new-privileges:true"]
    assert (inspected["ReadonlyRootfs"], inspected["PidsLimit"], inspected["Init"]) == (True, 64, True)
    assert inspected["RestartPolicy"]["Name"] == "unless-stopped"
    assert inspected["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "20971520"}}
    status = runtime.execute(started, ["cat", "/proc/1/status"])[1]
    assert {"NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} <= set(status.splitlines())
    assert runtime.execute(started, ["touch", "/etc/x"])[0] == 1
    assert runtime.execute(started, ["touch", "/tmp/x"])[0] == 0
    assert runtime.execute(started, ["dd", "if=/dev/zero", "of=/tmp/y", "bs=2M", "count=1"])[0] == 1
    assert "256M" in runtime.execute(started, ["df", "-h", "/dev/shm"])[1]


def test_a_secret_reaches_the_unit_as_a_file_and_stays_out_of_inspect(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "hf_token").write_text("hf_canary")
    mount = Mount("bind", str(secrets), "/run/secrets/pmpctl", read_only=True)
    started = runtime.start(make_unit(mounts=(mount,), env={"HF_TOKEN_PATH": "/run/secrets/pmpctl/hf_token"}))
    assert runtime.execute(started, ["cat", "/run/secrets/pmpctl/hf_token"]) == (0, "hf_canary")
    assert "hf_canary" not in json.dumps(client.inspect_container(started.id))


def test_a_command_inside_gives_its_status_and_both_its_outputs(runtime: DockerRuntime, make_unit: UnitMaker) -> None:
    started = runtime.start(make_unit())
    status, output = runtime.execute(started, ["sh", "-c", "echo out; echo err >&2; exit 5"])
    assert (status, set(output.splitlines())) == (5, {"out", "err"})
    status, output = runtime.execute(started, ["no-such-program"])
    assert status in (126, 127)
    assert "no-such-program" in output
    runtime.stop(started, 1)
    with pytest.raises(RuntimeFailed, match="not running"):
        runtime.execute(started, ["true"])


def test_a_published_port_answers_on_its_address_only(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker, free_port: int
) -> None:
    unit = make_unit(ports=(PortBinding("127.0.0.1", free_port, 8000),))
    started = runtime.start(unit)
    published = client.inspect_container(started.id)["NetworkSettings"]["Ports"]
    assert published == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port)}]}


def test_a_crash_loop_is_ended_also_if_the_program_says_that_all_is_well(
    runtime: DockerRuntime, make_unit: UnitMaker
) -> None:
    started = runtime.start(make_unit("print('no such model')", restart=UNLESS_CRASH_LOOP))
    eventually(lambda: state_of(runtime, started).phase == "dead", 60)
    dead = state_of(runtime, started)
    assert (dead.alive, dead.crash_looped, dead.restart_count, dead.exit_code) == (False, True, 4, None)
    lines = [line.text for line in runtime.logs(dead, LogQuery())]
    assert lines[:5] == ["no such model"] * 5
    assert "crash loop: it ended 5 times in a row" in lines[5]


def test_what_was_stopped_stays_down_whatever_happens_to_docker(
    runtime: DockerRuntime, client: EngineClient, make_unit: UnitMaker
) -> None:
    started = runtime.start(make_unit(restart=UNLESS_CRASH_LOOP))
    assert client.inspect_container(started.id)["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
    runtime.stop(started, 1)
    assert state_of(runtime, started).phase == "exited"
    assert client.inspect_container(started.id)["HostConfig"]["RestartPolicy"]["Name"] == "no"
