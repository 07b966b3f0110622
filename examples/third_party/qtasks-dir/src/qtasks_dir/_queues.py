"""All messages of an app: one file each, and each of its moves is one rename.

    ids/UUID            a second name of a message's first file: whoever makes it has sent that task
    ready, delayed      what waits, by queue
    held/LEASE/QUEUE    what a worker has taken
    lost/LEASE~1        what a dead worker had, on its way back to ready/ (~0: what a worker gave back)
    dead/QUEUE          dead letters
    drafts/             what is not complete yet; names tell what becomes of it if its writer dies

A lease is a folder, and losing it is one rename of that folder: every path that its worker knows leads nowhere then.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import secrets
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from qtasks_core.contract import Ack, Dead, Delivery, Depth, Release, Retry
from qtasks_core.errors import AlreadyExists, FencedError, RefusedError, UnavailableError
from qtasks_dir._files import listing, quoted, read, remove
from qtasks_dir._messages import Label, bury, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qtasks_core import QueueConfig
    from qtasks_core.contract import Envelope, Outcome, PerItem
    from qtasks_dir._space import Space

__all__ = ["BEAT", "LeaseLostError", "Queues"]

logger = logging.getLogger("qtasks_dir")

_PATIENCE_S = 2.0
"""To take over takes milliseconds."""
BEAT = "beat"
"""A file in each lease: its time of change says that the worker lives."""


class LeaseLostError(Exception):
    """The worker's folder is gone: it was taken for dead, or everything was deleted."""


