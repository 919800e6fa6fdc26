"""How many of the tokens that calls may take they really took, of late; a pure value of one key."""

from dataclasses import dataclass
from typing import Final

_FADING: Final = 0.98  # of what the last call counts, the one before it: fifty calls are remembered


@dataclass(slots=True)
class Habit:
    """Sums that fade. While nothing is known, a call is expected to take all it may."""

    booked: float = 0.0
    taken: float = 0.0
    input_bound: float = 0.0
    input_taken: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether any call was answered."""
        return self.booked > 0

    def learn(self, bound: int, taken: int, input_bound: int, input_taken: int) -> None:
        """A call was answered: its bounds, and what it took, in tokens."""
        self.booked = self.booked * _FADING + bound
        self.taken = self.taken * _FADING + taken
        self.input_bound = self.input_bound * _FADING + input_bound
        self.input_taken = self.input_taken * _FADING + input_taken

    def expected(self, bound: int) -> float:
        """The tokens that a call of this bound will take."""
        return bound * self.taken / self.booked if self.booked else bound

    def input_of(self, bound: int) -> float:
        """The input tokens that a provider will see where at most so many are expected."""
        return bound * self.input_taken / self.input_bound if self.input_taken else bound
