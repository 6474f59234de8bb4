"""How much memory large bodies take together: each of them may be let in, but not as many as there are connections."""

from pmp_gateway.failures import UploadsFull

LARGE_BYTES = 256 * 1024


class Uploads:
    """Smaller bodies are not counted, so that no large ones keep them out."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._size_bytes = 0
        self._of: dict[object, int] = {}

    def grow(self, whose: object, size_bytes: int) -> None:
        """A body that has come this far; raises UploadsFull."""
        total_bytes = self._size_bytes + size_bytes - self._of.get(whose, 0)
        if total_bytes > self._most_bytes:
            raise UploadsFull
        self._size_bytes = total_bytes
        self._of[whose] = size_bytes

    def forget(self, whose: object) -> None:
        """Its body is needed no more."""
        self._size_bytes -= self._of.pop(whose, 0)
