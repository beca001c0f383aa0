"""One file per order in which images are asked about; files are discovered.

An order is a frozen dataclass on `ilk.labelling.orders.order.OrderTags`.
"""

from __future__ import annotations

from typing import cast

from ilk.core.registry import find_classes, parse_call
from ilk.labelling.orders.order import OrderTags

DEFAULT = "UncertaintyHerding"


def list_orders() -> dict[str, type[OrderTags]]:
    """Return the orders by name."""
    return find_classes(__name__, OrderTags, "choose")


def parse_order(text: str) -> OrderTags:
    """Return the order that `text` describes, such as `MaxHerding` or `ClusterMargin(spread=3)`.

    Raises:
        UnknownName: There is no such order.
        InputError: It has no such field.
    """
    return cast("OrderTags", parse_call(text, list_orders(), "order"))
