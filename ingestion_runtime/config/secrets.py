"""References to secrets. The value is read when it is needed and kept nowhere."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ingestion_runtime.model.errors import ConfigError

REFERENCE = re.compile(r"\$\{(?P<kind>env|file):(?P<name>[^{}\x00-\x1f\x7f]+)\}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST_SECRET = 65_536
HOW_TO = "write ${env:NAME} (an environment variable) or ${file:PATH} (a file that holds only the secret)"


@dataclass(frozen=True, slots=True, repr=False)
class SecretReference:
    """``${env:NAME}`` or ``${file:PATH}``. Shows itself as the reference, never as the value.

    A relative path is taken from ``base``, the directory of the configuration file.
    """

    kind: str
    name: str
    base: Path

    @classmethod
    def parse(cls, text: str, base: Path) -> "SecretReference":
        """Return the reference that ``text`` spells; raises ConfigError, not repeating ``text``, when it is none."""
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise ConfigError("A literal secret is not accepted here.", remedy=f"Instead, {HOW_TO}.")
        if found["kind"] == "env" and VARIABLE.fullmatch(found["name"]) is None:
            raise ConfigError("This is not the name of an environment variable.", remedy=f"Instead, {HOW_TO}.")
        return cls(found["kind"], found["name"], base)

    def resolve(self) -> str:
        """Return the value as it is now; raises ConfigError when it is unset, unreadable or empty."""
        value = self._from_environment() if self.kind == "env" else self._from_file()
        if not value:
            raise ConfigError(f"The secret {self} is empty.", remedy="Give it a value.", reference=str(self))
        return value

    @property
    def file(self) -> Path | None:
        """The file that holds the secret; None for a variable."""
        return self.base / self.name if self.kind == "file" else None

    def __str__(self) -> str:
        return f"${{{self.kind}:{self.name}}}"

    def __repr__(self) -> str:
        return f"SecretReference('{self}')"

    def _from_environment(self) -> str:
        value = os.environ.get(self.name)
        if value is None:
            raise ConfigError(
                f"The secret {self} cannot be read: the environment variable is not set.",
                remedy=f"Set {self.name} for the process that runs the ingestion.",
                reference=str(self),
            )
        return value

    def _from_file(self) -> str:
        try:
            with (self.base / self.name).open("rb") as file:
                content = file.read(LARGEST_SECRET + 1)
            text = content.decode()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(
                f"The secret {self} cannot be read: {reason}.",
                remedy="Create the file, or allow the user that runs the ingestion to read it.",
                reference=str(self),
            ) from None
        if len(content) > LARGEST_SECRET:
            raise ConfigError(
                f"The secret {self} is longer than {LARGEST_SECRET} bytes.",
                remedy="Name a file that holds only the secret.",
                reference=str(self),
            )
        return text.removesuffix("\n").removesuffix("\r")
