"""What an API process counts of the requests it answers."""

from collections.abc import Sequence

from starlette.types import Scope

from shared.tallies import Count, Spread, Tally, loop_lag

_NO_ROUTE = "none"


class ApiFigures:
    """Of one API process, in its event loop."""

    def __init__(self) -> None:
        self._requests = Count(
            "http_requests", "Answered requests by route and status", "method", "route", "status"
        )
        self._seconds = Spread(
            "http_seconds", "From a request's head to its answer's, by route", "route"
        )
        self.total = 0
        self.lag = loop_lag("api")
        self.tallies: Sequence[Tally] = (self._requests, self._seconds, self.lag)

    def answered(self, scope: Scope, status: int, after_s: float) -> None:
        """The head of an answer leaves. What no route was found for counts as one, whatever its
        path and its method: there is no end of those.
        """
        self.total += 1
        path = getattr(scope.get("route"), "path", None)
        if path is None:
            self._requests.add(_NO_ROUTE, _NO_ROUTE, str(status))
            return
        self._requests.add(scope["method"], path, str(status))
        self._seconds.take(after_s, path)
