"""Site: a place with ZFS hosts that are reached over ssh."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, ClassVar, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StrictInt

from backstay.api.kinds import AGE, Column, KindInfo, condition_column
from backstay.api.rules import Keyed, Rule, Text
from backstay.api.v1alpha1.fields import Dataset, HostName, Label, Message, ObjectName
from backstay.api.v1alpha1.meta import Resource, SpecModel, Status, StatusModel
from backstay.api.values import pool_of

# Never a leading '-': ssh would take it for an option.
Address: TypeAlias = Annotated[
    str,
    Text(
        "[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?",
        253,
        "write an IP address or a host name, as in 10.0.0.11 or pve1.example.org",
    ),
]
User: TypeAlias = Annotated[
    str,
    Text("[a-z_][a-z0-9_-]*", 32, "write the name of an account on the host, as in root"),
]
HostKey: TypeAlias = Annotated[
    str,
    Text(
        "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+=?=?",
        1024,
        "write a host key as type and base64 without a comment, as `ssh-keyscan` prints it after "
        "the host: ssh-ed25519 AAAA…",
    ),
]
DomainValue: TypeAlias = Annotated[
    str,
    Text("[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", 63, "write a label value, as in fra-1"),
]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        # OSError: "Europe" is a folder of zones.
        raise ValueError(f"no time zone {name} is known: {_ZONE_MESSAGE}") from error
    return name


_ZONE_MESSAGE = "write the IANA name of a time zone, as in Europe/Berlin or UTC"
# The server checks the form only, it has no list of zones. The capital keeps out what lies beside
# the zones on many hosts: posix/, right/, localtime.
TimeZone: TypeAlias = Annotated[
    str,
    Text("[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", 64, _ZONE_MESSAGE),
    AfterValidator(_known_zone),
]


def _one_root_a_pool(host: Host) -> bool:
    pools = [pool_of(root) for root in host.receive_roots]
    return len(pools) == len(set(pools))


class Host(SpecModel):
    """A ZFS host."""

    rules: ClassVar[tuple[Rule[Host], ...]] = (
        Rule(
            cel="!has(self.receiveRoots) || self.receiveRoots.all(root, root.contains('/'))",
            message="a receive root lies below its pool: write it as pool/name, "
            "as in rpool/backstay",
            holds=lambda host: all("/" in root for root in host.receive_roots),
        ),
        Rule(
            cel="!has(self.receiveRoots) || self.receiveRoots.all(root, "
            "self.receiveRoots.exists_one(other, other.split('/')[0] == root.split('/')[0]))",
            message="a host has at most one receive root in a pool: keep one of those that share "
            "a pool",
            holds=_one_root_a_pool,
        ),
    )

    name: HostName = Field(description="The name that datasets of a pair refer to the host by.")
    address: Address = Field(description="IP address or host name of its ssh server.")
    port: StrictInt = Field(default=22, ge=1, le=65535, description="Port of its ssh server.")
    user: User = Field(default="root", description="Account that backstay logs in as.")
    host_keys: tuple[HostKey, ...] = Field(
        min_length=1,
        max_length=8,
        description="Public keys of the host, one of which it must show; a changed key is never "
        "accepted.",
    )
    program: Literal["Fed", "Installed"] = Field(
        default="Fed",
        description="How the host program gets there. Fed: with each connection, and nothing is "
        "installed. Installed: `backstay-host` of this very version is on the host, where the key "
        "can be limited to it and to datasets, as `kubectl backstay grant` prints.",
    )
    replication_address: Address | None = Field(
        default=None,
        description="IP address or host name at which other hosts bring Direct streams, as on a "
        "network for data; `address` when absent.",
    )
    replication_port: StrictInt | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the ssh server there; `port` when absent. It shows the same keys.",
    )
    receive_roots: tuple[Dataset, ...] = Field(
        default=(),
        max_length=16,
        description="Datasets below which replicas may be received, at most one in a pool, outside "
        "every Proxmox storage. A host without any is only ever a source.",
    )


class SecretRef(SpecModel):
    """A Secret in the namespace of the object."""

    name: ObjectName = Field(description="Name of the Secret.")


class Ssh(SpecModel):
    """How hosts are logged in to."""

    secret_ref: SecretRef = Field(
        description="Secret with the private key under `ssh-privatekey` and, where Direct streams "
        "come in, the data key under `data-privatekey`."
    )


class SiteSpec(SpecModel):
    """What a Site promises."""

    rules: ClassVar[tuple[Rule[SiteSpec], ...]] = (
        Rule(
            cel="!has(self.failureDomain) || self.failureDomain.all(name, size(name) <= 63)",
            message="the name of a failure domain is too long: write 63 characters at most, as in "
            "building",
            holds=lambda spec: all(len(name) <= 63 for name in spec.failure_domain),
        ),
    )

    failure_domain: dict[str, DomainValue] = Field(
        default={},
        max_length=16,
        description="Where the site stands, as free labels, as in region or building: another "
        "place has another value.",
    )
    hosts: Annotated[tuple[Host, ...], Keyed("name")] = Field(
        min_length=1, max_length=32, description="The ZFS hosts of the site."
    )
    ssh: Ssh = Field(description="How the hosts are logged in to.")
    time_zone: TimeZone = Field(
        default="UTC",
        description="Whose hours, days, weeks, months and years retention counts on the hosts of "
        "the site, as in Europe/Berlin.",
    )

    def host(self, name: str) -> Host | None:
        """Return the host of that name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Host]:
        """A Site may have hundreds, and each of its pairs asks for two."""
        return {host.name: host for host in self.hosts}


