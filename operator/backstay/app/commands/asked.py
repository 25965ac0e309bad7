"""What the command line says for every command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Output(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Where to look and how to answer. `lease` is the operator's, as namespace/name."""

    namespace: str | None = None
    all_namespaces: bool = False
    kubeconfig: str | None = None
    lease: str | None = None
    output: Output = Output.TEXT
