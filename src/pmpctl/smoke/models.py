"""What the API itself says of its model."""

from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Skipped


def max_model_len(api: Api) -> int:
    """The context of the model that is asked, as the API has it, else as the plan has it.

    Raises Skipped where neither tells it.
    """
    answer = api.request("GET", "/v1/models").require_ok()
    models = answer.json()
    entries = models.get("data") if isinstance(models, dict) else None
    told = {
        str(entry.get("id")): entry.get("max_model_len")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict)
    }
    length = told.get(api.target.model) or next(iter(told.values()), None) or api.target.max_model_len
    if not isinstance(length, int) or length < 1:
        raise Skipped("the API does not tell how long its context is (max_model_len in /v1/models)")
    return length