class PoolStatus(StatusModel):
    """A pool as it was last seen."""

    name: Label = Field(description="Name of the pool.")
    health: Label = Field(description="Health as `zpool list` says it, as in ONLINE or DEGRADED.")
    size_bytes: int = Field(ge=0, description="Size of the pool.")
    free_bytes: int = Field(ge=0, description="Free space in the pool.")


class HostStatus(StatusModel):
    """A host as it was last seen; its facts are absent until it was reached once by its spec."""

    name: Label = Field(description="Name of the host in the spec.")
    reason: Label = Field(description="Reachable, or why it is not, as a word of the API.")
    message: Message = Field(default="", description="The same for people, with the next step.")
    delegated: bool | None = Field(
        default=None,
        description="True where the account is not root: it may do what `zfs allow` grants it, and "
        "what root destroys, marks and swaps in one transaction it does in two steps.",
    )
    zfs_version: Label | None = Field(default=None, description="Version of OpenZFS.")
    python_version: Label | None = Field(default=None, description="Version of Python 3.")
    clock_skew_seconds: int | None = Field(
        default=None, description="Seconds that its clock is ahead of the operator's."
    )
    pools: tuple[PoolStatus, ...] = Field(
        default=(), max_length=32, description="Its pools as last seen."
    )


class SiteStatus(Status):
    """What is true of a Site."""

    reachable: Label | None = Field(
        default=None, description="Hosts that were reached, of all hosts, as in 2/3."
    )
    hosts: Annotated[tuple[HostStatus, ...], Keyed("name")] = Field(
        default=(), max_length=32, description="The hosts as they were last seen."
    )
    last_handled_request: Label | None = Field(
        default=None,
        description="The last value of the annotation backstay.dev/requested-at that was acted on.",
    )


class Site(Resource):
    """A place with ZFS hosts that are reached over ssh."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Site",
        singular="site",
        plural="sites",
        short_name="bsite",
        columns=(
            Column("HOSTS", ".status.reachable", "Hosts reached, of all hosts."),
            condition_column("READY", "Ready", "Whether backstay can work with every host."),
            AGE,
        ),
    )

    kind: Literal["Site"] = "Site"
    spec: SiteSpec = Field(description="The hosts, and how they are logged in to.")
    status: SiteStatus = Field(default=SiteStatus(), description="What is true of the hosts.")
