"""The hub over HTTP: which commit a revision is, which files it has, and how each begins; never a whole weight file."""

import re
import ssl
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, ValidationError

from pmpctl import __version__
from pmpctl.errors import HubTokenRefused, HubUnreachable
from pmpctl.hub.files import Head
from pmpctl.hub.refusals import CHECK_PROXY, Asked, Refusal, from_answer, from_failure
from pmpctl.hub.settings import DEFAULT_ENDPOINT, HubSettings

TIMEOUT = httpx.Timeout(10, pool=60)
LONGEST_TRANSFER_SECONDS = 60.0
PAUSES_SECONDS = (0.5, 1.0, 2.0)
LONGEST_PAUSE_SECONDS = 20.0
LARGEST_LISTING_BYTES = 64 << 20


class _Sibling(BaseModel):
    rfilename: str


class _Listing(BaseModel):
    """What the hub says of a model at a revision."""

    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")]
    siblings: list[_Sibling]


class HubClient:
    """One conversation with the hub. The token goes to the hub alone: httpx drops it when a redirect leaves it."""

    def __init__(self, settings: HubSettings) -> None:
        self._settings = settings
        self._closed = threading.Event()
        self.host, self._site = _parse_endpoint(settings.endpoint)
        headers = {"User-Agent": f"pmpctl/{__version__}", "Accept-Encoding": "identity"}
        if settings.token:
            if not re.fullmatch(r"[!-~]+", settings.token.value):
                raise HubTokenRefused(
                    f"what is in {settings.token.origin} cannot be a token",
                    cure="Put one token there, alone and on one line; or remove it: public models need none.",
                )
            headers["Authorization"] = f"Bearer {settings.token.value}"
        try:
            self._http = httpx.Client(
                headers=headers, timeout=TIMEOUT, follow_redirects=True, max_redirects=5, verify=_trust(settings)
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            # A proxy's address may hold a password, and httpx quotes it.
            raise HubUnreachable("the proxy settings of the environment cannot be used", cure=CHECK_PROXY) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._http.close()

    def asked(self, model: str, revision: str) -> Asked:
        """For the words of an error about that model."""
        return Asked(self.host, self._site, model, revision, self._settings.token)

    def model(self, model: str, revision: str) -> "HubModel":
        """A model at the commit that the revision is now."""
        path = f"/api/models/{quote(model)}/revision/{quote(revision, safe='')}"
        answer = self._head(path, LARGEST_LISTING_BYTES, model, revision)
        try:
            listing = _Listing.model_validate_json(answer.data)
        except ValidationError as error:
            raise HubUnreachable(
                f"{self.host} does not answer as a model hub does",
                cure="Check HF_ENDPOINT, and whether a proxy or a login page answers in the hub's place.",
            ) from error
        names = frozenset(each.rfilename for each in listing.siblings if "/" not in each.rfilename)
        return HubModel(self, model, listing.sha, names)

    def file(self, model: str, commit: str, name: str, limit_bytes: int) -> Head:
        path = f"/{quote(model)}/resolve/{commit}/{quote(name)}"
        return self._head(path, limit_bytes, model, commit)

    def _head(self, path: str, limit_bytes: int, model: str, revision: str) -> Head:
        """The first bytes of what is there, asked for again where that may help."""
        asked = self.asked(model, revision)
        pauses = iter(PAUSES_SECONDS)
        while True:
            answer = self._try(path, limit_bytes, asked)
            if isinstance(answer, Head):
                return answer
            pause = next(pauses, None)
            if pause is None or not answer.may_pass or (answer.wait_seconds or 0) > LONGEST_PAUSE_SECONDS:
                raise answer.error
            if self._closed.wait(pause if answer.wait_seconds is None else answer.wait_seconds):
                raise answer.error

    def _try(self, path: str, limit_bytes: int, asked: Asked) -> Head | Refusal:
        wanted = {"Range": f"bytes=0-{limit_bytes - 1}"}
        try:
            with self._http.stream("GET", self._settings.endpoint + path, headers=wanted) as response:
                if response.is_success:
                    return Head(_take(response, limit_bytes), _file_bytes(response))
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return Head(b"", 0)
                return from_answer(
                    asked, response.status_code, response.headers, answered_by=response.url.netloc.decode()
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return from_failure(asked, error)


@dataclass(frozen=True)
class HubModel:
    """A model's files on the hub, at one commit."""

    client: HubClient
    model: str
    commit: str
    names: frozenset[str]

    @property
    def place(self) -> str:
        return f"{self.model} on the hub"

    def head(self, name: str, limit_bytes: int) -> Head:
        return self.client.file(self.model, self.commit, name, limit_bytes)


def _take(response: httpx.Response, limit_bytes: int) -> bytes:
    """No more than was asked for, also from a server that knows no ranges and sends it all."""
    taken = bytearray()
    deadline = time.monotonic() + LONGEST_TRANSFER_SECONDS
    for chunk in response.iter_bytes():
        taken += chunk
        if len(taken) >= limit_bytes:
            break
        if time.monotonic() > deadline:
            raise httpx.ReadTimeout("too slow", request=response.request)
    return bytes(taken[:limit_bytes])


def _file_bytes(response: httpx.Response) -> int | None:
    _, _, total = response.headers.get("content-range", "").rpartition("/")
    if response.status_code == httpx.codes.OK:
        total = response.headers.get("content-length", "")
    return int(total) if total.isascii() and total.isdigit() else None


def _parse_endpoint(endpoint: str) -> tuple[str, str]:
    """The hub's host and address as they may be shown: without a user and password."""
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise HubUnreachable("HF_ENDPOINT is not the address of a hub", cure=f"Write it as {DEFAULT_ENDPOINT}.")
    return url.netloc.decode(), str(url.copy_with(userinfo=b"")).rstrip("/")


def _trust(settings: HubSettings) -> ssl.SSLContext:
    """httpx trusts certifi's list alone; a company's own authority is in the system's, or in a file of its own."""
    try:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        if bundle := settings.ca_bundle:
            context.load_verify_locations(*((None, bundle) if bundle.is_dir() else (bundle, None)))
    except OSError as error:
        raise HubUnreachable(
            f"the CA file {settings.ca_bundle} cannot be used: {error}",
            cure="Mend or unset SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
        ) from error
    return context
