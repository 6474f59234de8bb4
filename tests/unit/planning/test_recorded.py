"""What a file keeps of a plan: all of it, or nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmpctl.planning.build import build_plan
from pmpctl.planning.host import LocalFile
from pmpctl.planning.plan import ImageBuild, Plan, RuntimeKind
from pmpctl.planning.recorded import SCHEMA, FitFigures, RecordedPlan, plan_data, plan_from_data
from pmpctl.profiles.load import load
from pmpctl.workspace import Workspace
from tests.unit.planning.factory import FACTS, plan

SHIPPED = Path(__file__).parents[3] / "profiles.toml"

words = st.text(min_size=1, max_size=20)
sizes = st.integers(min_value=1, max_value=2**50)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
fits = st.none() | st.builds(
    FitFigures,
    verdict=words,
    card=words,
    needed_gpu_bytes=sizes,
    kv_available_gib=st.floats(allow_nan=False),
    kv_needed_gib=st.floats(allow_nan=False),
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    device = draw(st.sampled_from(["cuda", "cpu"]))
    made = plan(
        {
            "device": device,
            "max_model_len": draw(st.none() | st.integers(1, 10**6)),
            "shm_size_gib": draw(st.integers(1, 64)),
            "start_timeout": draw(st.integers(1, 10**5)),
        },
        host={"gpus": draw(st.just("all") | st.lists(st.integers(0, 7), min_size=1, unique=True))},
        runtime=draw(st.sampled_from(["docker", "process"])),
        gpu_methods=draw(st.permutations(["cdi", "device-requests", "runtime"])),
        uid=draw(st.integers(0, 2**31)),
        gateway_build=draw(st.none() | st.just(ImageBuild((("Dockerfile", Path("/pkg/Dockerfile")),), {"BASE": "b"}))),
    )
    engine = replace(
        made.engine,
        argv=(*made.engine.argv, *draw(st.lists(words, max_size=3))),
        env={**made.engine.env, **draw(st.dictionaries(words, words, max_size=3))},
        memlock_bytes=draw(st.none() | st.integers(-1, 2**40)),
    )
    requests = draw(st.dictionaries(words, json_values, max_size=4))
    return replace(made, engine=engine, requests=requests, warnings=tuple(draw(st.lists(words, max_size=2))))


def through_a_file(recorded: RecordedPlan) -> RecordedPlan:
    return plan_from_data(json.loads(json.dumps(plan_data(recorded))))


@given(plan=plans(), fit=fits)
def test_a_plan_comes_back_as_it_was(plan: Plan, fit: FitFigures | None) -> None:
    recorded = RecordedPlan(plan=plan, fit=fit)

    back = through_a_file(recorded)

    assert back == recorded
    assert back.plan.hash == plan.hash
    assert [unit.hash for unit in back.plan.units] == [unit.hash for unit in plan.units]


@pytest.mark.parametrize("runtime", get_args(RuntimeKind))
def test_every_shipped_profile_comes_back_as_it_was(runtime: RuntimeKind) -> None:
    file = load(SHIPPED, {})

    class AnyFile(dict[str, LocalFile]):
        def __missing__(self, name: str) -> LocalFile:
            return LocalFile(Path("/pkg") / name.replace(":", "_"), "0123456789ab")

    for name in file.profiles:
        made = build_plan(Workspace(Path("/srv/llm")), file, name, replace(FACTS, runtime=runtime, files=AnyFile()))
        recorded = RecordedPlan(plan=made)
        assert through_a_file(recorded) == recorded


def data(**changes: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(json.dumps(plan_data(RecordedPlan(plan=plan()))))
    return written | changes


def changed_plan(**changes: Any) -> dict[str, Any]:
    return data(plan=data()["plan"] | changes)


def changed_engine(**changes: Any) -> dict[str, Any]:
    return changed_plan(engine=data()["plan"]["engine"] | changes)


DAMAGED: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "a word": "text",
    "no members": {},
    "another schema": data(schema=SCHEMA + 1),
    "no plan": data(plan=None),
    "an unknown member": data(more=1),
    "an unknown member of the plan": changed_plan(colour="red"),
    "an unknown runtime": changed_plan(runtime="podman"),
    "a number as text": changed_plan(start_timeout_seconds="600"),
    "arguments as text": changed_engine(argv="vllm serve"),
    "a truth as number": changed_engine(read_only=1),
    "a number in the environment": changed_engine(env={"A": 1}),
    "an engine without its hash": changed_engine(labels={}),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_what_is_not_exactly_a_plan_is_refused_in_one_line(damaged: Any) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        plan_from_data(damaged)


def test_a_record_of_before_a_field_existed_is_still_a_plan() -> None:
    older = data()
    del older["plan"]["engine"]["working_dir"]

    assert plan_from_data(older).engine_hash == plan().engine.hash
