"""What the jobs of a batch share, read once for a chunk: their policy, and what goes with it."""

from dataclasses import dataclass

from shared.db.repositories.duplicates import Family
from shared.db.repositories.job_claims import ClaimedJob
from shared.deciding.routing_policy import RoutingPolicy
from shared.deciding.trials import Arm, arm_of
from shared.domain.batch import is_awaited
from worker.answer_cache import Caching


@dataclass(frozen=True, slots=True)
class Trial:
    """Another policy that a share of a project's jobs is run by, to be compared."""

    name: str
    share: float
    policy: RoutingPolicy


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What the jobs of a batch share.

    announces_jobs: an endpoint wants an event of each answer. is_capped: it has a limit of its own.
    has_duplicates: some of its jobs wait for the end of others. caching: None where the project
    keeps no answers. key_id: the API key whose limits it draws on. trial: of the project, if any.
    """

    number: int
    id: str
    project_id: str
    policy: RoutingPolicy
    announces_jobs: bool = False
    is_capped: bool = True
    has_duplicates: bool = False
    caching: Caching | None = None
    key_id: str | None = None
    trial: Trial | None = None

    def arm_of(self, job: ClaimedJob) -> Arm | None:
        """By which of two policies a job is run; None where there is one."""
        return None if self.trial is None else arm_of(self.trial.name, job.id, self.trial.share)

    def policy_for(self, job: ClaimedJob) -> RoutingPolicy:
        """The policy that a job is run by."""
        if self.trial is not None and self.arm_of(job) is Arm.B:
            return self.trial.policy
        return self.policy

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for these jobs on an open connection."""
        return is_awaited(self.id)

    @property
    def family(self) -> Family | None:
        """Who shares the ends of its jobs; None where nobody does."""
        if not self.has_duplicates:
            return None
        return Family(self.number, self.id, self.project_id, self.announces_jobs)
