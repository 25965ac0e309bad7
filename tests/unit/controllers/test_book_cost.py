"""What a pass asks of the book concerns its route alone."""

from __future__ import annotations

from collections.abc import Iterator

from backstay.controllers.book import Book
from backstay.domain.pairs import HostKey, PairState, Route


class Unwalked(dict[tuple[str, Route], PairState]):
    """May be asked for one key, not for all."""

    def __iter__(self) -> Iterator[tuple[str, Route]]:
        raise AssertionError("all states were looked at")

    keys = values = items = __iter__  # type: ignore[assignment]


def route(number: int) -> Route:
    return Route(HostKey("ns", "a", f"h{number}"), HostKey("ns", "b", f"h{number}"))


def state(key: str) -> PairState:
    return PairState(
        key=key, members=(), point=None, as_of=None, source_seen=True, target_seen=True
    )


def test_a_route_is_recorded_and_asked_for_without_a_walk_over_all_states() -> None:
    book = Book(states=Unwalked())
    for number in range(10):
        book.record(route(number), [state(f"ns/p{number}"), state("ns/wide")], 0.0)
    assert book.route_states(route(3)) == {"ns/p3": state("ns/p3"), "ns/wide": state("ns/wide")}
    assert book.route_states(route(99)) == {}
    assert len(book.all_states("ns/wide")) == 10
    assert book.all_states("ns/p3") == (state("ns/p3"),)


def test_a_pair_that_is_forgotten_is_on_no_route() -> None:
    book = Book()
    book.record(route(1), [state("ns/p"), state("ns/q")], 0.0)
    book.forget_pair("ns/p")
    assert book.route_states(route(1)) == {"ns/q": state("ns/q")}
    assert book.all_states("ns/p") == ()
