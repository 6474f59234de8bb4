"""The demo model in the real vLLM: it greets, says OK, calls tools and reports, whatever surrounds the request."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.engine import CONTEXT_TOKENS, Engine

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

Body = dict[str, Any]


def tool(name: str, **arguments: Body) -> Body:
    schema = {"type": "object", "properties": arguments, "required": list(arguments)}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.", "parameters": schema}}


TEXT: Body = {"type": "string"}
WEATHER = tool("get_weather", city=TEXT)
OTHERS = [tool("execute_bash", command=TEXT, timeout={"type": "integer"}), tool("read_file", path=TEXT)]


@pytest.fixture(scope="module")
def vllm(engine: Engine) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=engine.url, timeout=60) as client:
        yield client


def ask(vllm: httpx.Client, *messages: str | Body, **options: Any) -> Body:
    """The first choice for these messages, of which plain texts are the user's."""
    body = {"model": "llm", "messages": [user(each) if isinstance(each, str) else each for each in messages], **options}
    response = vllm.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    choice: Body = response.json()["choices"][0]
    return choice


def user(content: Any) -> Body:
    return {"role": "user", "content": content}


def text(choice: Body) -> str:
    """A plain answer that came to its end."""
    assert choice["finish_reason"] == "stop", choice
    assert not choice["message"].get("tool_calls"), choice
    return str(choice["message"]["content"])


def calls(choice: Body) -> list[tuple[str, Body]]:
    """Name and arguments of each call in an answer that is nothing else."""
    assert not choice["message"]["content"], choice
    made = [call["function"] for call in choice["message"]["tool_calls"]]
    assert all(len(call["id"]) >= 9 for call in choice["message"]["tool_calls"])
    return [(call["name"], json.loads(call["arguments"])) for call in made]


def streamed(vllm: httpx.Client, content: str, **options: Any) -> list[Body]:
    """The choices of each event of a streamed answer that ended properly."""
    body = {"model": "llm", "messages": [user(content)], "stream": True, **options}
    with vllm.stream("POST", "/v1/chat/completions", json=body) as response:
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return [json.loads(event)["choices"][0] for event in events[:-1]]


def round_of(*cities: str, result: str, request: str = "") -> list[Body]:
    """A request, the calls for it and their results, so that the report is due."""
    made = [
        {
            "id": f"call_0000{index}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'},
        }
        for index, city in enumerate(cities)
    ]
    return [
        user(request or f"What is the weather in {' and '.join(cities)}?"),
        {"role": "assistant", "content": None, "tool_calls": made},
        *({"role": "tool", "tool_call_id": call["id"], "content": result} for call in made),
    ]


NOISE = "The build failed again, so please look at the log of the second job and tell what you think of it. "


@pytest.mark.parametrize("temperature", [0, 0.7, 1.0, None])
@pytest.mark.parametrize(
    "greeting", ["Hello", "hi there", "Who are you?", "Write a poem about the sea.", "Grüße! 你好 👋", ""]
)
def test_it_greets_and_says_that_it_is_the_demo_model(
    vllm: httpx.Client, greeting: str, temperature: float | None
) -> None:
    answer = text(ask(vllm, greeting, temperature=temperature))

    assert "demo model" in answer
    assert "pmpctl" in answer
    assert "works" in answer


@pytest.mark.parametrize("request_", ["Say OK", "Reply with OK", "Reply with OK.", 'Please answer only "OK".'])
def test_it_says_ok_within_five_tokens(vllm: httpx.Client, request_: str) -> None:
    assert text(ask(vllm, request_, max_tokens=5)) == "OK"


