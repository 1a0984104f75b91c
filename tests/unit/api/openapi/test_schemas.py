"""One type has a schema for each place that it stands in."""

from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import pytest

from streamgauge.api.openapi.schemas import Place, Schemas

Item = TypeVar("Item")
Short = Annotated[str, msgspec.Meta(max_length=9)]
STRING = {"type": "string"}


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Inner(msgspec.Struct):
    name: Short | None = None


class Named(msgspec.Struct):
    """A thing,
    with a name."""

    object: Literal["test.thing"] = "test.thing"
    size: int = 0


class Gone(msgspec.Struct):
    object: Literal["test.thing"] = "test.thing"
    deleted: Literal[True] = True


class Page(msgspec.Struct, Generic[Item]):
    data: list[Item]
    object: Literal["list"] = "list"


class Sparse(msgspec.Struct, omit_defaults=True):
    code: str
    param: str | None = None


class Perhaps(msgspec.Struct):
    code: str
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    size: int


@pytest.mark.parametrize(
    ("kind", "place", "schema"),
    [
        # A form is text: an empty one is refused, or unsets where there is something to unset.
        (str, Place.FORM, {"type": "string", "minLength": 1}),
        (str | None, Place.FORM, STRING),
        (Short | None, Place.FORM, {"type": "string", "maxLength": 9}),
        (Colour | None, Place.FORM, {"anyOf": [{**STRING, "enum": ["red", "green"]}, {**STRING, "enum": [""]}]}),
        (
            dict[str, str],
            Place.FORM,
            {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": STRING},
        ),
        (int, Place.FORM, {"type": "integer", "format": "int64"}),
        (str | msgspec.UnsetType, Place.FORM, {"type": "string", "minLength": 1}),
        # JSON has a null.
        (str, Place.JSON, STRING),
        (Short | None, Place.JSON, {"type": ["string", "null"], "maxLength": 9}),
        (Colour | None, Place.JSON, {"type": ["string", "null"], "enum": ["red", "green", None]}),
        (str | int | None, Place.JSON, {"anyOf": [STRING, {"type": "integer"}, {"type": "null"}]}),
        (
            Annotated[list[bool], msgspec.Meta(min_length=1)],
            Place.JSON,
            {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
        ),
        (
            Annotated[int, msgspec.Meta(ge=1, lt=9)],
            Place.JSON,
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        ),
        (Annotated[str, msgspec.Meta(pattern=r"^a\Z")], Place.JSON, {"type": "string", "pattern": "^a$"}),
        # What is ready encoded is an exact number.
        (msgspec.Raw, Place.ANSWER, {"type": "number"}),
        (Named | None, Place.ANSWER, {"anyOf": [{"$ref": "#/components/schemas/test.thing"}, {"type": "null"}]}),
    ],
    ids=str,
)
def test_a_kind_has_this_schema_in_this_place(kind: Any, place: Place, schema: dict[str, Any]) -> None:
    assert Schemas().of(kind, place) == schema


def test_only_what_is_decoded_may_lack_a_member_with_a_default() -> None:
    schemas = Schemas()
    assert "required" not in schemas.of(Inner, Place.JSON)
    assert schemas.of(Inner, Place.ANSWER)["required"] == ["name"]


def test_a_default_that_is_left_out_is_never_null() -> None:
    schema = Schemas().of(Sparse, Place.ANSWER)
    assert schema["required"] == ["code"]
    assert schema["properties"]["param"] == STRING


def test_a_member_that_may_be_left_out_is_not_required_of_an_answer() -> None:
    schema = Schemas().of(Perhaps, Place.ANSWER)
    assert schema == {"type": "object", "properties": {"code": STRING, "reason": STRING}, "required": ["code"]}


def test_unknown_members_are_refused_in_forms_and_where_a_type_says_so() -> None:
    schemas = Schemas()
    assert schemas.of(Inner, Place.FORM)["additionalProperties"] is False
    assert schemas.of(Strict, Place.JSON)["additionalProperties"] is False
    assert "additionalProperties" not in schemas.of(Inner, Place.JSON)
    assert "additionalProperties" not in schemas.of(Strict, Place.ANSWER)


def test_objects_are_components_under_the_name_that_they_show() -> None:
    schemas = Schemas()
    assert schemas.of(Named, Place.ANSWER) == {"$ref": "#/components/schemas/test.thing"}
    assert schemas.of(Gone, Place.ANSWER) == {"$ref": "#/components/schemas/deleted_test.thing"}
    assert schemas.components["test.thing"]["description"] == "A thing, with a name."
    listed = schemas.of(Page[Named], Place.ANSWER)
    assert listed["properties"]["data"]["items"] == {"$ref": "#/components/schemas/test.thing"}
    assert set(schemas.components) == {"test.thing", "deleted_test.thing"}


def test_a_kind_without_a_schema_is_named() -> None:
    with pytest.raises(TypeError, match="no schema for"):
        Schemas().of(bytes, Place.ANSWER)


def test_a_map_to_anything_says_no_more_than_that() -> None:
    assert Schemas().of(dict[str, Any], Place.ANSWER) == {"type": "object", "additionalProperties": True}
