"""What the gateway is held to."""

from bench.goals import Goal

GOALS = (
    Goal("cpu_per_request_us", 0.65, peer="vllm-router"),
    Goal("cpu_per_request_us", 0.65, peer="sglang-router"),
    Goal("requests_per_second", 1.3, at_most=False, peer="vllm-router"),
    Goal("requests_per_second", 1.3, at_most=False, peer="sglang-router"),
    Goal("cpu_per_chunk_us", 1.0, peer="sglang-router"),
    Goal("requests_per_second", 100, at_most=False, peer="litellm"),
    Goal("added_first_byte_us", 500),
    Goal("abort_busy_worst_ms", 5),
    Goal("abort_quiet_worst_ms", 5),
    Goal("abort_pending_worst_ms", 5),
    Goal("idle_mb_per_1000", 20),
    Goal("stalled_growth_mb", 5),
    Goal("fairness_slowest", 0.5, at_most=False),
    Goal("requests_per_second", 0.7, at_most=False, peer="nginx"),
    Goal("cpu_per_request_us", 1.6, peer="nginx"),
    Goal("cpu_per_chunk_us", 1.35, peer="nginx"),
)
