"""LiteLLM's client, in the Python that it is installed for: calls on stdin, events on stdout, both as lines of JSON.

A call names an asynchronous function of LiteLLM and its arguments. Each chunk of a stream is an event `chunk`; the last
event is `answer`, `end` or `error`. With `leave_after` the stream is closed after that many chunks.
"""

import asyncio
import json
import sys
from typing import Any

import litellm

litellm.suppress_debug_info = True


async def run(function: str, leave_after: int | None, arguments: dict[str, Any]) -> None:
    try:
        answer = await getattr(litellm, function)(**arguments)
        if not arguments.get("stream"):
            tell(event="answer", data=answer.model_dump(mode="json"))
            return
        number = 0
        async for chunk in answer:
            tell(event="chunk", data=chunk.model_dump(mode="json"))
            number += 1
            if number == leave_after:
                await answer.aclose()
                break
        tell(event="end")
    except Exception as error:  # noqa: BLE001 - whatever a user of LiteLLM would see is what the test asks for
        headers = getattr(error, "litellm_response_headers", None) or {}
        tell(
            event="error",
            classes=[each.__name__ for each in type(error).__mro__],
            status=getattr(error, "status_code", None),
            message=str(error),
            retry_after=headers.get("retry-after"),
        )


def tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


async def main() -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        call = json.loads(line)
        await run(call["function"], call["leave_after"], call["arguments"])


if __name__ == "__main__":
    asyncio.run(main())
