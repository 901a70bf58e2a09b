"""The command line of another command, as the field of a spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

# A tuple, since words may repeat where the values of a list option may not.
CommandLine = Annotated[tuple[str, ...], BeforeValidator(tuple)]
