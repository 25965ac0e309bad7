"""Sites that are accepted or refused."""

from contract.api.manifests import ED25519, REMOVED, Case, host, site

NAME = "write a name of lower-case letters, digits, '-' and '.', as in fra-1"
ADDRESS = "write an IP address or a host name, as in 10.0.0.11"
USER = "write the name of an account on the host, as in root"
HOST_KEY = "write a host key as type and base64 without a comment, as `ssh-keyscan` prints it"
TIME_ZONE = "write the IANA name of a time zone, as in Europe/Berlin or UTC"
DATASET = "write a dataset as pool/path"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY+/A=="

ACCEPTED = (
    Case("a site with one host", site()),
    Case("a site without a failure domain", site(("spec.failureDomain", REMOVED))),
    Case("a site with two hosts", site(("spec.hosts", [host("a"), host("b")]))),
    Case("32 hosts", site(("spec.hosts", [host(f"h{n}") for n in range(32)]))),
    Case("a host that only ever sends", site(("spec.hosts.0.receiveRoots", REMOVED))),
    Case("a host without roots yet", site(("spec.hosts.0.receiveRoots", []))),
    Case("a host by IPv6", site(("spec.hosts.0.address", "fd00::11"))),
    Case("a host by name", site(("spec.hosts.0.address", "pve1.example.org"))),
    Case("a host at another port", site(("spec.hosts.0.port", 65535))),
    Case("a host with an account of its own", site(("spec.hosts.0.user", "backstay"))),
    Case("keys of every type", site(("spec.hosts.0.hostKeys", [ED25519, RSA, ECDSA]))),
    Case(
        "a host with a network for data",
        site(
            ("spec.hosts.0.replicationAddress", "10.1.0.11"),
            ("spec.hosts.0.replicationPort", 2222),
        ),
    ),
    Case("a port for data alone", site(("spec.hosts.0.replicationPort", 22))),
    Case("a null address for data", site(("spec.hosts.0.replicationAddress", None))),
    Case("a root in each pool", site(("spec.hosts.0.receiveRoots", ["a/r", "ab/r", "b/x/y"]))),
    Case("a site in a time zone", site(("spec.timeZone", "Europe/Berlin"))),
    Case("a site in a zone of three parts", site(("spec.timeZone", "America/Indiana/Tell_City"))),
    Case("a site at UTC", site(("spec.timeZone", "UTC"))),
    Case("a site at an offset of a zone", site(("spec.timeZone", "Etc/GMT+12"))),
    Case("a null time zone", site(("spec.timeZone", None))),
)

