"""A mail server of few words: takes what is sent, and a login where there is one."""

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from contextlib import suppress
from email.message import EmailMessage


class Mailbox(socketserver.ThreadingTCPServer):
    """`received` holds messages; `logins` what was sent as (user, password). tls: offered, or
    with `at_once` spoken from the start.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, tls: ssl.SSLContext | None = None, *, at_once: bool = False) -> None:
        self.tls, self.at_once = tls, at_once
        super().__init__(("127.0.0.1", 0), _Session)
        self.received: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.refuses = False
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        with suppress(ssl.SSLError, ConnectionError):  # a client that does not trust us
            if self.server.at_once:
                self._speak_tls()
            self._serve()

    def finish(self) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.close()  # what it was made of is all that the server knows

    def _speak_tls(self) -> None:
        assert self.server.tls is not None
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        self.setup()

    def _serve(self) -> None:
        self._say("220 mailbox")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "QUIT":
                self._say("221 bye")
                return
            getattr(self, f"on_{verb.lower()}", self._fine)(line)

    def _fine(self, _line: str) -> None:
        self._say("250 fine")

    def on_ehlo(self, _line: str) -> None:
        """A login, and TLS where there is any and it is not spoken already."""
        self._say("250-mailbox")
        if self.server.tls is not None and not isinstance(self.request, ssl.SSLSocket):
            self._say("250-STARTTLS")
        self._say("250 AUTH PLAIN")

    def on_starttls(self, _line: str) -> None:
        """From here on."""
        self._say("220 go on")
        self._speak_tls()

    def on_auth(self, line: str) -> None:
        """AUTH PLAIN with its word."""
        _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
        self.server.logins.append((user, password))
        self._say("235 come in")

    def on_data(self, _line: str) -> None:
        """A message up to the line of one point."""
        if self.server.refuses:
            self._say("451 not now")
            return
        self._say("354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.server.received.append(message)
        self._say("250 taken")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")
