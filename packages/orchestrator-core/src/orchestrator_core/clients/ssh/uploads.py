"""Copies a file to a host by SFTP: it has its name there only when all of it has arrived."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from orchestrator_core.clients.ssh.refusals import first_line
from orchestrator_core.errors import Code, Refusal

__all__ = ["Parcel", "send_file"]

_PIECE_BYTES: Final = 1 << 20
# Each piece has to arrive within this time; a whole file may take as long as it takes.
_PIECE_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent where, and who hears how many bytes have arrived."""

    source: Path
    target: str
    mode: int = 0o644
    tell: Callable[[int], None] | None = None

    @property
    def part(self) -> str:
        """Its name while it is not whole."""
        return f"{self.target}.part"


async def send_file(
    connection: asyncssh.SSHClientConnection, parcel: Parcel, *, name: str
) -> Refusal | None:
    """Send it; None when it lies there."""
    try:
        async with asyncio.timeout(_PIECE_TIMEOUT_S) as patience:
            sftp = await connection.start_sftp_client()
            try:
                return await _send(sftp, parcel, patience, name)
            except (asyncssh.SFTPError, OSError) as error:
                return await _refusal(sftp, parcel, error, name)
            finally:
                sftp.exit()
    except TimeoutError:
        line = f"{name} has taken nothing of {parcel.source.name} for {_PIECE_TIMEOUT_S:g} s"
        return Refusal(Code.TIMEOUT, f"{line}: try again")
    except (asyncssh.Error, OSError) as error:
        line = f"{name} takes no files by SFTP ({first_line(str(error))}): is sftp allowed there?"
        return Refusal(Code.UNREACHABLE, line)


async def _send(
    sftp: asyncssh.SFTPClient, parcel: Parcel, patience: asyncio.Timeout, name: str
) -> Refusal | None:
    loop = asyncio.get_running_loop()
    sent_bytes = 0
    attributes = asyncssh.SFTPAttrs(permissions=parcel.mode)
    with parcel.source.open("rb") as file:
        async with sftp.open(parcel.part, "wb", attributes, encoding=None) as there:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                await there.write(piece, sent_bytes)
                sent_bytes += len(piece)
                patience.reschedule(loop.time() + _PIECE_TIMEOUT_S)
                if parcel.tell is not None:
                    parcel.tell(sent_bytes)
    # The mode at the opening does not count for a part that lay there already.
    await sftp.chmod(parcel.part, parcel.mode)
    arrived_bytes = (await sftp.stat(parcel.part)).size
    if arrived_bytes != sent_bytes:
        line = f"{arrived_bytes} of {sent_bytes} bytes of {parcel.source.name} lie at {name}"
        return Refusal(Code.DATA_CORRUPT, f"{line}: try again")
    await sftp.posix_rename(parcel.part, parcel.target)
    return None


async def _refusal(
    sftp: asyncssh.SFTPClient, parcel: Parcel, error: Exception, name: str
) -> Refusal:
    """Say what is in the way, and leave no part behind."""
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
        line = f"the connection to {name} was lost while {parcel.source.name} was sent: try again"
        return Refusal(Code.UNREACHABLE, line)
    place = f"{name}:{parcel.target}"
    if isinstance(error, OSError):
        line = f"{parcel.source} cannot be read: {error.strerror or first_line(str(error))}"
        return Refusal(Code.INVALID_REQUEST, line)
    with contextlib.suppress(asyncssh.Error, OSError):
        await sftp.remove(parcel.part)
    if isinstance(error, asyncssh.SFTPPermissionDenied):
        return Refusal(Code.HOST_REFUSED, f"{place} may not be written by this user")
    if isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
        return Refusal(Code.NOT_FOUND, f"there is no folder for {place}: make it first")
    if await _is_full(sftp, parcel) or isinstance(error, asyncssh.SFTPNoSpaceOnFilesystem):
        return Refusal(Code.DISK_LOW, f"the disk behind {place} is full: free some space there")
    return Refusal(Code.INTERNAL, f"{place} cannot be written: {first_line(str(error))}")


async def _is_full(sftp: asyncssh.SFTPClient, parcel: Parcel) -> bool:
    """SFTP says no more than "Failure" when the disk is full; the size of the rest tells."""
    with contextlib.suppress(asyncssh.Error, OSError):
        folder = parcel.target.rpartition("/")[0] or "."
        space = await sftp.statvfs(folder)
        return space.bavail * space.frsize < parcel.source.stat().st_size
    return False