REFUSED = (
    Case("no spec", site(("spec", REMOVED)), "spec: Required value", "Field required"),
    Case("no hosts", site(("spec.hosts", [])), "should have at least 1 items", "at least 1 item"),
    Case(
        "33 hosts",
        site(("spec.hosts", [host(f"h{n}") for n in range(33)])),
        "have at most 32 items",
    ),
    Case("two hosts of one name", site(("spec.hosts", [host("a"), host("a")])), "Duplicate value"),
    Case("no ssh", site(("spec.ssh", REMOVED)), "spec.ssh: Required value", "Field required"),
    Case(
        "no name of the Secret",
        site(("spec.ssh.secretRef", {})),
        "spec.ssh.secretRef.name: Required value",
        "Field required",
    ),
    Case("a malformed name of the Secret", site(("spec.ssh.secretRef.name", "Fra_SSH")), NAME),
    Case("a malformed name of a host", site(("spec.hosts.0.name", "pve 1")), NAME),
    Case(
        "a name of a host too long",
        site(("spec.hosts.0.name", "a" * 64)),
        "Too long: may not be more than 63",
    ),
    Case("no address", site(("spec.hosts.0.address", REMOVED)), "Required", "Field required"),
    Case(
        "an address that ssh takes for an option", site(("spec.hosts.0.address", "-oX=y")), ADDRESS
    ),
    Case("an address with an account", site(("spec.hosts.0.address", "root@10.0.0.11")), ADDRESS),
    Case("an empty address", site(("spec.hosts.0.address", "")), ADDRESS),
    Case("port 0", site(("spec.hosts.0.port", 0)), "greater than or equal to 1"),
    Case("port 65536", site(("spec.hosts.0.port", 65536)), "less than or equal to 65535"),
    Case(
        "an address for data that ssh takes for an option",
        site(("spec.hosts.0.replicationAddress", "-oX=y")),
        ADDRESS,
    ),
    Case(
        "port 0 for data",
        site(("spec.hosts.0.replicationPort", 0)),
        "greater than or equal to 1",
    ),
    Case(
        "port 65536 for data",
        site(("spec.hosts.0.replicationPort", 65536)),
        "less than or equal to 65535",
    ),
    Case(
        "a port in quotes",
        site(("spec.hosts.0.port", "22")),
        "must be of type integer",
        "valid integer",
    ),
    Case("an account with an option", site(("spec.hosts.0.user", "-l")), USER),
    Case(
        "no host keys",
        site(("spec.hosts.0.hostKeys", [])),
        "should have at least 1 items",
        "at least 1 item",
    ),
    Case("host keys left out", site(("spec.hosts.0.hostKeys", REMOVED)), "Required", "required"),
    Case(
        "a host key with a comment", site(("spec.hosts.0.hostKeys", [f"{RSA} root@pve1"])), HOST_KEY
    ),
    Case("a host key of two lines", site(("spec.hosts.0.hostKeys", [f"{RSA}\n* {RSA}"])), HOST_KEY),
    Case("a host key and an end of line", site(("spec.hosts.0.hostKeys", [f"{RSA}\n"])), HOST_KEY),
    Case("a fingerprint for a host key", site(("spec.hosts.0.hostKeys", ["SHA256:abc"])), HOST_KEY),
    Case("a DSA host key", site(("spec.hosts.0.hostKeys", ["ssh-dss AAAAB3Nz"])), HOST_KEY),
    Case("a malformed receive root", site(("spec.hosts.0.receiveRoots", ["rpool//x"])), DATASET),
    Case(
        "a pool as receive root",
        site(("spec.hosts.0.receiveRoots", ["rpool"])),
        "a receive root lies below its pool: write it as pool/name, as in rpool/backstay",
    ),
    Case(
        "two receive roots in a pool",
        site(("spec.hosts.0.receiveRoots", ["rpool/a", "tank/a", "rpool/b"])),
        "a host has at most one receive root in a pool: keep one of those that share a pool",
    ),
    Case(
        "a receive root twice",
        site(("spec.hosts.0.receiveRoots", ["rpool/a", "rpool/a"])),
        "a host has at most one receive root in a pool",
    ),
    Case(
        "a failure domain with a blank",
        site(("spec.failureDomain.region", "de west")),
        "write a label value, as in fra-1",
    ),
    Case(
        "a failure domain of numbers",
        site(("spec.failureDomain.region", 7)),
        "must be of type string",
        "valid string",
    ),
    Case(
        "a failure domain's name too long",
        site(("spec.failureDomain", {"d" * 64: "x"})),
        "the name of a failure domain is too long: write 63 characters at most",
    ),
    Case(
        "17 failure domains",
        site(("spec.failureDomain", {f"d{n}": "x" for n in range(17)})),
        "must have at most 16 items",
        "at most 16 items",
    ),
    Case("an offset for a time zone", site(("spec.timeZone", "+02:00")), TIME_ZONE),
    Case("a time zone with a blank", site(("spec.timeZone", "Europe/ Berlin")), TIME_ZONE),
    Case("a time zone that is a path", site(("spec.timeZone", "/etc/localtime")), TIME_ZONE),
    Case("a time zone that climbs", site(("spec.timeZone", "Europe/../UTC")), TIME_ZONE),
    Case("a time zone with leap seconds", site(("spec.timeZone", "right/Europe/Paris")), TIME_ZONE),
    Case("an empty time zone", site(("spec.timeZone", "")), TIME_ZONE),
    Case("a time zone and an end of line", site(("spec.timeZone", "UTC\n")), TIME_ZONE),
    Case(
        "a time zone too long",
        site(("spec.timeZone", "A" * 65)),
        "Too long: may not be more than 64",
    ),
    Case(
        "a time zone of numbers",
        site(("spec.timeZone", 2)),
        "must be of type string",
        "valid string",
    ),
    Case(
        "an unknown field of the spec",
        site(("spec.network", "prod")),
        'unknown field "spec.network"',
        "spec.network: Extra inputs are not permitted",
    ),
    Case(
        "an unknown field of a host",
        site(("spec.hosts.0.adress", "10.0.0.1")),
        'unknown field "spec.hosts[0].adress"',
        "spec.hosts.0.adress: Extra inputs are not permitted",
    ),
    Case(
        "an unknown field beside the spec",
        site(("specs", {})),
        'unknown field "specs"',
        "specs: Extra inputs are not permitted",
    ),
)
