"""What a server answers: `GET /status` and `POST /work`, to those who know the token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .. import __version__
from ..engine.call import CLIENT, PIECE, PROGRAM
from ..engine.client import Description
from ..engine.messages import Message, renamed
from ..engine.progress import Cancelled
from ..errors import IrisError
from .desk import Desk, files_of
from .inbox import Body, Claim, Gone, Refusal
from .limits import Limits, Pace
from .turns import Full, Turn, Turns

WRONG_TOKEN = 1.0  # seconds that a wrong token costs
Send = Callable[[Any], Any]


def make_app(desk: Desk, description: Description, token: str, limits: Limits) -> Starlette:
    office = Office(desk, description, token, limits)

    async def refuse(request: Request, refusal: Any) -> JSONResponse:
        return JSONResponse({"error": refusal.sentence}, refusal.status)

    routes = [Route("/status", office.status), Route("/work", Work(office), methods=["POST"])]
    return Starlette(routes=routes, exception_handlers={Refusal: refuse})


class Office:
    """What all requests share."""

    def __init__(self, desk: Desk, description: Description, token: str, limits: Limits) -> None:
        self.desk, self.limits, self.turns = desk, limits, Turns(limits)
        self.numbers = itertools.count()
        self._description, self._token, self._pace = description, token.encode(), Pace(limits)
        self._claimed = 0  # bytes

    async def status(self, request: Request) -> JSONResponse:
        await self.admit(request)
        found = self._description
        return JSONResponse({
            "program": PROGRAM, "version": __version__, "network": found.network, "name": found.name,
            "device": found.device, "waiting": len(self.turns), "largest": self.limits.largest,
        })  # fmt: skip

    async def admit(self, request: Request) -> None:
        """:raises Refusal: for one who asks too often, or does not know the token."""
        if not self._pace.allows(request.client.host if request.client else ""):
            raise Refusal(429, "This computer asks too often.")
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not hmac.compare_digest(token.encode(), self._token):
            await asyncio.sleep(WRONG_TOKEN)
            raise Refusal(401, "The token is wrong; ask who runs this server for the right one.")

    @contextlib.contextmanager
    def room(self, length: int, folder: Path) -> Any:
        """Room on the disk for a job.

        :raises Refusal: when it is too large, or there is none left now.
        """
        limits = self.limits
        if length > limits.largest:
            most = f"{limits.largest / 2**30:.1f} GB"
            raise Refusal(413, f"The server takes no more than {most} at once; cut the scan to the part of interest.")
        if self._claimed + length > limits.together:
            raise Refusal(503, "The server has no more room now.")
        if shutil.disk_usage(folder).free - self._claimed - length < limits.spare:
            raise Refusal(507, "The disk of the server is full; tell who runs it.")
        self._claimed += length
        try:
            yield
        finally:
            self._claimed -= length


class Work:
    """One job: it comes in, waits for its turn, is done, and its answer goes out on the same connection."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        office, request = self._office, Request(scope)
        await office.admit(request)
        claimed = request.headers.get("content-length", "")
        if not claimed.isdecimal() or len(claimed) > 18:
            raise Refusal(411, "This is not a job for IrisSegment.")
        length, folder, number = int(claimed), await office.desk.folder(), next(office.numbers)
        client = request.headers.get(CLIENT, "")[:64] or str(scope.get("client"))
        with office.room(length, folder):
            try:
                message = await self._received(Body(receive, length, office.limits), length, folder, f"in{number}-")
                await self._served(message, folder, client, receive, send)
            except Gone:
                pass
            finally:
                for path in folder.glob(f"in{number}-*"):
                    path.unlink(missing_ok=True)

    async def _received(self, body: Body, length: int, folder: Path, prefix: str) -> Message:
        claim = Claim.of(await body.line(), length)
        try:
            for name, size in claim.sizes.items():
                await body.copy(folder / f"{prefix}{name}", size)
        except OSError as error:
            raise Refusal(507, "The disk of the server is full; tell who runs it.") from error
        return renamed(claim.message, lambda name: prefix + name)

    async def _served(self, message: Message, folder: Path, client: str, receive: Any, send: Send) -> None:
        try:
            turn = self._office.turns.enter(client)
        except Full as error:
            raise Refusal(503, "Too many jobs wait already.") from error
        said: asyncio.Queue[Message] = asyncio.Queue()
        job = asyncio.create_task(self._job(turn, message, folder, said.put_nowait))
        gone = asyncio.create_task(_goes(receive))
        gone.add_done_callback(lambda task: said.put_nowait({"gone": True}))
        try:
            await self._say(send, {"type": "http.response.start", "status": 200, "headers": HEADERS})
            await self._told(said, folder, send)
        finally:
            for task in (job, gone):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await job
            self._office.turns.leave(turn)

    async def _job(self, turn: Turn, message: Message, folder: Path, tell: Callable[[Message], None]) -> None:
        """Wait for the turn, have it done; what is to be said of it goes to ``tell``."""
        turns, limits = self._office.turns, self._office.limits
        while before := turns.before(turn):
            turn.moved.clear()
            tell({"before": before})
            await turn.moved.wait()
        tell({"before": 0})
        try:
            async with asyncio.timeout(limits.longest):
                answer = await self._office.desk.work(message, folder, tell)
        except TimeoutError:
            tell({"error": "The server works no longer than an hour on one job, and gave up; send a part of the scan."})
        except Cancelled:
            tell({"cancelled": True})
        except IrisError as error:
            tell({"error": str(error)})
        else:
            tell({"done": answer})

    async def _told(self, said: asyncio.Queue[Message], folder: Path, send: Send) -> None:
        """Tell the client what is said of its job, to the end. :raises Gone: when it does not listen any more."""
        while True:
            try:
                message = await asyncio.wait_for(said.get(), self._office.limits.beat)
            except TimeoutError:
                message = {"alive": True}
            if "gone" in message:
                raise Gone
            if "done" in message:
                await self._answer(message["done"], folder, send)
                break
            await self._piece(send, json.dumps(message).encode() + b"\n")
            if "error" in message or "cancelled" in message:
                break
        await self._say(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, done: Message, folder: Path, send: Send) -> None:
        paths = files_of(done, folder)
        try:
            names = iter([f"{n}{path.suffix}" for n, path in enumerate(paths)])
            shown = renamed(done, lambda name: next(names))
            files = [[f"{n}{path.suffix}", path.stat().st_size] for n, path in enumerate(paths)]
            await self._piece(send, json.dumps({"done": shown, "files": files}).encode() + b"\n")
            for path in paths:
                with path.open("rb") as file:
                    while piece := await asyncio.to_thread(file.read, PIECE):
                        await self._piece(send, piece)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)

    async def _piece(self, send: Send, piece: bytes) -> None:
        await self._say(send, {"type": "http.response.body", "body": piece, "more_body": True})

    async def _say(self, send: Send, event: Any) -> None:
        """:raises Gone: when the client takes nothing for too long."""
        try:
            await asyncio.wait_for(send(event), self._office.limits.silence)
        except TimeoutError as error:
            raise Gone from error


HEADERS = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]


async def _goes(receive: Any) -> None:
    """Ends when the client does, all of whose job has come."""
    while (await receive())["type"] != "http.disconnect":
        pass
