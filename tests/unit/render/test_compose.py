"""A compose file says what the plan says, in words that every compose understands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pmpctl.planning.host import LocalFile
from pmpctl.planning.plan import ImageBuild, Plan
from pmpctl.render.compose import compose_file, compose_folder
from pmpctl.render.compose_service import Layout
from tests.unit.planning.factory import ROOT, plan

FOLDER = ROOT / "compose"
BUILD = ImageBuild((("Dockerfile", ROOT / "gateway/Dockerfile"),), {"BASE_IMAGE": "python:3.11-slim"})


def document(made: Plan, folder: Path = FOLDER) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(compose_file(made, Layout(folder, ROOT), "coding"))
    return loaded


def engine(profile: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    service: dict[str, Any] = document(plan(profile, **more))["services"]["engine"]
    return service


def gateway(**more: Any) -> dict[str, Any]:
    service: dict[str, Any] = document(plan(**more))["services"]["gateway"]
    return service


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Target -> source of what the service mounts from the host or from a volume."""
    found = {}
    for item in service["volumes"]:
        if isinstance(item, str):
            source, target = item.removesuffix(":ro").split(":")
            found[target] = source
        elif "source" in item:
            found[item["target"]] = item["source"]
    return found


def test_the_engine_runs_with_the_plan_s_arguments_whatever_the_image_s_entry_point() -> None:
    made = plan()
    service = document(made)["services"]["engine"]

    assert (*service["entrypoint"], *service["command"]) == made.engine.argv
    assert service["environment"] == made.engine.env


def test_the_gateway_finds_the_engine_by_its_service_s_name() -> None:
    services = document(plan())["services"]

    assert services["gateway"]["environment"]["BACKEND_URL"] == "http://engine:8002"
    assert "engine" in services


def test_pmpctl_never_takes_a_compose_stack_for_its_own() -> None:
    made = plan()
    text = compose_file(made, Layout(FOLDER, ROOT), "coding")

    assert "container_name" not in text
    assert "io.pmpctl" not in text
    assert made.workspace not in text


def test_folders_of_the_workspace_are_named_relative_to_the_compose_file() -> None:
    found = mounts(engine())

    assert found["/root/.cache/huggingface"] == "../models"
    assert found["/run/secrets/pmpctl"] == "../.pmpctl/secrets"
    assert mounts(gateway())["/etc/pmp-gateway"] == "../config"


def test_a_compose_file_in_the_workspace_itself_names_folders_with_a_dot() -> None:
    service = document(plan(), folder=ROOT)["services"]["engine"]
    assert mounts(service)["/root/.cache/huggingface"] == "./models"


def test_a_file_outside_the_workspace_is_named_absolutely_and_must_be_there() -> None:
    template = {"mine.jinja": LocalFile(Path("/etc/llm/mine.jinja"), "abc123")}
    service = engine({"chat_template": "mine.jinja"}, files=template)

    assert {
        "type": "bind",
        "source": "/etc/llm/mine.jinja",
        "target": "/srv/chat-template-abc123.jinja",
        "read_only": True,
    } in service["volumes"]


def test_the_compile_cache_is_a_volume_of_the_project_and_of_one_image() -> None:
    made = [document(plan({"image": f"vllm/vllm-openai:v0.32.{patch}"})) for patch in (0, 1)]

    names = [mounts(each["services"]["engine"])["/var/cache/pmpctl"] for each in made]
    assert [list(each["volumes"]) for each in made] == [[name] for name in names]
    assert names[0] != names[1]


def test_ports_are_published_as_planned() -> None:
    assert engine()["ports"] == ["127.0.0.1:8002:8002"]
    assert gateway()["ports"] == ["127.0.0.1:8000:8000"]
    assert gateway(gateway={"listen": "[::1]:9000"})["ports"] == ["[::1]:9000:8000"]
    assert gateway(gateway={"listen": "localhost:9000"})["ports"] == ["127.0.0.1:9000:8000"]


def test_both_services_give_up_what_they_do_not_need() -> None:
    for service in (engine(), gateway()):
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"] is True
        assert "privileged" not in service
    assert gateway()["read_only"] is True
    assert gateway()["user"] == "1000:1000"
    assert gateway()["pids_limit"] == 256


def test_the_gateway_s_writable_places_are_in_memory() -> None:
    in_memory = [item["target"] for item in gateway()["volumes"] if isinstance(item, dict) and item["type"] == "tmpfs"]
    assert in_memory == ["/run/pmp-gateway", "/tmp"]


