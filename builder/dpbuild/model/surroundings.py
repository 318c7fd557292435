"""What a program finds around the interpreter: time zones, certificates, shells, users."""

from dpbuild.frozen import frozen


@frozen
class User:
    """A row of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


@frozen
class RunAs:
    """The user that an engine starts the image as; ``name`` is "" for a number that passwd does not list.

    ``home`` is what HOME will say: the config's own, else passwd's, else ``/``.
    """

    uid: int
    gid: int
    name: str
    home: str


@frozen
class Certificates:
    """The certificates of authorities that there are, and those that Python's ``ssl`` trusts by default.

    ``bundles`` are the files in the places that distributors use. ``file`` and ``directory`` are where OpenSSL
    looks in this image: SSL_CERT_FILE and SSL_CERT_DIR of its environment, else below OpenSSL's own folder, ""
    where that cannot be told. ``found`` says whether one of the two holds any certificate.
    """

    bundles: tuple[str, ...] = ()
    file: str = ""
    directory: str = ""
    found: bool = False


@frozen
class Surroundings:
    """All of it; paths are absolute paths in the image.

    ``zoneinfo`` is the folder that ``zoneinfo`` reads, "" if there is none; ``legacy_zones`` says whether it has
    the old names, such as ``US/Eastern``. ``shells`` are executable shells by path, ``/bin/sh`` first. ``user``
    is None if the config names a user or group that the image does not have: no engine starts such an image.
    """

    zoneinfo: str = ""
    legacy_zones: bool = False
    certificates: Certificates = Certificates()
    shells: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    user: RunAs | None = RunAs(uid=0, gid=0, name="root", home="/root")
