"""What the operator is told by its environment: read once, then never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from backstay.app.lease import LeaseTimes

ALL_NAMESPACES = "*"
INSTALLATION_ID = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,254}"
"""What the hosts take, and the chart: anything else would be refused at each claim."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(Exception):
    """The environment makes no sense; each argument is a line that says what to change."""


def _split(text: Any) -> Any:
    return (
        tuple(filter(None, (p.strip() for p in text.split(",")))) if isinstance(text, str) else text
    )


class Settings(BaseModel):
    """The operator's settings. Each is one environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str = Field(alias="BACKSTAY_NAMESPACE", pattern=f"^{_NAMESPACE.pattern}$")
    watch: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=(), alias="BACKSTAY_WATCH_NAMESPACES"
    )
    given_installation_id: str = Field(
        default="", alias="BACKSTAY_INSTALLATION_ID", pattern=f"^({INSTALLATION_ID})?$"
    )
    http_port: int = Field(default=8080, alias="BACKSTAY_HTTP_PORT", ge=1, le=65535)
    log_format: Literal["json", "console"] = Field(default="json", alias="BACKSTAY_LOG_FORMAT")
    kubeconfig: str = Field(default="", alias="KUBECONFIG")
    lease_name: str = Field(default="backstay", alias="BACKSTAY_LEASE_NAME", min_length=1)
    lease_s: float = Field(default=30.0, alias="BACKSTAY_LEASE_SECONDS", ge=1, le=600)
    renew_s: float | None = Field(default=None, alias="BACKSTAY_LEASE_RENEW_SECONDS", gt=0)
    retry_s: float | None = Field(default=None, alias="BACKSTAY_LEASE_RETRY_SECONDS", gt=0)

    require_installed: bool = Field(default=False, alias="BACKSTAY_REQUIRE_INSTALLED")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings of an environment; variables that are set but empty count as absent."""
        given = {name: value for name, value in environment.items() if value.strip()}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError(*_lines(error)) from None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for namespace in self.watch:
            if namespace != ALL_NAMESPACES and not _NAMESPACE.fullmatch(namespace):
                raise ValueError(f"BACKSTAY_WATCH_NAMESPACES: {namespace!r} is no namespace")
        times = self.lease_times
        if not times.retry_s < times.renew_deadline_s < times.duration_s:
            raise ValueError(
                "BACKSTAY_LEASE_RETRY_SECONDS must be less than BACKSTAY_LEASE_RENEW_SECONDS, and "
                "that less than BACKSTAY_LEASE_SECONDS: the holder must stop before others start"
            )
        return self

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The watched namespaces, sorted; empty means all of the cluster."""
        if ALL_NAMESPACES in self.watch:
            return ()
        return tuple(sorted({*self.watch, self.namespace}))

    @property
    def installation_id(self) -> str:
        """Who writes at the hosts: the same for a cluster that was rebuilt, and for no other."""
        return self.given_installation_id or f"{self.namespace}/backstay"

    @property
    def lease_times(self) -> LeaseTimes:
        """The Lease's times; what is not set keeps the proportion of 30 : 20 : 5."""
        return LeaseTimes(
            duration_s=self.lease_s,
            renew_deadline_s=self.renew_s or self.lease_s * 2 / 3,
            retry_s=self.retry_s or self.lease_s / 6,
        )


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in fault["loc"])
        said = str(fault["msg"]).removeprefix("Value error, ")
        lines.append(f"{where}: {said}" if where else said)
    return lines
