"""How Salesforce says no: one exception that knows both shapes of an error, at the top level and in a row."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A request, or one record of it, that is not carried out.

    extra: what stands beside the message at the top level (the duplicate rule's result).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        fields: list[str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.fields, self.extra = code, message, status, fields, extra

    def body(self) -> list[dict[str, Any]]:
        """The whole reply: an array, with `errorCode`."""
        told: dict[str, Any] = {**(self.extra or {}), "message": self.message, "errorCode": self.code}
        if self.fields is not None:
            told["fields"] = self.fields
        return [told]

    def row(self) -> dict[str, Any]:
        """One row of a collection: the same with `statusCode`, and `fields` always."""
        error = {"statusCode": self.code, "message": self.message, "fields": self.fields or []}
        return {"success": False, "errors": [error]}


class WholeRequest(Refused):
    """An error of form: it refuses a whole collection, not one row of it."""


def not_found(message: str = "The requested resource does not exist") -> Refused:
    return Refused("NOT_FOUND", message, status=404)


def session_invalid() -> Refused:
    return Refused("INVALID_SESSION_ID", "Session expired or invalid", status=401)


def limit_reached() -> Refused:
    return Refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
