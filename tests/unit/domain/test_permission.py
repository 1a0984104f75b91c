"""Permissions: what is not given may not be done, and writing includes reading."""

from itertools import product

import pytest

from streamgauge.domain.permission import Access, Permission, Resource

EVERY = [Permission(resource, access) for resource, access in product(Resource, Access)]


@pytest.mark.parametrize("needed", EVERY, ids=str)
def test_a_permission_is_in_what_gives_exactly_it(needed: Permission) -> None:
    assert needed.is_in({needed.resource: needed.access})


@pytest.mark.parametrize("needed", EVERY, ids=str)
def test_nothing_is_in_no_permissions(needed: Permission) -> None:
    assert not needed.is_in({})


@pytest.mark.parametrize("needed", EVERY, ids=str)
def test_a_permission_on_every_other_resource_is_none_on_this_one(needed: Permission) -> None:
    assert not needed.is_in({resource: Access.WRITE for resource in Resource if resource is not needed.resource})


@pytest.mark.parametrize("resource", Resource)
def test_write_includes_read_and_not_the_other_way_round(resource: Resource) -> None:
    assert Permission(resource, Access.READ).is_in({resource: Access.WRITE})
    assert not Permission(resource, Access.WRITE).is_in({resource: Access.READ})


def test_a_permission_is_written_as_the_command_line_takes_it() -> None:
    assert str(Permission(Resource.METER_EVENTS, Access.WRITE)) == "meter_events=write"
