"""The one exception of the host program: a request was not done, and why, in a word."""

from __future__ import annotations


class Refused(Exception):
    """A request was refused or failed; `reason` is a word that the operator knows.

    `higher_term` is set with reason `HigherTerm`: the term that the host knows of.
    """

    def __init__(self, reason: str, message: str, higher_term: int | None = None) -> None:
        """Keep the word apart from the sentence for people."""
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.higher_term = higher_term
