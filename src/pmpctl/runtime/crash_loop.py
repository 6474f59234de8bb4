"""When a unit that ends again and again is no longer started."""

QUICK_FAILURES = 5
# Long, because an engine loads for minutes before it finds that its memory is too small.
QUICK_SECONDS = 600

CRASH_LOOP = "crash loop"


def crash_loop(failures: int = QUICK_FAILURES, quick_seconds: float = QUICK_SECONDS) -> str:
    return f"{CRASH_LOOP}: it ended {failures} times in a row within {quick_seconds:g} s of its start"
