"""Texts of a job file that may hold a secret: whoever asks about a job or a run sees only what is `shown`."""

import re
from dataclasses import dataclass, field
from hashlib import blake2b

#: A value that stands elsewhere: a variable of the server's environment, or a file. Only the configuration
#: may send what is there to somebody; job files have names for it.
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.+", re.DOTALL)
_HIDDEN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)?\*\*\*#[0-9a-f]{8}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Private:
    """A text, and what of it everybody may see. Two that are shown alike are alike: a hash is shown, too."""

    shown: str
    text: str | None = field(default=None, compare=False, repr=False)  #: None: it is not known any more

    @property
    def is_name(self) -> bool:
        """Whether it is no value, but the name of one."""
        return is_name(self.shown)

    def __str__(self) -> str:
        return self.shown


def is_name(text: str) -> bool:
    """Whether a text can be the name of an address or a secret."""
    return _NAME.fullmatch(text) is not None


def hidden(text: str) -> Private:
    """A text of which nothing is shown but, of an address, the kind.

    What was shown of such a text is read back as one that is not known.
    """
    if _HIDDEN.fullmatch(text):
        return Private(text)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    address = _ADDRESS.fullmatch(text)
    return Private(f"{address[1]}://***#{digest}" if address else f"***#{digest}", text)


def read_address(value: object) -> Private:
    """An address, `mailto://...`, or the name of one that the server's configuration has.

    Raises:
        ValueError: it is neither. The text is not repeated: it may hold a secret.
    """
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return hidden(value)
    if isinstance(value, str) and is_name(value):
        return Private(value, value)
    raise ValueError("must be an address, as mailto://..., or the name of one in the server's configuration")


def read_web_address(value: object) -> Private:
    """An address of the web, or the name of one among the server's secrets.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str) and re.match(r"https?://[^/]", value):
        return hidden(value)
    if isinstance(value, str) and is_name(value):
        return Private(value, value)
    raise ValueError("must be an address, as https://..., or the name of one among the server's secrets")


def read_header(text: str) -> Private:
    """The value of a header; `secret:NAME` is one of the server's secrets.

    Raises:
        ValueError: it names a variable or a file of the server.
    """
    if REFERENCE.fullmatch(text):
        hint = "give it a name under 'secrets' in the server's configuration, and write secret:NAME"
        raise ValueError(f"'{text}' is nothing that a job file may send: {hint}")
    return Private(text, text) if secret_in(text) else hidden(text)


def secret_in(text: str) -> str | None:
    """The name in `secret:NAME`; None: it is another text."""
    kind, _, name = text.partition(":")
    return name if kind == "secret" and is_name(name) else None


def read_secret(value: object) -> str:
    """The name of a secret of the server's configuration, or a reference; never the secret itself.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str) and (is_name(value) or REFERENCE.fullmatch(value)):
        return value
    raise ValueError("must be the name of a secret in the server's configuration, env:NAME or file:PATH")
