"""`kubectl backstay grant`: the least that a host must admit, from the Sites and pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.api.v1alpha1.replicationpair import ReplicationPair
from backstay.api.v1alpha1.site import Host, Site
from backstay.api.values import is_below
from backstay.domain.moves import aside_root
from backstay.domain.zfs import SETTINGS

PROGRAM = "/usr/local/bin/backstay-host"
FILE = "backstay-host.pyz"
INSTALL = f"python3 -I {FILE} install"
"""It writes `PROGRAM`."""
NO_KEY = "PUBLIC-KEY"
NO_DATA_KEY = "PUBLIC-DATA-KEY"
POSTURE = ("userprop", "readonly", "volmode", "atime", "canmount")
SENDING = ("send", "snapshot", "bookmark", "mount")
RECEIVING = ("create", "mount", "receive:append", *POSTURE)
PRUNING = ("destroy", "mount")
RESOLVING = ("rollback", "destroy", "mount", *POSTURE)
ASIDE = ("rename", "clone", "promote", "create", "destroy", "mount", *POSTURE)
DELEGATED = "backstay"
"""The account that the printed commands name where the Site still logs in as root."""
_CREATE_ASIDE = "zfs create -o canmount=off -o mountpoint=none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one host must admit. `send` and `receive` are the lists of its forced command."""

    site: str
    """`namespace/name`."""
    host: Host
    send: tuple[str, ...]
    receive: tuple[str, ...]
    pairs: tuple[str, ...]
    """The pairs whose data lives at this host now."""
    public_key: str | None
    """The public half of the Site's key; None where it could not be read."""
    unreadable: tuple[str, ...] = ()
    """Pairs that this version does not understand: what they need is not in the lists."""
    secret: str = ""
    """Name of the Site's Secret."""
    data_key: str | None = None
    """The public half of the Site's data key; None where there is none, or none that was read."""

    @property
    def key_line(self) -> str:
        """The line of authorized_keys; names of datasets in the API need no quotes in a shell."""
        words = [f"--send {name}" for name in self.send]
        words += [f"--receive {name}" for name in self.receive]
        command = " ".join([PROGRAM, "gate", *words])
        return f'restrict,command="{command}" {self.public_key or NO_KEY}'

    @property
    def data_line(self) -> str | None:
        """The line of authorized_keys for the data key; None where no stream comes in.

        A host that is fed has the program of each session in a file that the ticket names; that of
        an account other than root lies where only its login knows (`XDG_RUNTIME_DIR`).
        """
        if not self.receive or (self.host.program == "Fed" and self.host.user != "root"):
            return None
        words = [f"--receive {name}" for name in self.receive]
        gate = " ".join(["gate --only stream", *words])
        command = f"{PROGRAM} {gate}"
        if self.host.program == "Fed":
            command = f"{_FED} {gate}"
        return f'restrict,command="{command}" {self.data_key or NO_DATA_KEY}'


LIMITS = (
    "What is left out is refused by ZFS, and said: NoRights. Without the lines for pruning all",
    "snapshots stay, without those for `resolve` that is for root.",
    "receive:append is of OpenZFS 2.3.3; before it, grant receive, which permits a rollback, too.",
    "send:raw, of OpenZFS 2.4, in place of send is enough where a source is encrypted.",
    "Locks are kept by account: let nobody else write to these datasets with another one. What",
    "root destroys, marks and swaps in one transaction, the account does in two steps.",
)
_FED = (
    "n=${SSH_ORIGINAL_COMMAND#backstay-host stream }; n=${n%%.*}; "
    "case $n in ''|*[!0-9a-f]*) exit 3;; esac; exec python3 -I -S /run/backstay/$n.zip"
)
"""For a POSIX shell: the program of the session that issued the ticket, if there is one."""


def grant_of(
    site: Site,
    host: Host,
    pairs: Iterable[ReplicationPair],
    public_key: str | None,
    data_key: str | None = None,
) -> Grant:
    """What the host must admit for these pairs as they are now.

    | at the host                               | list                          |
    |-------------------------------------------|-------------------------------|
    | a dataset whose pair is active at the Site | `--send`                     |
    | a replica                                 | none: it lies below a root    |
    | a receive root of the Site                | `--receive`                   |
    """
    namespace, name = site.metadata.namespace, site.metadata.name
    send: set[str] = set()
    senders: set[str] = set()
    for pair in pairs:
        active = pair.status.active_site or pair.spec.preferred_site
        if pair.metadata.namespace != namespace or active != name:
            continue
        for member in pair.spec.datasets:
            place = member.at.get(name)
            if place is not None and place.host == host.name:
                send.add(place.dataset)
                senders.add(pair.metadata.name)
    return Grant(
        site=f"{namespace}/{name}",
        host=host,
        send=_tops(send),
        receive=_tops(host.receive_roots),
        pairs=tuple(sorted(senders)),
        public_key=public_key,
        secret=site.spec.ssh.secret_ref.name,
        data_key=data_key,
    )


