"""Where a program runs: the names that job files use for machines, and the machines that they mean."""

from collections.abc import Mapping

from apsis_nb.core.fields import suggestion

#: This machine.
LOCAL = "local"
#: Names that always mean this machine.
HOSTS_OF_ITS_OWN = ("default", LOCAL)
#: The name that programs of type `procstar-ecs` go by.
ECS_HOST = "aws-ecs"

#: The machine of each name that job files may use. None: any name will do, for nothing is started.
Hosts = Mapping[str, str] | None


def host_of(name: str | None, hosts: Hosts) -> str:
    """The machine that a name stands for; this one, where there is no name.

    Raises:
        ValueError: the name is not mapped.
    """
    if name is None or name in HOSTS_OF_ITS_OWN:
        return LOCAL
    if hosts is None:
        return name
    if name not in hosts:
        hint = suggestion(name, hosts) or f": 'hosts: {{{name}: local}}' there runs it on this machine"
        raise ValueError(f"'{name}' is not mapped under 'hosts' in the server's configuration{hint}")
    return hosts[name]
