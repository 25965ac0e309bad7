"""Write kubernetes/go.mod for a version: the published module needs its staging modules replaced.

`python hack/controlplane/derive.py 1.36.3`, then `go mod tidy` in `hack/controlplane/kubernetes`.
Replaces of a dependency are not inherited, so each `k8s.io/M v0.0.0` there gets one here.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

TOOLS = ("kube-apiserver", "kube-controller-manager", "kubectl")
TARGET = Path(__file__).parent / "kubernetes" / "go.mod"


def staging_modules(version: str) -> list[str]:
    """The staging modules that release `version` (1.X.Y) of k8s.io/kubernetes requires."""
    answer = subprocess.run(
        ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    text = Path(json.loads(answer.stdout)["GoMod"]).read_text(encoding="utf-8")
    return sorted(set(re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", text, re.MULTILINE)))


def render(version: str, modules: list[str]) -> str:
    """The go.mod whose tools are the three commands at `version`."""
    staging = f"v0.{version.split('.', 1)[1]}"
    lines = ["module backstay.dev/hack/controlplane/kubernetes", "", "go 1.26.0", ""]
    lines += [f"require k8s.io/kubernetes v{version}", "", "tool ("]
    lines += [f"\tk8s.io/kubernetes/cmd/{name}" for name in TOOLS] + [")", "", "replace ("]
    lines += [f"\t{module} => {module} {staging}" for module in modules] + [")", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(render(sys.argv[1], staging_modules(sys.argv[1])), encoding="utf-8")
