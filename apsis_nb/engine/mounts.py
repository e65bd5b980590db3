"""Which file system a folder lies on, and whether that is one of the network."""

import os
import re

#: Their locks and their fsync do not always hold what a database needs.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "9p"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.davfs"}
)


def network_type(path: str, mounts: str) -> str | None:
    """The type of the file system of a folder, if it is one of the network.

    Args:
        path: absolute, without links.
        mounts: the text of /proc/self/mounts; of two at one place the later one covers the other.
    """
    place, found = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mounted = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        is_above = mounted == "/" or path == mounted or path.startswith(f"{mounted}/")
        if is_above and len(mounted) >= len(place):
            place, found = mounted, fields[2]
    return found if found in NETWORK else None


def network_of(path: str | os.PathLike[str]) -> str | None:
    """The same, of this machine; None where it cannot be told."""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            return network_type(os.path.realpath(path), mounts.read())
    except OSError:
        return None
