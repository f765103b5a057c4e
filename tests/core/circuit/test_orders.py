"""Orders: how long they hold, and that a ticket is good for one probe."""

from __future__ import annotations

from recloser import State
from recloser._circuit.orders import Orders


def orders(until: float = 10.0) -> Orders:
    made = Orders(State.OPEN)
    made.renew(until)
    return made


def test_new_orders_hold_until_they_are_over_and_a_second_of_grace() -> None:
    each = orders(until=10.0)

    assert each.check(9.9)
    assert each.check(10.0)
    assert each.check(10.9)
    assert not each.check(11.1)


def test_the_grace_begins_with_the_first_look_not_with_the_end() -> None:
    """A process that was stopped for a minute asks its fleet first."""
    each = orders(until=10.0)

    assert each.check(70.0)
    assert not each.check(71.1)


def test_orders_that_are_renewed_hold_again_with_a_grace_of_their_own() -> None:
    each = orders(until=10.0)
    assert each.check(10.5)

    each.renew(20.0)

    assert each.check(19.9)
    assert each.check(20.5)
    assert not each.check(21.6)


def test_a_ticket_is_good_for_one_probe() -> None:
    each = orders()
    each.ticket_until = 5.0

    assert each.take_ticket(4.0)
    assert not each.take_ticket(4.0)


def test_a_ticket_ends() -> None:
    each = orders()
    each.ticket_until = 5.0

    assert not each.take_ticket(5.0)


def test_without_a_ticket_there_is_no_probe() -> None:
    assert not orders().take_ticket(0.0)


def test_orders_that_were_never_renewed_hold_for_the_grace_only_and_let_nothing_pass() -> None:
    new = Orders(State.OPEN)

    assert new.places == 0.0
    assert new.check(5.0)
    assert not new.check(6.0)  # the grace is a second, and it ends when the second is over
