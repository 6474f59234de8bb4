"""What a profile lets requests ask for, as the gateway is told when it opens for that profile."""

from pmp_gateway.control_schema import RequestPolicy
from pmpctl.profiles.model import Profile


def request_policy(profile: Profile) -> RequestPolicy:
    limits = profile.requests
    return RequestPolicy(
        max_tokens=limits.max_tokens,
        max_n=limits.max_n,
        max_prompts=limits.max_prompts,
        max_logprobs=limits.max_logprobs,
        allow_fields=tuple(limits.allow_fields),
        deny_fields=tuple(limits.deny_fields),
        media_domains=tuple(limits.media_domains),
    )
