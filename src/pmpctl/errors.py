"""Every error a user can meet: one class, one stable code, one exit status, what happened and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    DONE = 0
    BUG = 1
    INVALID = 2
    DOES_NOT_FIT = 3
    ENGINE_FAILED = 4
    SWITCH_ROLLED_BACK = 5
    SWITCH_FAILED = 6
    SMOKE_FAILED = 7
    HOST_NOT_READY = 8
    LOCKED = 9
    NETWORK = 10
    TIMED_OUT = 11
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable code, a sentence on what happened, a sentence on what to do."""

    code: str
    message: str
    cure: str
    details: tuple[str, ...] = ()


class PmpctlError(Exception):
    """The base of everything pmpctl raises on purpose."""

    code: ClassVar[str]
    exit_status: ClassVar[ExitStatus]

    def __init__(self, message: str, *, cure: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure
        self.details = tuple(details)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (Problem(self.code, self.message, self.cure, self.details),)


class ProfileFileInvalid(PmpctlError):
    """The profile file, or what it was merged with, is wrong; carries every problem at once."""

    code = "profile_file_invalid"
    exit_status = ExitStatus.INVALID

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.message, cure=first.cure, details=first.details)
        self._problems = tuple(problems)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._problems


class ProfileFileMissing(PmpctlError):
    code = "profile_file_missing"
    exit_status = ExitStatus.INVALID


class ProfileUnknown(PmpctlError):
    code = "profile_unknown"
    exit_status = ExitStatus.INVALID


class ProfileConflict(PmpctlError):
    """What shall be imported would silently change a profile that is there already."""

    code = "profile_conflict"
    exit_status = ExitStatus.INVALID


class PlanInvalid(PmpctlError):
    """The profile is well-formed, but cannot be run on this host or with this image."""

    code = "plan_invalid"
    exit_status = ExitStatus.INVALID


class ArgumentsRefused(PmpctlError):
    """The vLLM that shall run does not understand the arguments; the message quotes it."""

    code = "arguments_refused"
    exit_status = ExitStatus.INVALID


class OpenListener(PmpctlError):
    """A wider bind than loopback without tokens, and nobody said that this is meant."""

    code = "open_listener"
    exit_status = ExitStatus.INVALID


class UsageError(PmpctlError):
    code = "usage"
    exit_status = ExitStatus.INVALID


class ModelConfigInvalid(PmpctlError):
    """A model's config.json lacks what memory is computed from, or has numbers that no model has."""

    code = "model_config_invalid"
    exit_status = ExitStatus.INVALID


class KvCacheDtypeUnknown(PmpctlError):
    """No arithmetic for that format of the KV cache, or none for this model."""

    code = "kv_cache_dtype_unknown"
    exit_status = ExitStatus.INVALID


class ModelNotFound(PmpctlError):
    """No such folder, or the hub has no such model or revision, or does not show it to this user."""

    code = "model_not_found"
    exit_status = ExitStatus.INVALID


class ModelUnreadable(PmpctlError):
    """A model's folder or file is there, but this user may not read it."""

    code = "model_unreadable"
    exit_status = ExitStatus.INVALID


class ModelConfigMissing(PmpctlError):
    code = "model_config_missing"
    exit_status = ExitStatus.INVALID


class ModelWithoutSafetensors(PmpctlError):
    code = "model_without_safetensors"
    exit_status = ExitStatus.INVALID


class WeightsDamaged(PmpctlError):
    """A weight file or its index is truncated, or is not what its name says."""

    code = "weights_damaged"
    exit_status = ExitStatus.INVALID


class WeightsMissing(PmpctlError):
    """A model's folder, or its repository, lacks files that the engine loads."""

    code = "weights_missing"
    exit_status = ExitStatus.INVALID


class WeightsNotFetched(PmpctlError):
    """Git LFS pointers lie where the files should be."""

    code = "weights_not_fetched"
    exit_status = ExitStatus.INVALID


class ModelGated(PmpctlError):
    """The model's terms are not accepted, or no token says by whom."""

    code = "model_gated"
    exit_status = ExitStatus.NETWORK


class ModelNotCached(PmpctlError):
    """The network is forbidden, and nothing on this machine knows the model."""

    code = "model_not_cached"
    exit_status = ExitStatus.NETWORK


class HubTokenRefused(PmpctlError):
    code = "hub_token_refused"
    exit_status = ExitStatus.NETWORK


class HubRateLimited(PmpctlError):
    code = "hub_rate_limited"
    exit_status = ExitStatus.NETWORK


class HubUnreachable(PmpctlError):
    """No answer, or none that a hub would give: DNS, connection, certificate, proxy, HTTP 5xx."""

    code = "hub_unreachable"
    exit_status = ExitStatus.NETWORK


class ApiFailed(PmpctlError):
    """The API that shall be measured cannot be reached, refuses, or answered no request."""

    code = "api_failed"
    exit_status = ExitStatus.NETWORK


class SmokeFailed(PmpctlError):
    """The API answers not as clients need it; what each check found stands beside it."""

    code = "smoke_failed"
    exit_status = ExitStatus.SMOKE_FAILED


class Interrupted(PmpctlError):
    """Somebody stopped a measurement; what was measured until then stands beside it."""

    code = "interrupted"
    exit_status = ExitStatus.INTERRUPTED


