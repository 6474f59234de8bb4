"""What a fit is computed from: a profile with its what-ifs, the model's facts, a card, and what is free on it."""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from pmpctl.errors import UsageError
from pmpctl.hub.facts import find_facts
from pmpctl.operations.calibration import Calibration, read_calibration
from pmpctl.operations.environment import Environment, default_profile
from pmpctl.operations.fit_card import ChosenCard, choose_card
from pmpctl.planning.images import VLLM_RELEASE, engine_image, vllm_version
from pmpctl.profiles.model import HostSettings, Profile, ProfileFile
from pmpctl.runtime.base import Runtime
from pmpctl.vram.architecture import read_architecture
from pmpctl.vram.facts import ModelFacts
from pmpctl.vram.layers import Architecture
from pmpctl.vram.settings import EngineSettings
from pmpctl.vram.shares import Weights
from pmpctl.vram.weights import estimate_weights

DTYPES = {"auto": None, "half": "float16", "float": "float32"}

UNCOUNTED_ARGUMENTS = (
    "--compilation-config",
    "--cpu-offload-gb",
    "--cudagraph-capture-sizes",
    "--disable-hybrid-kv-cache-manager",
    "--disable-sliding-window",
    "--hf-overrides",
    "--kv-cache-dtype-skip-layers",
    "--kv-offloading-size",
    "--mamba-block-size",
    "--mamba-cache-dtype",
    "--mamba-cache-mode",
    "--mamba-ssm-cache-dtype",
    "--max-cudagraph-capture-size",
    "--pipeline-parallel-size",
    "--speculative-config",
)
"""Arguments in `extra_args` that change what a GPU holds, and that no formula here knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """What if: another card, other settings. None is what the host has and the profile says."""

    gpu: str | None = None
    budget_gib: float | None = None
    context: int | None = None
    utilization: float | None = None
    max_num_seqs: int | None = None
    kv_cache_dtype: str | None = None
    offline: bool = False

    def profile_keys(self) -> dict[str, object]:
        """The what-ifs under the names that they have in a profile."""
        asked = {
            "max_model_len": self.context,
            "gpu_memory_utilization": self.utilization,
            "max_num_seqs": self.max_num_seqs,
            "kv_cache_dtype": self.kv_cache_dtype,
        }
        return {key: value for key, value in asked.items() if value is not None}


@dataclass(frozen=True, slots=True)
class FitInputs:
    profile: Profile
    profile_why: str
    """Why it is this profile, where none was named."""
    facts: ModelFacts
    architecture: Architecture
    weights: Weights
    settings: EngineSettings
    chosen: ChosenCard
    calibration: Calibration
    notes: tuple[str, ...]


def pick_profile(environment: Environment, file: ProfileFile, options: FitOptions) -> tuple[str, str]:
    """The profile that is meant when none is named, and why; asked about a card, one that runs on a card."""
    on_gpu = [name for name, profile in file.profiles.items() if profile.device == "cuda"]
    if (options.gpu or options.budget_gib) and on_gpu and not environment.variables.get("MODEL_PROFILE"):
        if file.default in on_gpu:
            return file.default, "it is the default of the profile file"
        return on_gpu[0], "it is the first of the profile file that runs on a GPU"
    return default_profile(environment, file)


def gather_inputs(
    environment: Environment,
    file: ProfileFile,
    profile_name: str | None,
    options: FitOptions,
    runtime: Runtime | None = None,
) -> FitInputs:
    """Asks the network only for models that neither the package nor this machine knows; `runtime` as `choose_card`."""
    profile_name, why = (profile_name, "") if profile_name else pick_profile(environment, file, options)
    profile = with_what_ifs(file.profile(profile_name), options)
    chosen = choose_card(environment, file, profile, runtime, gpu=options.gpu, budget_gib=options.budget_gib)
    facts = find_facts(
        profile.model,
        revision=profile.revision,
        models_dir=environment.workspace.root / file.host.models_dir,
        workspace=environment.workspace,
        profile_folder=file.path.parent,
        offline=options.offline,
        environment=environment.variables,
    )
    architecture = read_architecture(facts.config)
    settings = engine_settings(profile, file.host, architecture)
    weights, notes = count_weights(facts, settings)
    calibration = read_calibration(environment, file, profile)
    return FitInputs(
        profile=profile,
        profile_why=why,
        facts=facts,
        architecture=architecture,
        weights=weights,
        settings=settings,
        chosen=chosen,
        calibration=calibration,
        notes=(*facts.notes, *notes, *chosen.notes, *calibration.notes, *uncounted(profile)),
    )


def with_what_ifs(profile: Profile, options: FitOptions) -> Profile:
    changes = options.profile_keys()
    if not changes:
        return profile
    try:
        return Profile.model_validate(profile.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "a setting"
        raise UsageError(
            f"{key} = {changes.get(key)!r} is not possible: {first['msg'][:1].lower()}{first['msg'][1:]}",
            cure="Give a value that the profile itself could have; docs/profiles.md has the rules.",
        ) from error


def engine_settings(profile: Profile, host: HostSettings, architecture: Architecture) -> EngineSettings:
    return EngineSettings(
        max_model_len=profile.max_model_len or architecture.default_context,
        gpu_memory_utilization=profile.gpu_memory_utilization,
        kv_cache_dtype=profile.kv_cache_dtype,
        dtype=DTYPES.get(profile.dtype, profile.dtype),
        quantization=None if profile.quantization == "auto" else profile.quantization,
        max_num_seqs=profile.max_num_seqs,
        max_num_batched_tokens=profile.max_num_batched_tokens,
        kv_cache_memory_bytes=profile.kv_cache_memory_bytes,
        enforce_eager=profile.enforce_eager,
        tensor_parallel_size=profile.tensor_parallel_size,
        block_size=_block_size(profile),
        device=profile.device,
        vllm_version=vllm_version(engine_image(profile, host)) or VLLM_RELEASE,
        text_only=_is_text_only(profile),
    )


def count_weights(facts: ModelFacts, settings: EngineSettings) -> tuple[Weights, tuple[str, ...]]:
    counted = estimate_weights(
        facts.config,
        facts.tensors,
        tensor_parallel_size=settings.tensor_parallel_size,
        language_only=settings.text_only,
        quantization=settings.quantization,
        dtype=settings.dtype,
    )
    how = "the tensors' own sizes" if counted.source == "tensors" else "computed from config.json"
    weights = Weights(
        bytes=counted.loaded_bytes, source=f"{how}, from {facts.source}", exact=counted.exact, loading_factor=1.0
    )
    return weights, counted.notes


def uncounted(profile: Profile) -> tuple[str, ...]:
    given = [name for name in UNCOUNTED_ARGUMENTS if _argument(profile, name) is not None]
    return (f"{', '.join(given)} of `extra_args` is not counted here.",) if given else ()


def _block_size(profile: Profile) -> int | None:
    value = _argument(profile, "--block-size")
    return int(value) if value and value.isdecimal() and int(value) else None


def _is_text_only(profile: Profile) -> bool:
    if _argument(profile, "--language-model-only") is not None:
        return True
    try:
        limits = json.loads(_argument(profile, "--limit-mm-per-prompt") or "null")
    except ValueError:
        return False
    return isinstance(limits, dict) and bool(limits) and not any(limits.values())


def _argument(profile: Profile, name: str) -> str | None:
    """What follows an argument in `extra_args`, "" where nothing does; None where it is not there."""
    for index, word in enumerate(profile.extra_args):
        written, equals, value = word.partition("=")
        if written.partition(".")[0].replace("_", "-") == name:
            following = profile.extra_args[index + 1 : index + 2]
            return value if equals else next((each for each in following if not each.startswith("-")), "")
    return None
