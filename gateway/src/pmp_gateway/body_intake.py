"""A request's body while it comes in: collected, and refused as soon as it is too much."""

from pmp_gateway.failures import BodyTooLarge, Headers
from pmp_gateway.headers import is_chunked, length_of
from pmp_gateway.uploads import LARGE_BYTES, Uploads


class Intake:
    def __init__(self, headers: Headers, most_bytes: int, uploads: Uploads, *, expects_continue: bool) -> None:
        self.open = True
        self.expects_continue = expects_continue
        self._headers = headers
        self._announced_bytes = length_of(headers) or 0
        self._most_bytes = most_bytes
        self._watched_bytes = min(most_bytes, LARGE_BYTES)
        self._uploads = uploads
        self._is_counted = False
        self._data = bytearray()

    @property
    def is_large(self) -> bool:
        """Whether `check` has something to say."""
        return len(self._data) > self._watched_bytes

    def take(self, data: bytes) -> None:
        """The next part. Nobody may have looked at the request yet, so that a refusal waits for `check`."""
        self._data += data
        if len(self._data) > self._most_bytes:
            self.open = False

    def check(self) -> None:
        """What has come so far, and what was announced; raises BodyTooLarge or UploadsFull."""
        size_bytes = len(self._data)
        if max(size_bytes, self._announced_bytes) > self._most_bytes:
            raise BodyTooLarge(f"The request body is larger than {self._most_bytes} bytes.")
        if size_bytes > LARGE_BYTES:
            self._is_counted = True
            self._uploads.grow(self, size_bytes)

    def whole(self) -> bytes:
        """All of it, which is kept here no longer; it counts as an upload until `forget`."""
        data = bytes(self._data)
        self.close()
        return data

    def close(self) -> None:
        """No more of it is wanted."""
        self.open = False
        self._data = bytearray()

    def forget(self) -> None:
        """Nobody has it any more."""
        if self._is_counted:
            self._uploads.forget(self)

    @property
    def rest_may_come(self) -> bool:
        """Whether what is missing can be read and thrown away, so that the connection can be used again."""
        # Who was to be told to continue may leave the body out now: nobody knows what comes next on the connection.
        return not self.expects_continue and not is_chunked(self._headers) and self._announced_bytes <= self._most_bytes
