"""How an order presents itself in the Temporal Web UI: a line in the list, and a page of Markdown."""

import re

from orders import lifecycle
from orders.commands import PlaceOrder
from orders.order import StatusChange
from workflows.state import OrderState, Rejection

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~])")
_LONGEST_TEXT = 200


def summarize(place: PlaceOrder) -> str:
    """One line, fixed when the order is placed: who ordered how much."""
    items = "1 item" if len(place.items) == 1 else f"{len(place.items)} items"
    return f"{_shown(place.customer_id)}: {items}, {lifecycle.total(place)} {place.currency}"


def describe(state: OrderState) -> str:
    """The order's story so far, as Markdown, recomputed at every change."""
    order = state.record.order
    lines = [
        f"**{order.status}** · {order.total_amount} {order.currency} · customer {_shown(order.customer_id)}",
        "",
        "| version | when (UTC) | status | by | reason |",
        "|---|---|---|---|---|",
        *(_timeline_row(change) for change in state.record.history),
        "",
    ]
    if state.projected_version < order.version:
        lines += [f"PostgreSQL has version {state.projected_version} of {order.version}.", ""]
    if order.allowed_transitions:
        lines += [f"Next: {' or '.join(order.allowed_transitions)}", ""]
    if state.rejections:
        lines += ["Refused signals, latest last:", "", *(_rejection_row(it) for it in state.rejections)]
    return "\n".join(lines)


def _timeline_row(change: StatusChange) -> str:
    when = f"{change.changed_at:%Y-%m-%d %H:%M:%S}"
    return (
        f"| {change.version} | {when} | {change.new_status} "
        f"| {_shown(_who(change))} | {_shown(change.reason or '')} |"
    )


def _who(change: StatusChange) -> str:
    return f"{change.changed_by} for {change.on_behalf_of}" if change.on_behalf_of else change.changed_by


def _rejection_row(rejection: Rejection) -> str:
    when = f"{rejection.rejected_at:%Y-%m-%d %H:%M:%S}"
    what = f"{_shown(rejection.status or 'unreadable')} by {_shown(rejection.changed_by or 'somebody')}"
    return f"- {when} {what}: {_shown(rejection.reason)}"


def _shown(text: str) -> str:
    """A text of somebody else's, which must not become markup."""
    line = " ".join(text.split())
    short = line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}…"
    return _MARKDOWN.sub(r"\\\1", short)