def _tops(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order, without those below another one."""
    known = set(names)
    return tuple(sorted(n for n in known if not any(is_below(n, other) for other in known)))


def delegations(grant: Grant) -> tuple[tuple[str, str], ...]:
    """What an account that is not root needs: (what for, the command).

    Permissions are those of zfs-allow(8), with what it says that each must come with; `zfs set`
    and `-o` need one of the name of the property. That page says that on Linux nobody can be
    given mount, canmount and rename; what they permit without a mount works (seen on 2.3.9).
    """
    user = account(grant)
    found = [("sending", _allow(user, SENDING, name)) for name in grant.send]
    found += [("receiving", _allow(user, RECEIVING, name)) for name in grant.receive]
    found += [
        ("policies with replication.properties Safe", _allow(user, SETTINGS, name))
        for name in grant.receive
    ]
    found += [
        ("pruning, `yield` and `receive -A`", _allow(user, PRUNING, name))
        for name in (*grant.send, *grant.receive)
    ]
    found += [
        ("`resolve --how Rollback` and Adopt", _allow(user, RESOLVING, name))
        for name in grant.receive
    ]
    aside = "`resolve --how SetAside` and Reseed"
    for root in dict.fromkeys(aside_root(name) for name in grant.receive):
        found.append((aside, f"zfs list {root} || {_CREATE_ASIDE} {root}"))
        found.append((aside, _allow(user, ASIDE, root)))
    found += [(aside, _allow(user, ASIDE, name)) for name in grant.receive]
    return tuple(found)


def account(grant: Grant) -> str:
    """The account that is to have the rights: that of the Site's host, unless it is root."""
    return DELEGATED if grant.host.user == "root" else grant.host.user


def _allow(user: str, permissions: Sequence[str], dataset: str) -> str:
    return f"zfs allow -u {user} {','.join(permissions)} {dataset}"


def grant_lines(grant: Grant) -> list[str]:
    """The grant for people, in the order in which nothing stands still meanwhile."""
    host = grant.host
    return [
        f"Site {grant.site} host {host.name} ({host.user}@{host.address}): what its key must admit",
        "",
        "1. Install the host program: one file, run by Python 3.11 or newer at /usr/bin/python3.",
        f"   kubectl backstay host-program > {FILE}",
        f"   Copy it to the host, and there, as root: {INSTALL}",
        "",
        *_told(grant),
        "",
        f"3. In .ssh/authorized_keys of {host.user} at the host, replace the line of the key by:",
        f"   {grant.key_line}",
        *_about_key(grant),
        "",
        "The key then admits, and nothing else:",
        *(f"   {line}" for line in _admitted(grant)),
        "",
        *_direct(grant),
        *_account(grant),
    ]


def _account(grant: Grant) -> Iterator[str]:
    user = account(grant)
    if user == grant.host.user:
        yield f"{user} is not root: what it must be granted, by root:"
    else:
        yield "Root is not needed. Instead, an account of its own can be granted what the work"
        yield "takes; then set spec.hosts[].user to it, and put the line above into its file. As"
        yield "root:"
        yield f"   useradd --create-home --shell /bin/sh --password '*' {user}"
    yield from (f"   {command}   # {purpose}" for purpose, command in delegations(grant))
    yield from (f"   {line}" for line in LIMITS)


def _told(grant: Grant) -> Iterator[str]:
    done = grant.host.program == "Installed"
    yield "2. Set spec.hosts[].program of the host to Installed" + (" (it is)." if done else ".")
    yield "   Until then each connection is fed the program, which the line below refuses."


def _about_key(grant: Grant) -> Iterator[str]:
    if grant.public_key is None:
        yield f"   {NO_KEY} is what `ssh-keygen -y -f KEY` prints for the private key of the Site."
    yield "   On Proxmox VE that file of root is shared by the cluster: take the key out of it, and"
    yield "   put the line into .ssh/authorized_keys2 of this host."


def _direct(grant: Grant) -> Iterator[str]:
    if grant.data_line is None and grant.receive:
        yield "Policies with spec.replication.transfer.path Direct need the installed program here:"
        yield "no line can admit the data key to one that is fed to an account other than root."
        yield ""
    if grant.data_line is None:
        return
    yield "Only for policies with spec.replication.transfer.path Direct, whose streams other hosts"
    yield "bring here with the data key of the Site: add its line to the same file."
    yield f"   {grant.data_line}"
    if grant.data_key is None:
        yield f"   {NO_DATA_KEY} is of a key pair of its own (ssh-keygen -t ed25519 -N ''), whose"
        yield f"   private half is data-privatekey in Secret {grant.secret}."
    yield "   It admits a stream with a ticket of the operator's, once, and nothing else. Print it"
    yield "   anew after a change of spec.hosts[].program."
    yield ""


def _admitted(grant: Grant) -> Iterator[str]:
    if grant.send:
        names = ", ".join(grant.send)
        yield f"to look at, snapshot, send and prune, at or below: {names}"
        yield f"   what lives here now, of {', '.join(grant.pairs)}: print the line anew before"
        yield "   you apply a new pair or member, and after a change of sides"
    if grant.receive:
        names = ", ".join(grant.receive)
        yield f"to look at, receive, keep read-only and prune, below: {names}"
    if not grant.send and not grant.receive:
        yield "nothing at all: no pair lives here and the host has no receive roots"
    yield "to ask for versions, and names and health of the pools"
    for pair in grant.unreadable:
        yield f"NOT what ReplicationPair {pair} needs: this plugin does not understand it"


def grant_document(grant: Grant) -> Mapping[str, Any]:
    """The same for programs; its fields stay."""
    return {
        "site": grant.site,
        "host": grant.host.name,
        "address": grant.host.address,
        "user": grant.host.user,
        "program": grant.host.program,
        "send": list(grant.send),
        "receive": list(grant.receive),
        "pairs": list(grant.pairs),
        "unreadable": list(grant.unreadable),
        "publicKey": grant.public_key,
        "authorizedKeys": grant.key_line,
        "dataPublicKey": grant.data_key,
        "dataAuthorizedKeys": grant.data_line,
        "install": _install(),
        "delegations": [{"for": p, "command": c} for p, c in delegations(grant)],
        "account": account(grant),
        "limits": " ".join(LIMITS),
    }


def _install() -> Sequence[str]:
    return [
        f"kubectl backstay host-program > {FILE}",
        INSTALL,
    ]
