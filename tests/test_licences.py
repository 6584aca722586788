"""The licences of the dependencies, their known vulnerabilities, and the bill of materials."""

import datetime
from typing import Any

import pytest

from scripts import audit, licences, sbom
from scripts.locked import OWN, LockError, canonical, read
from tests.test_supply_chain import PROJECT, requirements

RUNTIME = read("runtime") | read("torch")


def test_every_runtime_dependency_is_listed_in_its_locked_version():
    rows = licences.listed()
    wanted = {**RUNTIME, **read("cuda")}
    assert {name: pin.version for name, pin in wanted.items()} == {
        name: rows[name].version for name in wanted
    }
    assert rows.keys() - wanted.keys() == {"llama-index-vector-stores-milvus"}  # not locked


def test_every_direct_dependency_is_listed_under_its_extra():
    rows = licences.listed()
    for group, requirement in requirements(apart=True):
        name = canonical(requirement.name)
        if group in PROJECT["dependency-groups"] or name in OWN:
            continue
        assert {group, "core"} & set(rows[name].needed_by), f"{name} in {group}"


def test_every_licence_is_allowed_or_has_a_reason():
    licences.check(licences.listed().values())


def test_no_reason_is_for_something_that_is_gone():
    rows = licences.listed().values()
    assert licences.REASONS.keys() <= {name for row in rows for name in (row.name, *row.needed_by)}
    for name, reason in licences.REASONS.items():
        assert len(reason) > 20, name


@pytest.mark.parametrize(
    "licence",
    ["MIT", "MIT OR GPL-3.0-only", "Apache-2.0 AND MIT", "MPL-2.0 AND (MIT OR Apache-2.0)"],
)
def test_free_licences_are_allowed(licence):
    licences.check([licences.Row("a", "1", licence, ("core",))])


@pytest.mark.parametrize(
    "licence",
    [
        *("unknown", "GPL-3.0-only", "AGPL-3.0-or-later", "LGPL-3.0-only", "SSPL-1.0", "BUSL-1.1"),
        *("MIT AND GPL-2.0-only", "GPL-3.0-only AND (MIT OR Apache-2.0)", "LicenseRef-Proprietary"),
        *("GNU General Public License v3 (GPLv3)", "Free for non-commercial use", "MIT-0-clone"),
    ],
)
def test_other_licences_need_a_reason(licence):
    with pytest.raises(LockError, match="not among the allowed ones"):
        licences.check([licences.Row("a", "1", licence, ("core",))])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"license_expression": "MIT AND PSF-2.0", "license": "x"}, "MIT AND PSF-2.0"),
        ({"license": "BSD-3-Clause", "classifier": ["License :: OSI Approved :: BSD License"]},
         "BSD-3-Clause"),
        ({"license": "MIT License\n\nCopyright (c) 2022"}, "MIT"),
        ({"license": "MIT", "classifier": ["License :: Other/Proprietary License"]},
         "LicenseRef-Proprietary"),
        ({"classifier": ["License :: OSI Approved", "License :: OSI Approved :: MIT License"]},
         "MIT"),
        ({"license": "GPLv3"}, "GPLv3"),
        ({"license": "", "classifier": []}, "unknown"),
    ],
)  # fmt: skip
def test_the_licence_is_read_from_the_metadata(metadata, expected):
    assert licences.licence(metadata) == expected


def test_a_closure_follows_extras_and_circles():
    metadata = {
        "a": {"requires_dist": ["b[x]>=1", 'c ; extra == "never"', 'd ; sys_platform == "win32"']},
        "b": {"requires_dist": ["a", 'e ; extra == "x"', 'f ; extra == "y"']},
        **{name: {} for name in "cdef"},
    }
    assert licences.closure(["a"], metadata) == {"a", "b", "d", "e"}


# Known vulnerabilities and the bill of materials.


def test_a_vulnerability_is_ignored_until_a_date_for_a_reason():
    today = datetime.date(2030, 1, 31)
    text = "# comment\n\nGHSA-aaaa-bbbb-cccc until 2030-01-31: Never called.\n"
    assert audit.ignored(text, today) == ["GHSA-aaaa-bbbb-cccc"]
    with pytest.raises(LockError, match="again by 2030-01-31"):
        audit.ignored(text, today + datetime.timedelta(days=1))
    for line in ("GHSA-aaaa-bbbb-cccc", "CVE-2030-1 until 2030-01-31:", "x until 2030-01-31: y"):
        with pytest.raises(LockError, match="until YYYY-MM-DD: reason"):
            audit.ignored(line, today)


def test_the_committed_list_of_ignored_vulnerabilities_is_well_formed():
    audit.ignored(audit.IGNORED.read_text(encoding="utf-8"), datetime.date.min)


def test_the_bill_of_materials_says_what_the_lock_files_do_not():
    names = ("torch", "rich", "triton")
    bill: dict[str, Any] = {
        "components": [{"name": n, "bom-ref": f"ref-{n}", "description": "x"} for n in names],
        "metadata": {"component": {"bom-ref": "root", "name": "m3rag"}},
        "dependencies": [{"ref": "root"}, {"ref": "ref-torch"}],
    }
    sbom.complete(bill)
    assert [part["scope"] for part in bill["components"]] == ["required", "required", "optional"]
    assert all(part["licenses"][0]["license"]["name"] for part in bill["components"])
    assert bill["metadata"]["component"]["purl"].startswith("pkg:pypi/m3rag@")
    assert bill["dependencies"][0]["dependsOn"] == ["ref-rich", "ref-torch"]
