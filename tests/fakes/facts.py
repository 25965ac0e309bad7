"""What a host says of one dataset."""

from __future__ import annotations

from backstay_host import protocol as wire

FACTS = wire.DatasetFacts(
    name="tank/d0",
    kind="volume",
    guid=7,
    createtxg=40,
    written=-1,
    since="backstay_x",
    written_since=-1,
    referenced=5,
    available=6,
    volsize=64,
    readonly=True,
    mounted=False,
    encrypted=False,
    origin="",
    token=wire.TokenFacts(
        text="1-a", to_name="a@b", to_guid=9, from_guid=0, received_bytes=3, raw=False
    ),
    properties={"dev.backstay:role": "primary"},
    snapshots=[("b", 2, 20), ("a", 1, 10)],
    bookmarks=[("m", 1, 10)],
    used=9,
)