def test_health_restarts_stops_logs_and_memory_are_as_planned() -> None:
    service = engine({"start_timeout": 900, "shm_size_gib": 8}, host={"memlock": "unlimited"})

    assert service["healthcheck"]["test"][:2] == ["CMD", "python3"]
    assert service["healthcheck"]["start_period"] == "900s"
    assert service["restart"] == "unless-stopped"
    assert service["stop_grace_period"] == "60s"
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "20m", "max-file": "3"}}
    assert service["shm_size"] == "8g"
    assert service["ulimits"] == {"memlock": -1}


@pytest.mark.parametrize(
    ("access", "gpus", "request_"),
    [
        ("device-requests", "all", {"count": "all", "capabilities": ["gpu"]}),
        ("device-requests", [0, "MIG-1"], {"device_ids": ["0", "MIG-1"], "capabilities": ["gpu"]}),
        ("cdi", "all", {"driver": "cdi", "device_ids": ["nvidia.com/gpu=all"], "capabilities": ["gpu"]}),
        ("cdi", [1], {"driver": "cdi", "device_ids": ["nvidia.com/gpu=1"], "capabilities": ["gpu"]}),
    ],
)
def test_gpus_are_reserved_by_the_way_of_the_plan(access: str, gpus: object, request_: object) -> None:
    service = engine(host={"gpu_access": access, "gpus": gpus})

    assert service["deploy"]["resources"]["reservations"]["devices"] == [request_]
    assert "runtime" not in service


def test_gpus_by_runtime_are_named_in_the_environment() -> None:
    service = engine(host={"gpu_access": "runtime", "gpus": [0, 1]})

    assert service["runtime"] == "nvidia"
    assert service["environment"]["NVIDIA_VISIBLE_DEVICES"] == "0,1"
    assert "deploy" not in service


def test_an_engine_on_the_cpu_asks_for_no_gpu() -> None:
    service = engine({"device": "cpu"})
    assert not {"deploy", "runtime"} & set(service)


def test_a_dollar_in_a_value_stays_a_dollar() -> None:
    service = engine(hub_environment={"HF_ENDPOINT": "https://hub.example/$team"})
    assert service["environment"]["HF_ENDPOINT"] == "https://hub.example/$$team"


def test_the_gateway_is_built_from_its_folder_and_a_ready_image_is_not() -> None:
    assert gateway(gateway_build=BUILD)["build"] == {
        "context": "../gateway",
        "args": {"BASE_IMAGE": "python:3.11-slim"},
    }
    ready = gateway(gateway={"image": "registry.example/gateway:1"}, gateway_build=BUILD)
    assert ready["image"] == "registry.example/gateway:1"
    assert "build" not in ready


def folder() -> dict[str, str]:
    plans = [plan(), plan({"name": "tiny", "image": "vllm/vllm-openai:v0.31.0", "device": "cpu"})]
    return compose_folder(plans, "coding", Layout(FOLDER, ROOT), "--directory compose")


def test_a_folder_holds_an_engine_for_each_profile_and_model_profile_picks_it() -> None:
    files = folder()
    stack = yaml.safe_load(files["compose.yaml"])

    assert {"engines/coding.yaml", "engines/tiny.yaml"} < set(files)
    assert stack["services"]["engine"] == {
        "extends": {"file": "engines/${MODEL_PROFILE:-coding}.yaml", "service": "engine"}
    }
    assert "MODEL_PROFILE=coding" in files[".env.example"]


def test_a_folder_s_stack_declares_the_volumes_of_every_engine() -> None:
    files = folder()
    of_engines = [yaml.safe_load(files[f"engines/{name}.yaml"])["volumes"] for name in ("coding", "tiny")]

    assert yaml.safe_load(files["compose.yaml"])["volumes"] == of_engines[0] | of_engines[1]


def test_an_engine_s_file_counts_paths_from_its_own_folder() -> None:
    service = yaml.safe_load(folder()["engines/coding.yaml"])["services"]["engine"]
    assert mounts(service)["/root/.cache/huggingface"] == "../../models"


def test_the_gateway_s_user_of_a_folder_can_be_chosen_where_it_runs() -> None:
    service = yaml.safe_load(folder()["compose.yaml"])["services"]["gateway"]
    assert service["user"] == "${GATEWAY_USER:-1000:1000}"


def test_every_file_says_that_it_is_rendered_and_by_what() -> None:
    for text in folder().values():
        assert text.startswith("# Rendered by `pmpctl render compose --directory compose`.")
