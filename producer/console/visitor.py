"""Who stands at the desk: the key that logged in, looked up again for whatever is asked."""

from dataclasses import dataclass

from producer.accounts.access import Caller, Right
from producer.api.asking import Acting
from producer.arrival import Arrival
from producer.bootstrap import ProducerContext
from producer.console.session import Reader
from shared.errors import AccessError, NotFoundError


@dataclass(frozen=True, slots=True)
class Visitor:
    """One reader of the pages, and what they may do."""

    context: ProducerContext
    reader: Reader

    def is_open(self) -> bool:
        """Whether the key of the session still lets anybody in."""
        try:
            self.caller()
        except AccessError:
            return False
        return True

    def caller(self) -> Caller:
        """Who is logged in; raises AccessError for a key that was revoked since."""
        return self._known()

    def may(self, right: Right) -> bool:
        """Whether the key has this right."""
        rights = self.caller().rights
        return right in rights or Right.ADMIN in rights

    def acting(self, right: Right) -> Acting:
        """The caller with a right, in the project chosen; an admin who chose none sees all. What
        is done counts as one of the key's requests of the minute, what is looked at does not.
        """
        changes = right is not Right.READ
        caller = self._known(counted=changes)
        caller.require(right)
        seen = self._seen(caller)
        return Acting(caller, self.context.access.project(caller, seen), seen)

    def _known(self, *, counted: bool = False) -> Caller:
        if self.context.clock().timestamp() > self.reader.until:
            raise AccessError("the session is over: log in again", code="session_over")
        return self.context.access.known(self.reader.digest, counted=counted)

    def _seen(self, caller: Caller) -> str | None:
        if caller.project_id is not None:
            return caller.project_id
        try:
            return self.context.access.named_project(caller, self.reader.project)
        except NotFoundError:  # chosen in a cookie that is older than the project's end
            return None

    def arrival(self, acting: Acting) -> Arrival:
        """How what is asked for here came: now, and not as a repetition."""
        return Arrival(None, acting.caller.key_id, self.context.clock())
