"""One HTTP client for the API server: deadlines, fresh credentials, failures with names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.request import getproxies_environment

import aiohttp
import yaml
from kubernetes.aio import client as k8s
from kubernetes.aio import config as k8s_config

from backstay.api.words import Reason
from backstay.domain.errors import BackstayError, Stalled, Unreachable
from backstay.ports.kube import Conflict, Gone

DEADLINE_S = 30.0
# Passes and writers share it; more only queue at the API server.
CONNECTIONS = 16
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
# An answer that is no JSON is quoted so far.
QUOTED = 200
# The client's functions have no annotations.
_config: Any = k8s_config
# A file that is empty, of another shape or no YAML makes the client stumble anywhere (37.0, tried).
_BAD_KUBECONFIG = (
    *(k8s_config.ConfigException, OSError, yaml.YAMLError),
    *(AttributeError, KeyError, TypeError, ValueError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request."""

    method: Literal["GET", "POST", "PATCH"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    content_type: str = JSON


class KubeClient:
    """Speaks JSON with the API server of a kubeconfig, or, if that is empty, of its own cluster.

    Credentials are read again when the API server refuses them: tokens and certificates rotate.
    """

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._api: Any = None
        self._login = asyncio.Lock()

    async def close(self) -> None:
        """No connection is open."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def request(self, call: Call) -> Any:
        """The parsed answer, an object.

        Raises `Unreachable` (nothing learnt), `Gone` (404), `Conflict` (409), `Stalled` (refused).
        """
        api = await self._connected()
        status, data = await self._send(api, call)
        if status == 401:
            api = await self._connected(instead_of=api)
            status, data = await self._send(api, call)
        answer = _parsed(data)
        if 200 <= status < 300:
            if not isinstance(answer, dict):
                raise Unreachable(
                    Reason.PROTOCOL_ERROR,
                    f"{call.method} {call.path} was not answered with an object",
                )
            return answer
        raise _failure(status, answer, f"{call.method} {call.path}")

    async def _send(self, api: Any, call: Call) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                request = await api.param_serialize(
                    call.method,
                    call.path,
                    query_params=list(call.query.items()),
                    header_params={"Accept": JSON, "Content-Type": call.content_type},
                    body=call.body,
                    auth_settings=["BearerToken"],
                )
                response = await api.call_api(
                    *request, _request_timeout=aiohttp.ClientTimeout(total=DEADLINE_S)
                )
                return response.status, await response.read()
        except TimeoutError:
            said = f"the API server did not answer {call.method} within {DEADLINE_S:.0f} s"
            raise Unreachable(Reason.TIMEOUT, said) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(
                Reason.UNREACHABLE, f"no connection to the API server: {error}"
            ) from None

    async def _connected(self, instead_of: Any = None) -> Any:
        """A client with credentials that were read after `instead_of` was made."""
        if self._api is not None and self._api is not instead_of:
            return self._api
        async with self._login:
            if self._api is None or self._api is instead_of:
                old, self._api = self._api, await self._new_client()
                if old is not None:
                    await old.close()
            return self._api

    async def _new_client(self) -> Any:
        configuration = k8s.Configuration()
        try:
            if self._kubeconfig:
                await _config.load_kube_config(
                    config_file=self._kubeconfig, client_configuration=configuration
                )
            else:
                _config.load_incluster_config(client_configuration=configuration)
        except _BAD_KUBECONFIG as error:
            raise Unreachable(
                Reason.UNREACHABLE, f"no credentials for the API server: {error}"
            ) from error
        configuration.connection_pool_maxsize = CONNECTIONS
        # Else aiohttp reads ~/.netrc in a thread for each request.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        return k8s.ApiClient(configuration)


def default_kubeconfig() -> str:
    """The path of the user's kubeconfig, as kubectl finds it without KUBECONFIG."""
    return str(Path.home() / ".kube" / "config")


def default_namespace(kubeconfig: str) -> str:
    """The namespace of the kubeconfig's current context; `default` when it names none."""
    try:
        _, current = _config.list_kube_config_contexts(kubeconfig)
    except _BAD_KUBECONFIG:
        return "default"
    return str(current["context"].get("namespace") or "default")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"message": data[:QUOTED].decode(errors="replace")}


def _failure(status: int, answer: Any, request: str) -> BackstayError:
    """What an error answer means for the next move.

    Source: API conventions of Kubernetes, section "HTTP Status codes".
    """
    said = answer.get("message", "") if isinstance(answer, dict) else ""
    message = f"{request}: {status} {said}".rstrip()
    match status:
        case 401 | 403:
            return Stalled(Reason.NO_RIGHTS, message)
        case 404 | 410:
            return Gone("Gone", message)
        case 409:
            return Conflict("Conflict", message)
        case 400 | 405 | 406 | 413 | 415 | 422:
            return Stalled(Reason.INTERNAL_ERROR, message)
        case _:
            return Unreachable(Reason.UNREACHABLE, message)