class DoesNotFit(PmpctlError):
    """The model, with its settings, needs more memory than the card has."""

    code = "does_not_fit"
    exit_status = ExitStatus.DOES_NOT_FIT


class CardUnknown(PmpctlError):
    """No GPU card is known by that name, or none has that much memory."""

    code = "card_unknown"
    exit_status = ExitStatus.INVALID


class TokenFileInvalid(PmpctlError):
    code = "token_file_invalid"
    exit_status = ExitStatus.INVALID


class TokenUnknown(PmpctlError):
    """No token has that name."""

    code = "token_unknown"
    exit_status = ExitStatus.INVALID


class TokenConflict(PmpctlError):
    """Another token has that name, or is that very token."""

    code = "token_conflict"
    exit_status = ExitStatus.INVALID


class LastToken(PmpctlError):
    """Without it the API would be open to everybody, and nobody said that this is meant."""

    code = "last_token"
    exit_status = ExitStatus.INVALID


class DockerNotAvailable(PmpctlError):
    code = "docker_not_available"
    exit_status = ExitStatus.HOST_NOT_READY


class GpuNotAvailable(PmpctlError):
    code = "gpu_not_available"
    exit_status = ExitStatus.HOST_NOT_READY


class CardTaken(PmpctlError):
    """Another workspace's engine, or another program, has the memory that the model needs."""

    code = "card_taken"
    exit_status = ExitStatus.HOST_NOT_READY


class CardNotFree(PmpctlError):
    """The old engine is gone, and the GPU's memory has not come back."""

    code = "card_not_free"
    exit_status = ExitStatus.HOST_NOT_READY


class EngineProgramMissing(PmpctlError):
    """The process runtime found no vLLM to run."""

    code = "engine_program_missing"
    exit_status = ExitStatus.HOST_NOT_READY


class PortTaken(PmpctlError):
    code = "port_taken"
    exit_status = ExitStatus.HOST_NOT_READY


class RuntimeFailed(PmpctlError):
    """The runtime refused or broke while it carried out the plan; the message is the runtime's own, cleaned."""

    code = "runtime_failed"
    exit_status = ExitStatus.HOST_NOT_READY


class NameConflict(PmpctlError):
    """A container of that name exists and is not ours."""

    code = "name_conflict"
    exit_status = ExitStatus.HOST_NOT_READY


class DiskFull(PmpctlError):
    code = "disk_full"
    exit_status = ExitStatus.HOST_NOT_READY


class ImagePullFailed(PmpctlError):
    code = "image_pull_failed"
    exit_status = ExitStatus.NETWORK


class ImageBuildFailed(PmpctlError):
    code = "image_build_failed"
    exit_status = ExitStatus.HOST_NOT_READY


class EngineStartFailed(PmpctlError):
    """The engine ended before it answered; `details` are its first error lines."""

    code = "engine_start_failed"
    exit_status = ExitStatus.ENGINE_FAILED


class WrongModelServed(PmpctlError):
    code = "wrong_model_served"
    exit_status = ExitStatus.ENGINE_FAILED


class GatewayStartFailed(PmpctlError):
    code = "gateway_start_failed"
    exit_status = ExitStatus.ENGINE_FAILED


class StartStalled(PmpctlError):
    """No progress for `start_timeout` seconds."""

    code = "start_stalled"
    exit_status = ExitStatus.TIMED_OUT


class SwitchFailed(PmpctlError):
    """The new model did not come up; the old one serves again. The problems of the failure itself follow."""

    code = "switch_failed"
    exit_status = ExitStatus.SWITCH_ROLLED_BACK

    def __init__(self, message: str, *, cure: str, causes: Sequence[Problem]) -> None:
        super().__init__(message, cure=cure)
        self._causes = tuple(causes)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return (Problem(self.code, self.message, self.cure), *self._causes)


class SwitchNotUndone(SwitchFailed):
    """The new model did not come up, and then the old one did not either: nothing serves."""

    code = "switch_not_undone"
    exit_status = ExitStatus.SWITCH_FAILED


class WorkspaceLocked(PmpctlError):
    code = "workspace_locked"
    exit_status = ExitStatus.LOCKED


class WorkspaceNotWritable(PmpctlError):
    code = "workspace_not_writable"
    exit_status = ExitStatus.HOST_NOT_READY


class RecordUnreadable(PmpctlError):
    """What was written down of an engine's plan is damaged, or another version of pmpctl wrote it."""

    code = "record_unreadable"
    exit_status = ExitStatus.HOST_NOT_READY


class GatewayNotAnswering(PmpctlError):
    """Nobody listens on the control socket, or somebody who is no gateway of this version."""

    code = "gateway_not_answering"
    exit_status = ExitStatus.HOST_NOT_READY


class GatewayRefused(PmpctlError):
    """The gateway answered that what it was told does not fit what it is doing; `refusal` says how, for machines."""

    code = "gateway_refused"
    exit_status = ExitStatus.HOST_NOT_READY

    def __init__(self, message: str, *, cure: str, refusal: str) -> None:
        super().__init__(message, cure=cure)
        self.refusal = refusal


class GatewayTimedOut(PmpctlError):
    code = "gateway_timed_out"
    exit_status = ExitStatus.TIMED_OUT


class NothingRuns(PmpctlError):
    """A command that needs something running found nothing of ours."""

    code = "nothing_runs"
    exit_status = ExitStatus.INVALID