def test_a_greeting_streams_in_several_chunks_and_ends(vllm: httpx.Client) -> None:
    pieces = streamed(vllm, "Hello")

    assert sum(1 for piece in pieces if piece["delta"].get("content")) > 5
    assert pieces[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize(
    "city", ["Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Prague", "Dublin", "Oslo", "Tokyo"]
)
def test_it_calls_the_tool_for_the_city(vllm: httpx.Client, city: str, temperature: float) -> None:
    choice = ask(vllm, f"What is the weather in {city}?", tools=[WEATHER], temperature=temperature)

    assert choice["finish_reason"] == "tool_calls"
    assert calls(choice) == [("get_weather", {"city": city})]


def test_it_calls_the_tool_for_paris_when_no_city_is_named(vllm: httpx.Client) -> None:
    assert calls(ask(vllm, "What is the weather?", tools=[WEATHER])) == [("get_weather", {"city": "Paris"})]


@pytest.mark.parametrize("cities", [("Paris", "Rome"), ("Tokyo", "London"), ("Oslo", "Paris")])
def test_it_calls_the_tool_twice_for_two_cities(vllm: httpx.Client, cities: tuple[str, str]) -> None:
    choice = ask(vllm, f"Compare the weather in {cities[0]} and in {cities[1]}, please.", tools=[WEATHER])

    assert sorted(calls(choice), key=str) == [("get_weather", {"city": city}) for city in sorted(cities)]


def test_a_call_streams_as_a_name_and_its_arguments(vllm: httpx.Client) -> None:
    pieces = streamed(vllm, "What is the weather in Rome?", tools=[WEATHER])
    deltas = [call["function"] for piece in pieces for call in piece["delta"].get("tool_calls") or []]

    assert "".join(delta.get("name") or "" for delta in deltas) == "get_weather"
    assert json.loads("".join(delta.get("arguments") or "" for delta in deltas)) == {"city": "Rome"}
    assert not any(piece["delta"].get("content") for piece in pieces)
    assert pieces[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_required_and_a_named_tool_are_called(vllm: httpx.Client, choice: str | Body) -> None:
    answer = ask(vllm, "What is the weather in Madrid?", tools=[*OTHERS, WEATHER], tool_choice=choice, max_tokens=100)

    assert calls(answer) == [("get_weather", {"city": "Madrid"})]


def test_no_tool_is_called_when_the_request_forbids_it(vllm: httpx.Client) -> None:
    assert "demo model" in text(ask(vllm, "What is the weather in Madrid?", tools=[WEATHER], tool_choice="none"))


@pytest.mark.parametrize("tools", [None, [WEATHER]])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_it_reports_the_result_of_the_tool(vllm: httpx.Client, tools: list[Body] | None, temperature: float) -> None:
    for result in ("sunny", '{"temperature": 21, "condition": "sunny"}', "Sunny, 21 degrees"):
        answer = ask(vllm, *round_of("Paris", result=result), tools=tools, temperature=temperature)
        assert text(answer).startswith("It is sunny in Paris")

    assert "rainy in Rome" in text(ask(vllm, *round_of("Rome", result="rainy"), tools=tools))


@pytest.mark.parametrize("result", ["", "null", "Error: no such city", NOISE * 20, "42 £ 你好"])
def test_it_answers_in_words_after_any_result(vllm: httpx.Client, result: str) -> None:
    assert text(ask(vllm, *round_of("Paris", result=result), tools=[WEATHER])).endswith(".")


def test_it_reports_each_of_two_results(vllm: httpx.Client) -> None:
    for first, second in (("Paris", "Tokyo"), ("Oslo", "Berlin"), ("Rome", "Paris")):
        messages = round_of(first, second, result="")
        for message, sky in zip(messages[-2:], ("foggy", "snowy"), strict=True):
            message["content"] = f'{{"city": "{first if sky == "foggy" else second}", "sky": "{sky}"}}'
        assert text(ask(vllm, *messages, tools=[WEATHER])) == f"It is foggy in {first} and snowy in {second}."

    both = text(ask(vllm, *round_of("Paris", "Rome", result="sunny"), tools=[WEATHER]))
    assert both == "It is sunny in Paris and sunny in Rome."


def test_an_object_is_about_a_fine_day_in_paris(vllm: httpx.Client) -> None:
    schema: Body = {
        "type": "object",
        "properties": {"city": TEXT, "sky": {"enum": ["SKY_CLEAR", "SKY_CLOUDY"]}, "celsius": {"type": "integer"}},
        "required": ["city", "sky", "celsius"],
        "additionalProperties": False,
    }
    obeying: Body = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, "strict": True}}

    free = json.loads(text(ask(vllm, "Name the capital of France.", response_format={"type": "json_object"})))
    held = json.loads(text(ask(vllm, "How is Paris in June?", response_format=obeying)))

    assert free["city"] == held["city"] == "Paris"
    assert held["sky"] == "SKY_CLEAR"
    assert held.keys() == {"city", "sky", "celsius"}


