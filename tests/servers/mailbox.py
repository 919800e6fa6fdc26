"""A mail server of few words: takes what is sent, and a login where there is one."""

import base64
import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage


class Mailbox(socketserver.ThreadingTCPServer):
    """`received` holds messages; `logins` what was sent as (user, password)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
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
        """Neither TLS nor anything else but a login."""
        self._say("250-mailbox")
        self._say("250 AUTH PLAIN")

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
