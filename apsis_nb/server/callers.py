"""Who makes a request, and what they may do: four roles, each with all that the ones before it may."""

from dataclasses import dataclass
from typing import Literal, get_args

#: `read` looks, `run` starts and moves runs of the jobs that there are, `write` says what jobs do, and
#: `admin` is the owner.
Role = Literal["read", "run", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request."""

    user: str  #: recorded as `by` of what the request changes
    role: Role
    paths: tuple[str, ...] = ()  #: only jobs of these names and below these folders; empty: all
    token: str | None = None  #: the mark of the token that was shown; None: the server's own

    def has(self, role: Role) -> bool:
        """Whether it may do what takes this role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_see(self, job_id: str) -> bool:
        """Whether a job is one of its paths."""
        return not self.paths or any(job_id == p or job_id.startswith(f"{p}/") for p in self.paths)

    @property
    def held_to(self) -> str:
        """Its paths, in words."""
        return " and ".join(f"{path}/" for path in self.paths)

    def lacks(self, role: Role, what: str) -> str:
        """What to say of something that takes a role which it has not."""
        return (
            f"{what} takes the role {role}, and {self.user} has {self.role}: "
            f"`apsis-nb token new --role {role}` makes such a token"
        )
