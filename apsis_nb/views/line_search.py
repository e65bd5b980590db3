"""Finding lines in the bytes of an output, piece by piece, however long it is."""

import re

MOST_FOUND = 10_000  #: places that are kept; beyond it lines are only counted
MOST_LINE = 1 << 20  #: a longer line is taken for several

_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
#: What a line of an error has, in lower case; and what only says that there was none.
_ERROR_WORDS = (b"error", b"fatal", b"critical", b"exception", b"traceback", b"panic", b"failed", b"fault")
_ERROR = re.compile(
    rb"traceback \(most recent|segmentation fault|\w{2}(?:error|exception)\b"
    rb"|(?<![\w.-])(?:error|fatal|critical|exception|panic|failed)\b"
)
_NO_ERROR = re.compile(
    rb"\b(?:0|no|without(?: any)?|zero) (?:error|exception|fail|fault)"
    rb"|\b(?:errors?|failed)[=:] ?(?:0|none|false)\b"
)


class LineSearch:
    """Finds the lines that have some words, whatever their case and colours.

    Args:
        words: plain text; None: lines that look like an error.
    """

    def __init__(self, words: str | None) -> None:
        self.is_error = words is None
        self.count = 0
        self.places: list[int] = []  #: where the first lines begin, bytes from the start of the output
        self._needles = _ERROR_WORDS if words is None else (words.encode().lower(),)
        self._begin = 0
        self._rest = b""

    @property
    def offset(self) -> int:
        """Bytes that were looked through or wait for the end of their line."""
        return self._begin + len(self._rest)

    def feed(self, piece: bytes, *, at_end: bool) -> None:
        """Look through the next bytes.

        Args:
            piece: those that follow the last ones.
            at_end: whether they are the last.
        """
        data = self._rest + piece
        cut = len(data) if at_end else data.rfind(b"\n") + 1
        if not cut and len(data) > MOST_LINE:
            cut = len(data)
        block, self._rest = data[:cut], data[cut:]
        plain = (_ESCAPES.sub(b"", block) if b"\x1b" in block else block).lower()
        if any(needle in plain for needle in self._needles):
            self._look(block, plain)
        self._begin += cut

    def _look(self, block: bytes, plain: bytes) -> None:
        at = self._begin
        # An escape has no newline, so the lines of both are the same.
        for line, words in zip(block.split(b"\n"), plain.split(b"\n"), strict=True):
            if self._fits(words):
                self.count += 1
                if len(self.places) < MOST_FOUND:
                    self.places.append(at)
            at += len(line) + 1

    def _fits(self, line: bytes) -> bool:
        if not self.is_error:
            return self._needles[0] in line
        return _ERROR.search(line) is not None and _NO_ERROR.search(line) is None
