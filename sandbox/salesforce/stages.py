"""The stages an opportunity goes through, and what each makes of it.

Won and lost are told by IsWon and IsClosed, never by a stage's name: an org may have several stages that win.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sandbox.salesforce.ids import make_id

Body = dict[str, Any]
FORECAST_NAMES = {"BestCase": "Best Case", "Forecast": "Commit"}


def stage(name: str, *, probability: int, won: bool, closed: bool, forecast: str, order: int) -> Body:
    """One stage; `gives` is what an opportunity has from it."""
    return {
        "name": name,
        "order": order,
        "gives": {
            "IsWon": won,
            "IsClosed": closed,
            "Probability": probability,
            "ForecastCategory": forecast,
            "ForecastCategoryName": FORECAST_NAMES.get(forecast, forecast),
        },
    }


def custom_stage(wanted: Body, order: int) -> Body:
    """From the page `stages`: {"name", "won", "closed", "probability"}."""
    won = bool(wanted.get("won"))
    closed = bool(wanted.get("closed", won))
    forecast = "Closed" if won else "Omitted" if closed else "Pipeline"
    probability = int(wanted.get("probability", 100 if won else 0))
    return stage(
        wanted["name"], probability=probability, won=won, closed=closed, forecast=forecast, order=order
    )


OPEN = stage("", probability=0, won=False, closed=False, forecast="Pipeline", order=0)["gives"]

# recorded: the names (CumulusCI's describe); second hand: the numbers of a new Developer Edition
_SHIPPED = (
    ("Prospecting", 10, "Pipeline"), ("Qualification", 10, "Pipeline"), ("Needs Analysis", 20, "Pipeline"),
    ("Value Proposition", 50, "Pipeline"), ("Id. Decision Makers", 60, "Pipeline"),
    ("Perception Analysis", 70, "Pipeline"), ("Proposal/Price Quote", 75, "Pipeline"),
    ("Negotiation/Review", 90, "Pipeline"), ("Closed Won", 100, "Closed"), ("Closed Lost", 0, "Omitted"),
)  # fmt: skip
STAGES: dict[str, Body] = {
    name: stage(
        name,
        probability=probability,
        won=name == "Closed Won",
        closed=name.startswith("Closed"),
        forecast=forecast,
        order=order,
    )
    for order, (name, probability, forecast) in enumerate(_SHIPPED, 1)
}


def stage_rows(stages: dict[str, Body]) -> list[Body]:
    """The stages as records of OpportunityStage."""
    return [
        {
            "Id": make_id("01J", "Sb", at),
            "MasterLabel": one["name"],
            "ApiName": one["name"],
            "IsActive": True,
            "SortOrder": one["order"],
            "IsClosed": one["gives"]["IsClosed"],
            "IsWon": one["gives"]["IsWon"],
            "ForecastCategory": one["gives"]["ForecastCategory"],
            "ForecastCategoryName": one["gives"]["ForecastCategoryName"],
            "DefaultProbability": Decimal(one["gives"]["Probability"]),
        }
        for at, one in enumerate(stages.values(), 1)
    ]
