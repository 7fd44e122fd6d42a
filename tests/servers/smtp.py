"""A real mail server in this process, as much of SMTP as a client needs to leave a mail."""

import asyncio
import threading
from email import message_from_bytes
from email.message import Message


class SmtpServer:
    """Takes every mail on a free port of the loopback; ``mails`` are those that arrived whole."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def wait_for(self, count: int, seconds: float = 20) -> list[Message]:
        """Return the mails once there are so many of them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.mails) >= count, seconds), self.mails
            return list(self.mails)

    def __enter__(self) -> "SmtpServer":
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                self._keep(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            await writer.drain()
            if word == b"QUIT":
                break
        writer.close()

    def _keep(self, content: bytes) -> None:
        with self._arrived:
            self.mails.append(message_from_bytes(content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")))
            self._arrived.notify_all()
