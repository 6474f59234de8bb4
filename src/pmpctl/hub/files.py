"""The files of one model, wherever they lie; all that is ever read of one is how it begins."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pmpctl.errors import ModelNotFound, ModelUnreadable


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a file, and how long the whole is where that is known."""

    data: bytes
    file_bytes: int | None


class Files(Protocol):
    @property
    def place(self) -> str:
        """Where the files lie, in words for a message."""

    @property
    def names(self) -> frozenset[str]:
        """The files that are there, not those in folders below; no other name may be read."""

    def head(self, name: str, limit_bytes: int) -> Head: ...


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def place(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        try:
            return self.path.is_dir()
        except PermissionError as error:
            raise _unreadable(self.path, error) from error
        except OSError:
            return False

    @cached_property
    def names(self) -> frozenset[str]:
        try:
            with os.scandir(self.path) as entries:
                return frozenset(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError as error:
            raise ModelNotFound(
                f"{self.path} does not exist",
                cure="Correct `model`; a relative path counts from the profile file's folder.",
            ) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def head(self, name: str, limit_bytes: int) -> Head:
        path = self.path / name
        try:
            with path.open("rb") as file:
                return Head(file.read(limit_bytes), os.fstat(file.fileno()).st_size)
        except OSError as error:
            raise _unreadable(path, error) from error


@dataclass(frozen=True)
class Layered:
    """What is downloaded from there, the rest from the hub."""

    downloaded: Folder
    hub: Files

    @property
    def place(self) -> str:
        return self.hub.place

    @property
    def names(self) -> frozenset[str]:
        return self.hub.names

    def head(self, name: str, limit_bytes: int) -> Head:
        files = self.downloaded if name in self.downloaded.names else self.hub
        return files.head(name, limit_bytes)


def _unreadable(path: Path, error: OSError) -> ModelUnreadable:
    return ModelUnreadable(
        f"{path} cannot be read: {error.strerror}", cure="Name a folder with a model's files that you may read."
    )
