"""A policy as data: what the control socket and a policy file say."""

import json
from pathlib import Path
from typing import Any

import pytest

from pmp_gateway.request_policy import ALLOWABLE_FIELDS, NEVER_ALLOWED, RequestPolicy

GUIDE = Path(__file__).parents[3] / "docs" / "gateway.md"


def test_a_policy_survives_the_way_through_json() -> None:
    policy = RequestPolicy(max_tokens=5, allow_fields=("priority",), media_domains=("example.com",))
    assert RequestPolicy.from_data(json.loads(json.dumps(policy.as_data()))) == policy


def test_what_is_not_said_is_as_strict_as_can_be() -> None:
    assert RequestPolicy.from_data({}) == RequestPolicy()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"max_token": 5}, "max_token"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_n": 0}, "max_n"),
        ({"max_json_depth": 100_000}, "max_json_depth"),
        ({"media_domains": "example.com"}, "media_domains"),
        ({"allow_fields": ["prompt_embeds"]}, "prompt_embeds"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused_by_name(data: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RequestPolicy.from_data(data)


def test_the_guide_names_every_field_that_is_refused_or_held_small() -> None:
    section = GUIDE.read_text().split("\n## What a request may ask for\n")[1].split("\n## ")[0]
    assert [name for name in sorted(ALLOWABLE_FIELDS | NEVER_ALLOWED) if f"`{name}`" not in section] == []
