"""Facts as JSON: for the store, and for what ``inspect --json`` prints."""

from collections.abc import Mapping
from typing import Any

from dpbuild.frozen import asdict
from dpbuild.model.facts import Facts, Libc, PackageDatabase, SystemPackage, VersionClaim, VirtualEnvironment
from dpbuild.model.surroundings import Certificates, RunAs, Surroundings, User


def encode(facts: Facts) -> dict[str, Any]:
    """Facts as a JSON object; the names are the fields' own."""
    value = _lists(asdict(facts))
    assert isinstance(value, dict)  # noqa: S101
    return value


def _lists(value: Any) -> Any:
    """Tuples as lists, all the way down: what JSON would make of them."""
    if isinstance(value, dict):
        return {key: _lists(row) for key, row in value.items()}
    if isinstance(value, tuple | list):
        return [_lists(row) for row in value]
    return value


def decode(value: Mapping[str, Any]) -> Facts:
    """What ``encode`` made. Raises ValueError for anything else."""
    try:
        rest = dict(value)
        libc = dict(rest.pop("libc"))
        major, minor = libc.pop("version")
        missing = rest.pop("missing_modules")
        environment = rest.pop("virtual_environment")
        return Facts(
            libc=Libc(version=(int(major), int(minor)), **libc),
            packages=tuple(SystemPackage(**row) for row in rest.pop("packages")),
            package_databases=tuple(PackageDatabase(**row) for row in rest.pop("package_databases")),
            version_claims=tuple(VersionClaim(**row) for row in rest.pop("version_claims")),
            extension_suffixes=tuple(rest.pop("extension_suffixes")),
            site_directories=tuple(rest.pop("site_directories")),
            missing_modules=None if missing is None else tuple(missing),
            virtual_environment=None if environment is None else _environment(environment),
            surroundings=_surroundings(rest.pop("surroundings")),
            **rest,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ValueError(f"not facts: {problem}") from None


def _environment(value: Mapping[str, Any]) -> VirtualEnvironment:
    rest = dict(value)
    return VirtualEnvironment(site_directories=tuple(rest.pop("site_directories")), **rest)


def _surroundings(value: Mapping[str, Any]) -> Surroundings:
    rest = dict(value)
    certificates = dict(rest.pop("certificates"))
    user = rest.pop("user")
    return Surroundings(
        certificates=Certificates(bundles=tuple(certificates.pop("bundles")), **certificates),
        shells=tuple(rest.pop("shells")),
        users=tuple(User(**row) for row in rest.pop("users")),
        user=None if user is None else RunAs(**user),
        **rest,
    )
