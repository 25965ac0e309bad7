"""ReplicationPairs that are accepted or refused."""

from contract.api.manifests import REMOVED, Case, member, pair

NAME = "write a name of lower-case letters, digits, '-' and '.'"
DATASET = "write a dataset as pool/path of letters, digits and _ . : - without a snapshot"
BOTH_SITES = (
    "every member has one place at each site: let the keys of its `at` be the two names in "
    "spec.sites"
)
SOURCE = "spec.datasets.0.at.fra.dataset"
TARGET = "spec.datasets.0.at.muc.dataset"
PLACE = {"host": "ham1", "dataset": "tank/x"}

ACCEPTED = (
    Case("a pair with one member", pair()),
    Case("a pair with two members", pair(("spec.datasets", [member("a"), member("b")]))),
    Case(
        "a pair with 1000 members",
        pair(("spec.datasets", [member(f"disk-{n}") for n in range(1000)])),
    ),
    Case(
        "a consistency group at rest", pair(("spec.consistencyGroup", True), ("spec.suspend", True))
    ),
    Case("suspend by null", pair(("spec.suspend", None))),
    Case("a tree", pair(("spec.datasets.0.recursive", True))),
    Case("the second site preferred", pair(("spec.preferredSite", "muc"))),
    Case("a pool's own dataset as source", pair((SOURCE, "tank"))),
    Case("a dataset of 180 characters", pair((TARGET, "rpool/" + "x" * 174))),
    Case("a dataset of all characters", pair((SOURCE, "tank-1/.a/b_c:d.e/-f"))),
)

REFUSED = (
    Case(
        "the same site twice",
        pair(("spec.sites", ["fra", "fra"])),
        "a replica at the same site is lost with it: name two different Sites in spec.sites",
    ),
    Case("one site", pair(("spec.sites", ["fra"])), "at least 2 items"),
    Case("three sites", pair(("spec.sites", ["fra", "muc", "ham"])), "have at most 2 items"),
    Case("a malformed site", pair(("spec.sites", ["fra", "MUC"])), NAME),
    Case(
        "a third site preferred",
        pair(("spec.preferredSite", "ham")),
        "spec.preferredSite is where the data lies at first: name one of spec.sites",
    ),
    Case("no site preferred", pair(("spec.preferredSite", REMOVED)), "Required", "required"),
    Case("a malformed preferred site", pair(("spec.preferredSite", "fra/1")), NAME),
    Case("no policy", pair(("spec.policyRef", REMOVED)), "Required value", "Field required"),
    Case("a malformed policy", pair(("spec.policyRef.name", "Gold!")), NAME),
    Case(
        "no members", pair(("spec.datasets", [])), "should have at least 1 items", "at least 1 item"
    ),
    Case(
        "1001 members",
        pair(("spec.datasets", [member(f"disk-{n}") for n in range(1001)])),
        "have at most 1000 items",
    ),
    Case(
        "two members of one name",
        pair(("spec.datasets", [member("a"), member("a")])),
        "Duplicate value",
    ),
    Case("a malformed member", pair(("spec.datasets.0.name", "Disk 0")), NAME),
    Case(
        "a member at one site",
        pair(("spec.datasets.0.at.muc", REMOVED)),
        "should have at least 2 properties",
        "at least 2 items",
    ),
    Case(
        "a member at a third site too",
        pair(("spec.datasets.0.at.ham", PLACE)),
        "must have at most 2 items",
        "at most 2 items",
    ),
    Case(
        "a member at another site",
        pair(("spec.datasets.0.at.ham", PLACE), ("spec.datasets.0.at.muc", REMOVED)),
        BOTH_SITES,
    ),
    Case("a malformed host", pair(("spec.datasets.0.at.fra.host", "pve_1")), NAME),
    Case("a snapshot", pair((SOURCE, "tank/vm@now")), DATASET),
    Case("a bookmark", pair((SOURCE, "tank/vm#now")), DATASET),
    Case("a dataset with a blank", pair((SOURCE, "tank/my vm")), DATASET),
    Case("a dataset with a slash first", pair((SOURCE, "/tank/vm")), DATASET),
    Case("a dataset with a slash last", pair((SOURCE, "tank/vm/")), DATASET),
    Case("a dataset with two slashes", pair((SOURCE, "tank//vm")), DATASET),
    Case("a dataset that climbs", pair((TARGET, "rpool/backstay/../data")), DATASET),
    Case("a dataset of a dot", pair((TARGET, "rpool/./data")), DATASET),
    Case("a pool that begins with a digit", pair((SOURCE, "1tank/vm")), DATASET),
    Case("a dataset with a percent sign", pair((TARGET, "rpool/%recv")), DATASET),
    Case("a dataset with an end of line", pair((TARGET, "rpool/x\n")), DATASET),
    Case("a dataset for a shell", pair((TARGET, "rpool/$(reboot)")), DATASET),
    Case("an empty dataset", pair((TARGET, "")), DATASET),
    Case(
        "a dataset of 181 characters",
        pair((TARGET, "rpool/" + "x" * 175)),
        "Too long: may not be more than 180",
    ),
    Case(
        "a pool's own dataset as target",
        pair((TARGET, "rpool")),
        "a pool's own dataset is never a replica: name a dataset below a receive root at the site "
        "that is not preferred, as in rpool/backstay/disk-0",
    ),
    Case(
        "a pool's own dataset as target by preference",
        pair((SOURCE, "tank"), ("spec.preferredSite", "muc")),
        "a pool's own dataset is never a replica",
    ),
    Case(
        "suspend in words",
        pair(("spec.suspend", "yes")),
        "must be of type boolean",
        "valid boolean",
    ),
    Case(
        "a verb in a pair",
        pair(("spec.failover", True)),
        'unknown field "spec.failover"',
        "spec.failover: Extra inputs are not permitted",
    ),
    Case(
        "a decision in a pair",
        pair(("spec.resolve", "SetAside")),
        'unknown field "spec.resolve"',
        "spec.resolve: Extra inputs are not permitted",
    ),
    Case(
        "an unknown field of a place",
        pair(("spec.datasets.0.at.fra.pool", "tank")),
        'unknown field "spec.datasets[0].at.fra.pool"',
        "spec.datasets.0.at.fra.pool: Extra inputs are not permitted",
    ),
)