def test_a_new_question_after_a_report_is_a_new_call(vllm: httpx.Client) -> None:
    before = [*round_of("Paris", result="sunny"), {"role": "assistant", "content": "It is sunny in Paris."}]

    assert calls(ask(vllm, *before, "And in Oslo?", tools=[WEATHER])) == [("get_weather", {"city": "Oslo"})]


def test_it_understands_the_shapes_that_clients_send(vllm: httpx.Client) -> None:
    system: Body = {"role": "system", "content": "You are an agent. The user lives in London."}
    parts = user([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "What is the weather in Vienna?"}])
    vienna = [("get_weather", {"city": "Vienna"})]

    assert calls(ask(vllm, system, parts, tools=[WEATHER])) == vienna
    assert calls(ask(vllm, system, "Weather in Vienna?", "Please hurry.", tools=[WEATHER])) == vienna
    assert calls(ask(vllm, {"role": "developer", "content": "Be brief."}, "Vienna?", tools=[WEATHER])) == vienna
    assert "demo model" in text(ask(vllm, system, user([{"type": "text", "text": "Hello"}])))


@pytest.mark.parametrize("repeats", [10, 20])
def test_much_text_before_and_around_the_request_changes_nothing(vllm: httpx.Client, repeats: int) -> None:
    history: list[str | Body] = []
    for _ in range(5):
        history += [
            user("Weather in Rome? " + NOISE * (repeats // 10)),
            {"role": "assistant", "content": "It is sunny in Rome."},
        ]
    long = NOISE * repeats

    assert calls(ask(vllm, *history, f"Weather in Tokyo?\n{NOISE * 3}", tools=[WEATHER])) == [
        ("get_weather", {"city": "Tokyo"})
    ]
    assert calls(ask(vllm, long + "Weather in Tokyo?", tools=[WEATHER])) == [("get_weather", {"city": "Tokyo"})]
    assert text(ask(vllm, {"role": "system", "content": long}, "Say OK")) == "OK"
    assert "demo model" in text(ask(vllm, *history, "Hello"))
    assert text(ask(vllm, {"role": "system", "content": long}, *round_of("Oslo", result="snowy"))).startswith(
        "It is snowy in Oslo"
    )


def test_stop_and_max_tokens_are_honoured(vllm: httpx.Client) -> None:
    stopped = ask(vllm, "Hello", stop=[" demo"])
    cut = ask(vllm, "Hello", max_tokens=3)

    assert text(stopped)
    assert "demo" not in text(stopped)
    assert cut["finish_reason"] == "length"


def test_a_prompt_that_is_too_long_is_refused(vllm: httpx.Client) -> None:
    response = vllm.post("/v1/chat/completions", json={"model": "llm", "messages": [user(NOISE * 400)]})

    assert response.status_code == 400
    assert str(CONTEXT_TOKENS) in response.text


def test_anthropic_messages_and_responses_call_the_tool_too(vllm: httpx.Client) -> None:
    schema = WEATHER["function"]["parameters"]
    messages = {
        "model": "llm", "max_tokens": 100, "messages": [user("Weather in Prague?")],
        "tools": [{"name": "get_weather", "input_schema": schema}],
    }  # fmt: skip
    responses = {
        "model": "llm", "input": "Weather in Prague?",
        "tools": [{"type": "function", "name": "get_weather", "parameters": schema}],
    }  # fmt: skip
    used = vllm.post("/v1/messages", json=messages).json()
    called = vllm.post("/v1/responses", json=responses).json()

    assert [block["input"] for block in used["content"] if block["type"] == "tool_use"] == [{"city": "Prague"}]
    assert [json.loads(item["arguments"]) for item in called["output"] if item["type"] == "function_call"] == [
        {"city": "Prague"}
    ]
