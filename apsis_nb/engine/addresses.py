"""Where messages go, and with which secrets: looked up as they are sent, so that a new one counts at once."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from apsis_nb.config import Config
from apsis_nb.core.actions import not_configured, privates_of
from apsis_nb.core.errors import ApsisError, NotFound
from apsis_nb.core.jobs import Job
from apsis_nb.core.private import REFERENCE, Private, secret_in


class Addresses:
    """The addresses and secrets of a server's configuration, and those that stand in job files.

    Args:
        config: of the server.
        jobs: gives the jobs as they are now.
    """

    def __init__(self, config: Config, jobs: Callable[[], Mapping[str, Job]]) -> None:
        self._named: Mapping[str, SecretStr] = config.notify.addresses
        self._secrets: Mapping[str, SecretStr] = config.secrets
        self._actions, self._jobs = config.action, jobs

    def check(self) -> None:
        """See to it that what the configuration keeps elsewhere is there.

        Raises:
            ApsisError: a variable or a file is not.
        """
        for section, kept in (("notify", self._named), ("secrets", self._secrets)):
            for name, value in kept.items():
                try:
                    _value(value.get_secret_value())
                except NotFound as error:
                    raise ApsisError(f"{section}.{name}: {error}") from None

    def whom(self, to: Private) -> str:
        """The address of somebody who is to be told.

        Raises:
            NotFound: there is none.
        """
        return self.named(to.shown) if to.is_name else self._known(to)

    def named(self, name: str) -> str:
        """The address of a name.

        Raises:
            NotFound: there is none.
        """
        return self._of_name(name, self._named, "notify")

    def kept(self, value: SecretStr) -> str:
        """A value of the configuration, or what is kept where it says.

        Raises:
            NotFound: it is not there.
        """
        return _value(value.get_secret_value())

    def web(self, url: Private) -> str:
        """The address that a webhook calls.

        Raises:
            NotFound: there is none.
        """
        return self.secret(url.shown) if url.is_name else self._known(url)

    def header(self, value: Private) -> str:
        """The value of a header.

        Raises:
            NotFound: it is not there any more.
        """
        name = secret_in(value.shown)
        return self._known(value) if name is None else self.secret(name)

    def secret(self, name: str) -> str:
        """A secret by its name, or by where it is kept.

        Raises:
            NotFound: there is none.
        """
        return _value(name) if REFERENCE.fullmatch(name) else self._of_name(name, self._secrets, "secrets")

    def _of_name(self, name: str, kept: Mapping[str, SecretStr], section: str) -> str:
        if name not in kept:
            raise NotFound(not_configured(name, section, kept))
        return _value(kept[name].get_secret_value())

    def _known(self, private: Private) -> str:
        """The text; after a restart the store has only what is shown of it, and the job file the whole."""
        if private.text is not None:
            return private.text
        actions = [*self._actions, *(action for job in self._jobs().values() for action in job.actions)]
        for action in actions:
            for known in privates_of(action):
                if known == private and known.text is not None:
                    return known.text
        raise NotFound(f"{private.shown} stands in no job file any more")


def _value(text: str) -> str:
    """A text, or what is kept where it says."""
    if not REFERENCE.fullmatch(text):
        return text
    kind, _, place = text.partition(":")
    if kind == "env":
        found = os.environ.get(place)
        if not found:
            raise NotFound(f"the environment of the server has no {place}")
        return found
    try:
        found = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise NotFound(f"{place} cannot be read: {why}") from None
    if not found:
        raise NotFound(f"{place} is empty")
    return found
