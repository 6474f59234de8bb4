"""Renders a chat template of ours as the engine does."""

import json
from typing import Any, NoReturn

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pmpctl.profiles.templates import builtin_templates


def render(name: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None) -> str:
    """As transformers renders chat templates: sandboxed, blocks trimmed, JSON neither escaped nor sorted."""

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = raise_exception
    template = environment.from_string(builtin_templates()[name].read_text())
    return template.render(messages=messages, tools=tools, add_generation_prompt=True)
