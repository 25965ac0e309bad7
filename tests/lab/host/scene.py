"""What the lab tests of the host program do again and again, in the words of the protocol."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field, replace
from typing import Any

from backstay_host import protocol
from unit.host.client import Client
from worlds.api import LabHost

OURS = "ab12"
LINEAGE = "4c1f"
POSTURE = {"readonly": "on", "volmode": "none", "dev.backstay:lineage": LINEAGE}


def stamp(number: int) -> str:
    """The short name of the n-th snapshot of our installation."""
    return f"backstay_20260101T0000{number:02}.000Z_{OURS}{number:04x}"


@dataclass(slots=True)
class Scene:
    """One member (`source`/v → `root`/v) on one host with a control channel."""

    host: LabHost
    client: Client
    installation: str
    source: str
    root: str
    streams: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def volume(self) -> str:
        """The source volume."""
        return f"{self.source}/v"

    @property
    def replica(self) -> str:
        """Where it is replicated to."""
        return f"{self.root}/v"

    def claim(self, term: int, client: Client | None = None) -> dict[str, Any]:
        """The session claims the receive root for a term."""
        client = client or self.client
        client.term = term
        body = protocol.Claim(self.installation, [self.root], "one")
        return client.request("claim", body)["roots"][0]

    def write(self, megabytes: int, at: int = 0) -> None:
        """Data that does not compress is on the volume."""
        self.host.run(
            f"udevadm settle; dd if=/dev/urandom of=/dev/zvol/{self.volume} bs=1M "
            f"count={megabytes} seek={at} oflag=direct conv=fsync status=none"
        )

    def facts(self, *, sync: bool = True) -> dict[str, dict[str, Any]]:
        """Both sides by one survey: name → facts."""
        body = protocol.Survey(
            [protocol.SurveyRoot(self.source, True), protocol.SurveyRoot(self.root, True)],
            OURS,
            sync,
        )
        return {d["name"]: d for d in self.client.request("survey", body)["datasets"]}

    def snapshot(self, number: int) -> dict[str, Any]:
        """The n-th snapshot of the volume exists, with its bookmark."""
        guid = int(self.host.run(f"zfs get -Hp -o value guid {self.volume}"))
        body = protocol.TakeSnapshot(
            [protocol.Target(self.volume, guid)],
            stamp(number),
            [protocol.NewBookmark(self.volume, stamp(number), LINEAGE)],
        )
        made: dict[str, Any] = self.client.request("snapshot", body)["made"][0]
        return made

    def send_order(self, number: int, base: int | None = None) -> protocol.SendOrder:
        """The order to send the n-th snapshot, from a base or in full."""
        facts = self.facts(sync=False)[self.volume]
        guids = {name: guid for name, guid, _ in facts["snapshots"]}
        order = protocol.SendOrder(self.volume, facts["guid"], stamp(number), guids[stamp(number)])
        if base is None:
            return order
        return replace(order, base=f"{self.volume}@{stamp(base)}", base_guid=guids[stamp(base)])

    def receive_order(self, *, seed: bool = False, resumed: bool = False) -> protocol.ReceiveOrder:
        """The order to receive into the replica."""
        properties = POSTURE if seed and not resumed else {}
        return protocol.ReceiveOrder(self.replica, LINEAGE, seed, resumed, dict(properties))

    def ticket(
        self, order: protocol.SendOrder | protocol.ReceiveOrder, stall_s: float = 30.0
    ) -> tuple[str, str]:
        """A ticket for one order: its id and the command line to run."""
        sends = [order] if isinstance(order, protocol.SendOrder) else []
        receives = [order] if isinstance(order, protocol.ReceiveOrder) else []
        made = self.client.request("ticket", protocol.Ticket(sends, receives, stall_s))
        return made["ticket"], shlex.join(made["command"])

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """A shell command runs at the host over a connection of its own."""
        running = subprocess.Popen(
            self.host.ssh_argv(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.streams.append(running)
        return running

    def transfer(
        self, send: protocol.SendOrder, receive: protocol.ReceiveOrder, *, through: str = ""
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Both streams ran, joined by a pipe (`through` a filter); the last outcome of each."""
        sent, send_command = self.ticket(send)
        received, receive_command = self.ticket(receive)
        filtered = f"| {through} " if through else ""
        self.start(f"{send_command} {filtered}| {receive_command}")
        return self.client.ended(sent)[-1], self.client.ended(received)[-1]

    def resumed(self, order: protocol.SendOrder, token: str) -> protocol.SendOrder:
        """The order as one that goes on from a token."""
        return replace(order, token=token)

    def wait_for_bytes(self, ticket: str, size: int, timeout_s: float = 60.0) -> None:
        """The stream of the ticket has reported so many bytes."""
        self.client.wait_for(
            lambda: any(p["ticket"] == ticket and p["bytes"] >= size for p in self.client.progress),
            timeout_s,
        )

    def close(self) -> None:
        """Our ends of the streams are gone."""
        for running in self.streams:
            running.terminate()
            running.wait(30)

    def seed(self, number: int = 1) -> None:
        """The replica holds the n-th snapshot."""
        outcomes = self.transfer(self.send_order(number), self.receive_order(seed=True))
        assert [o["reason"] for o in outcomes] == ["", ""], outcomes
