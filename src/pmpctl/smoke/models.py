"""What the API itself says of its model."""

from pmpctl.smoke.answer import Answer
from pmpctl.smoke.api import Api
from pmpctl.smoke.check import Failed, Skipped


def model_names(answer: Answer) -> list[str]:
    """Of an answer to GET /v1/models; raises Failed for what is no list of models."""
    listed = answer.require_ok().json()
    try:
        return [str(entry["id"]) for entry in listed["data"]]
    except (TypeError, KeyError) as error:
        raise Failed("GET /v1/models: no list of models", "See what answers at that address.") from error


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