class Queues:
    """What can be done to messages; each call is a few system calls, and safe beside those of other processes.

    Parameters:
        space: The app's files.
        config: The app's settings.
    """

    def __init__(self, space: Space, config: QueueConfig) -> None:
        self.space = space
        self.section = space.queues
        self.held = self.section.root / "held"
        self.lost = self.section.root / "lost"
        self._message_bytes = config.max_message_bytes
        self._dead_letter_max = config.dead_letter_max
        self._claims = itertools.count(1)

    def path(self, kind: str, queue: str, name: str = "") -> Path:
        """Return where the messages of a queue are.

        Parameters:
            kind: ready, delayed or dead.
            queue: The queue's name.
            name: Of a file.
        """
        return self.section.root / kind / quoted(queue) / name

    def id_path(self, uuid: str) -> Path:
        """Return where it is noted that a task is there."""
        return self.section.root / "ids" / uuid

    # ---------------------------------------------------------------- sending

    def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Take in messages; on the disk when it returns, if that was asked for."""
        answers: list[Exception | None] = []
        for envelope in batch:
            try:
                answers.append(self._send(envelope))
            except OSError as error:
                answers.append(UnavailableError(str(error)))
        self.section.sync(path for one in batch for path in self._folders_of(one))
        return answers

    def _folders_of(self, envelope: Envelope) -> tuple[Path, ...]:
        return self.section.root / "ids", self.path("ready", envelope.queue), self.path("delayed", envelope.queue)

    def _send(self, envelope: Envelope) -> Exception | None:
        if len(envelope.body) > self._message_bytes:
            return RefusedError(f"expected at most {self._message_bytes} bytes, got {len(envelope.body)}")
        identity = self.id_path(envelope.uuid.hex)
        if identity.exists():
            return AlreadyExists(envelope.uuid)
        kind, label, envelope = self._place(envelope)
        name = getattr(label, kind)
        draft = self.section.draft(pack(envelope), f"send~{kind}~{quoted(envelope.queue)}~{name}")
        try:
            self.section.link(draft, identity)
        except FileExistsError:
            remove(draft)
            return AlreadyExists(envelope.uuid)
        with contextlib.suppress(FileNotFoundError):  # so slow that somebody took us for dead, and did it for us
            self.section.publish(draft, self.path(kind, envelope.queue, name))
        return None

    def _place(self, envelope: Envelope) -> tuple[str, Label, Envelope]:
        """Return where a message has to wait, and the message with its due time made absolute."""
        now, due = self.space.clock(), envelope.due_at
        if envelope.delay_s > 0:
            due = now + envelope.delay_s
            envelope = replace(envelope, delay_s=0.0, due_at=due)
        if due is not None and due > now:
            return "delayed", Label(envelope.priority, int(due * 1_000_000), envelope.uuid.hex), envelope
        return "ready", Label(envelope.priority, self.space.stamp(), envelope.uuid.hex), envelope

    # ---------------------------------------------------------------- taking

    def open_lease(self, worker: str) -> str:
        """Return the name of a new lease."""
        lease = f"{quoted(worker)}~{secrets.token_hex(6)}"
        (self.held / lease).mkdir(parents=True)
        (self.held / lease / BEAT).touch()
        return lease

    def claim(self, lease: str, queues: Sequence[str], limit: int, per_queue: Mapping[str, int]) -> list[Delivery]:
        """Take what waits: the lowest priority first, then the oldest.

        Raises:
            LeaseLostError: The worker may not take anything under this lease.
        """
        found: list[tuple[str, str]] = []
        for queue in dict.fromkeys(queues):
            self.promote(queue)
            room = min(limit, per_queue.get(queue, limit))
            found += ((name, queue) for name in heapq.nsmallest(room, listing(self.path("ready", queue))))
        taken: list[Delivery] = []
        for name, queue in heapq.nsmallest(limit, found):
            delivery = self._take(lease, queue, name)
            if delivery is not None:
                taken.append(delivery)
        return taken

    def promote(self, queue: str) -> None:
        """Let what is due wait among what is ready."""
        now = f"{int(self.space.clock() * 1_000_000):017d}~"
        for name in listing(self.path("delayed", queue)):
            if name < now:
                with contextlib.suppress(FileNotFoundError):  # another worker did it
                    ready = self.path("ready", queue, Label.of_delayed(name).ready)
                    self.section.publish(self.path("delayed", queue, name), ready)

    def _take(self, lease: str, queue: str, name: str) -> Delivery | None:
        """Take one message; None: somebody else was quicker, or took over from us on the way."""
        token = f"{lease}/{quoted(queue)}/{name}.{next(self._claims)}"
        if not self._rename_into(lease, self.path("ready", queue, name), self.held / token):
            return None
        data = read(self.held / token)
        if data is None:
            return None
        envelope, letter = unpack(data)
        label = Label.of_ready(name)
        crashes = label.crashes + (envelope.crashes if envelope is not None else 0)
        return Delivery(envelope, token, crashes, bool(label.suspect), b"" if envelope is not None else letter.envelope)

    def _rename_into(self, lease: str, source: Path, target: Path) -> bool:
        try:
            source.rename(target)
        except FileNotFoundError:
            if not (self.held / lease).exists():
                raise LeaseLostError(lease) from None
            if target.parent.exists():
                return False
        else:
            return True
        with contextlib.suppress(FileExistsError, FileNotFoundError):  # never the folder of a lease that is lost
            target.parent.mkdir()
        return self._rename_into(lease, source, target)

    # ---------------------------------------------------------------- settling

    def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply follow-ups, then verdicts."""
        answers: list[Exception | None] = []
        for outcome in batch:
            try:
                answers.append(self._settle(outcome))
            except FileNotFoundError:
                answers.append(FencedError("the delivery was taken over, or settled before"))
            except OSError as error:
                answers.append(UnavailableError(str(error)))
        return answers

    def _settle(self, outcome: Outcome) -> Exception | None:
        token = str(outcome.delivery.token)
        path = self.held / token
        path.stat()  # what is not ours any more has no follow-ups either
        sends = [envelope for _, envelope in outcome.sends]
        for answer in self.send(sends) if sends else ():
            if answer is not None and not isinstance(answer, AlreadyExists):
                return answer
        queue, label = token.split("/")[1], Label.of_ready(path.name)
        match outcome.verdict:
            case Ack():
                self.forget(path, label.uuid)
            case Release(delay_s):
                self._release(path, queue, label, delay_s)
            case Retry(envelope):
                self._replace(path, pack(envelope))
                kind, label, _ = self._place(envelope)
                self.section.publish(path, self.path(kind, envelope.queue, getattr(label, kind)))
            case Dead(reason):
                self._replace(path, bury(path.read_bytes(), reason))
                self._bury(path, queue, label)
        return None

    def forget(self, path: Path, uuid: str) -> None:
        """Delete a message, so that its uuid may be sent again.

        Raises:
            FileNotFoundError: It is not there.
        """
        gone = self.section.draft_path(f"ack~{uuid}")
        path.rename(gone)
        remove(self.id_path(uuid))
        remove(gone)

    def _release(self, path: Path, queue: str, label: Label, delay_s: float) -> None:
        kind = "ready"
        if delay_s > 0:
            kind, label = "delayed", label._replace(at=int((self.space.clock() + delay_s) * 1_000_000))
        self.section.publish(path, self.section.root / kind / queue / getattr(label, kind))

    def _replace(self, path: Path, data: bytes) -> None:
        """Put another message in the place of one that is held. Its folder is gone if it is not held any more."""
        draft = self.section.draft(data)
        try:
            draft.rename(path)
        except FileNotFoundError:
            remove(draft)
            raise

    def _bury(self, path: Path, queue: str, label: Label) -> None:
        folder = self.section.root / "dead" / queue
        self.section.publish(path, folder / f"{self.space.stamp():017d}-{label.uuid}")
        names = listing(folder)
        for name in heapq.nsmallest(len(names) - self._dead_letter_max, names):
            with contextlib.suppress(FileNotFoundError):
                self.forget(folder / name, name.partition("-")[2])
                logger.warning("a queue has more than %d dead letters: the oldest is dropped", self._dead_letter_max)

    # ---------------------------------------------------------------- taking over

    def evict(self, worker: str) -> int:
        """Take over what a worker holds, as if it had died; return how much that was."""
        own = [lease for lease in listing(self.held) if lease.startswith(f"{quoted(worker)}~")]
        return sum(self.take_over(lease, is_charged=True) for lease in own)

    def take_over(self, lease: str, *, is_charged: bool) -> int:
        """End a lease, and let wait again what is held under it; return how much that was.

        Parameters:
            lease: Its name.
            is_charged: Whether each message counts a crash.
        """
        taken = self.lost / f"{lease}~{int(is_charged)}"
        try:
            self.section.publish(self.held / lease, taken)
        except FileNotFoundError:
            return 0
        return self._let_wait(taken)

    def _let_wait(self, taken: Path) -> int:
        is_charged = taken.name.endswith("1")
        count = 0
        for queue in listing(taken):
            for name in listing(taken / queue):
                label = Label.of_ready(name)
                if is_charged:
                    label = label._replace(crashes=label.crashes + 1, suspect=1)
                with contextlib.suppress(FileNotFoundError):  # two may do it at once: each message moves once
                    self.section.publish(taken / queue / name, self.section.root / "ready" / queue / label.ready)
                    count += 1
            with contextlib.suppress(OSError):
                remove(taken / BEAT) if queue == BEAT else (taken / queue).rmdir()
        with contextlib.suppress(OSError):
            taken.rmdir()
        return count

    def recover(self) -> None:
        """Go on with what processes that died were about to let wait again."""
        for name in listing(self.lost):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - (self.lost / name).stat().st_ctime > _PATIENCE_S:  # renaming sets that time
                    self._let_wait(self.lost / name)

    # ---------------------------------------------------------------- counting

    def depth(self, queue: str) -> Depth:
        """Count the messages of a queue."""
        self.promote(queue)
        ready, delayed, dead = (len(listing(self.path(kind, queue))) for kind in ("ready", "delayed", "dead"))
        running = sum(len(listing(self.held / lease / quoted(queue))) for lease in listing(self.held))
        return Depth(ready, delayed, running, dead)
