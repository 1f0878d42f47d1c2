"""The state before the hostile requests: drops in every state, holds and orders of many shoppers."""

import json

from . import stack as stacks

OPEN = "hostile-open"
SOLD_OUT = "hostile-sold-out"
PAUSED = "hostile-paused"
ENDED = "hostile-ended"
DRAFT = "hostile-draft"
UPCOMING = "hostile-upcoming"
# Drops that any request may pause, restock or cancel.
PREY = [f"hostile-prey-{n}" for n in range(8)]

PRICE_MINOR = 4_900
SHOPPERS = 24
CARDS = ["pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired"]


def drop_body(opens_in_seconds=-5, ends_in_seconds=7_200, units=2_000, limit=12):
    sku = lambda name: {"sku": name, "title": f"SKU {name}", "price_minor": PRICE_MINOR, "units": units}
    return {
        "title": "Hostile", "currency": "EUR", "start_may_be_past": True, "starts_at": stacks.moment(opens_in_seconds),
        "ends_at": stacks.moment(ends_in_seconds), "hold_seconds": 3_600, "payment_seconds": 3_600,
        "per_shopper_limit": limit, "expected_shoppers": 1000, "skus": [sku("A"), sku("B")],
    }


def shipping():
    return {"name": "Ada Byron", "line1": "1 Engine Way", "postal_code": "10115", "city": "Berlin", "country": "DE",
            "email": "ada@example.com"}


def checkout(reservation, card="pm_card_visa"):
    return {"reservation_id": reservation["reservation_id"], "amount": reservation["amount"], "payment_method": card,
            "shipping": shipping()}


class Scene:
    """The planted identifiers and their owners."""

    def __init__(self, stack):
        self.stack = stack
        self.operator = stack.file["operator_token"]
        self.shoppers = [stack.token("--shopper", f"hostile{n}") for n in range(SHOPPERS)]
        self.owners = {}
        self.reservations, self.orders, self.cursors = [], [], []
        self._drops()
        self._holds()

    def _publish(self, drop, **plan):
        self.stack.expect(201, "PUT", f"/operator/drops/{drop}", self.operator, drop_body(**plan))
        self.stack.expect(200, "POST", f"/operator/drops/{drop}/publish", self.operator)

    def _drops(self):
        self._publish(OPEN)
        self._publish(SOLD_OUT, units=1)
        self._publish(PAUSED)
        self.stack.expect(200, "POST", f"/operator/drops/{PAUSED}/pause", self.operator)
        self._publish(UPCOMING, opens_in_seconds=3_600)
        self._publish(ENDED)
        self.stack.expect(200, "POST", f"/operator/drops/{ENDED}/cancel", self.operator)
        self.stack.expect(201, "PUT", f"/operator/drops/{DRAFT}", self.operator, drop_body())
        for n, drop in enumerate(PREY):
            if n % 2:
                self._publish(drop, units=30)
            else:
                self.stack.expect(201, "PUT", f"/operator/drops/{drop}", self.operator, drop_body(units=30))

    def reserve(self, token, sku, key, drop=OPEN):
        return self.stack.expect(
            201, "POST", f"/drops/{drop}/reservations", token, {"sku": sku, "quantity": 1}, key)

    def _holds(self):
        for sku in ("A", "B"):
            self.reserve(self.shoppers[0], sku, "the-last-one", SOLD_OUT)
        for n, token in enumerate(self.shoppers):
            held = self.reserve(token, "A", "planted")
            self.reservations.append(held["reservation_id"])
            self.owners[held["reservation_id"]] = token
            if n % 2 == 0:
                bought = self.reserve(token, "B", "planted")
                order = self.stack.expect(
                    202, "POST", "/orders", token, checkout(bought, CARDS[n // 2 % len(CARDS)]), "planted")
                self.orders.append(order["order_id"])
                for name in ("order_id", "reservation_id"):
                    self.owners[order[name]] = token
                self.reservations.append(order["reservation_id"])
        for path, token in (("/drops", None), ("/orders", self.shoppers[0])):
            page = self.stack.expect(200, "GET", f"{path}?limit=1", token)
            if page["next_cursor"]:
                self.cursors.append(page["next_cursor"])

    def write(self, path):
        """The data for the hooks, which run in schemathesis' own process."""
        path.write_text(json.dumps({
            "control_url": self.stack.file["control_url"], "operator": self.operator, "shoppers": self.shoppers,
            "owners": self.owners, "prey": PREY,
        }))
