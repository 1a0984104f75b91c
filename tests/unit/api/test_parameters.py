from typing import Annotated, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.api.forms import Params, decode
from streamgauge.api.parameters import Parameters, parse
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter import Formula

from .control_edge import encoded


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    formula: Formula
    note: str | None = None


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    after: int | msgspec.UnsetType = msgspec.UNSET


class Sample(Parameters, frozen=True, kw_only=True):
    """One parameter of each kind that the operations have."""

    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"source"})

    name: Annotated[str, msgspec.Meta(max_length=5)]
    nickname: str | msgspec.UnsetType | None = msgspec.UNSET
    inner: Inner | msgspec.UnsetType | None = msgspec.UNSET
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    total: int | msgspec.UnsetType = msgspec.UNSET
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]+\Z")] | msgspec.UnsetType | None = msgspec.UNSET
    metadata: (
        Annotated[dict[Annotated[str, msgspec.Meta(max_length=4)], str], msgspec.Meta(max_length=3)] | msgspec.UnsetType
    ) = msgspec.UNSET
    tags: tuple[str, ...] = ()
    agreed: bool | msgspec.UnsetType = msgspec.UNSET
    made: Bounds | Annotated[int, msgspec.Meta(le=9)] | msgspec.UnsetType = msgspec.UNSET


def refused(form: str) -> tuple[str, str | None, str | None]:
    with pytest.raises(InvalidRequest) as caught:
        parse(Sample, decode(form.encode()))
    return caught.value.message, caught.value.param, caught.value.reason


def accepted(form: str) -> Sample:
    return parse(Sample, decode(f"name=x&{form}".encode()))


def test_an_unknown_parameter_is_named_with_the_one_that_was_meant() -> None:
    message, param, reason = refused("name=x&coutn=1")
    assert message == "Received unknown parameter: coutn. Did you mean count?"
    assert (param, reason) == ("coutn", "parameter_unknown")


def test_an_unknown_parameter_like_no_other_is_only_named() -> None:
    assert refused("name=x&zzz=1")[0] == "Received unknown parameter: zzz"


def test_an_unknown_nested_parameter_is_named_in_brackets() -> None:
    message, param, reason = refused("name=x&inner[formular]=sum")
    assert message == "Received unknown parameter: inner[formular]. Did you mean inner[formula]?"
    assert (param, reason) == ("inner[formular]", "parameter_unknown")


def test_an_unknown_parameter_is_told_before_a_missing_one() -> None:
    assert refused("nome=x")[2] == "parameter_unknown"


def test_a_missing_parameter_is_named() -> None:
    assert refused("") == ("Missing required param: name.", "name", "parameter_missing")
    assert refused("name=x&inner[note]=y") == (
        "Missing required param: inner[formula].",
        "inner[formula]",
        "parameter_missing",
    )


def test_a_parameter_of_the_original_that_means_nothing_here_is_said_to_be_unsupported() -> None:
    message, param, _ = refused("name=x&source=tok_1")
    assert "Streamgauge does not support the parameter source" in message
    assert param == "source"


@pytest.mark.parametrize(
    ("form", "param", "says"),
    [
        ("name=toolong", "name", "at most 5"),
        ("name[a]=x", "name", "one text"),
        ("name[]=x", "name", "one text"),
        ("name=x&inner=sum", "inner", "inner[name]=value"),
        ("name=x&inner[]=sum", "inner", "inner[name]=value"),
        ("name=x&inner[formula]=max", "inner[formula]", "must be one of count, last, sum"),
        ("name=x&inner[formula][a]=sum", "inner[formula]", "must be one of"),
        ("name=x&prefix=ab", "prefix", "form"),
        ("name=x&prefix=AB%0A", "prefix", "form"),
        ("name=x&metadata[a]=1&metadata[b]=1&metadata[c]=1&metadata[d]=1", "metadata", "up to 3 keys"),
        ("name=x&metadata[abcde]=1", "metadata[abcde]", "at most 4"),
        ("name=x&metadata[a][b]=1", "metadata[a]", "one text"),
        ("name=x&metadata=1", "metadata", "metadata[name]=value"),
        ("name=x&tags=1", "tags", "tags[0]=value"),
        ("name=x&tags[a]=1", "tags", "tags[0]=value"),
        ("name=x&tags[0][a]=1", "tags[0]", "one text"),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused_by_name(form: str, param: str, says: str) -> None:
    message, named, _ = refused(form)
    assert named == param
    assert param in message and says in message


@pytest.mark.parametrize(
    "text", ["abc", "1.0", "1e3", "0x10", " 1", "1_000", "٣", "--1", "0", "101", "9" * 19, "9" * 400]
)
def test_what_is_no_whole_number_in_range_is_refused(text: str) -> None:
    message, param, reason = refused(encoded({"name": "x", "count": text}))
    assert (param, reason) == ("count", "parameter_invalid_integer")
    assert "count" in message and len(message) < 200


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("+100", 100), ("007", 7)])
def test_whole_numbers_are_read(text: str, number: int) -> None:
    assert accepted(encoded({"count": text})).count == number


@given(st.integers(-(2**70), 2**70))
def test_a_number_is_read_exactly_or_refused_when_no_database_holds_it(number: int) -> None:
    if -(2**63) <= number < 2**63:
        assert accepted(f"total={number}").total == number
    else:
        assert refused(f"name=x&total={number}")[2] == "parameter_invalid_integer"


@pytest.mark.parametrize("param", ["name", "count", "total", "metadata", "tags"])
def test_an_empty_value_is_refused_where_nothing_can_be_unset(param: str) -> None:
    form = {"name": "x"} | {param: ""}
    assert refused(encoded(form))[1:] == (param, "parameter_invalid_empty")


def test_an_empty_value_unsets_and_a_missing_one_does_not() -> None:
    given = accepted("nickname=&inner=")
    assert (given.nickname, given.inner) == (None, None)
    given = accepted("")
    assert (given.nickname, given.inner) == (msgspec.UNSET, msgspec.UNSET)


def test_an_empty_value_of_metadata_is_kept_since_it_removes_a_key() -> None:
    assert accepted("metadata[a]=").metadata == {"a": ""}


@pytest.mark.parametrize("text", ["null", "None", "true", "1", "{}", "NaN"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    given = accepted(encoded({"nickname": text, "metadata": {"k": text}, "tags": [text]}))
    assert (given.nickname, given.metadata, given.tags) == (text, {"k": text}, (text,))


def test_a_key_of_metadata_may_be_a_number() -> None:
    assert accepted("metadata[0]=zero&metadata[1]=one").metadata == {"0": "zero", "1": "one"}


@pytest.mark.parametrize(
    ("form", "tags"),
    [
        ("tags[]=a&tags[]=b", ("a", "b")),
        ("tags[0]=a&tags[1]=b", ("a", "b")),
        ("tags[1]=b&tags[0]=a", ("a", "b")),
        ("tags[2]=a&tags[10]=b", ("a", "b")),
    ],
)
def test_lists_come_by_index_or_by_empty_brackets(form: str, tags: tuple[str, ...]) -> None:
    assert accepted(form).tags == tags


def test_expand_is_taken_everywhere() -> None:
    assert accepted("expand[]=customer&expand[]=x").expand == ("customer", "x")


@given(
    st.recursive(
        st.text(max_size=8) | st.lists(st.text(max_size=3), max_size=2),
        lambda inner: st.dictionaries(st.sampled_from(["name", "0", "formula", "a", ""]), inner, max_size=3),
        max_leaves=6,
    ).flatmap(lambda value: st.dictionaries(st.sampled_from(Sample.__struct_fields__), st.just(value), max_size=4))
)
def test_no_parameters_are_more_than_refused(params: Params) -> None:
    try:
        parse(Sample, params)
    except InvalidRequest as error:
        assert error.message


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("false", False)])
def test_a_truth_is_written_in_one_way(text: str, truth: bool) -> None:
    assert accepted(f"agreed={text}").agreed is truth


@pytest.mark.parametrize("text", ["True", "1", "yes", "null"])
def test_a_truth_in_other_words_is_refused(text: str) -> None:
    assert refused(f"name=x&agreed={text}")[:2] == ("Invalid boolean: agreed must be true or false.", "agreed")


def test_what_may_be_nested_or_plain_is_read_as_it_was_given() -> None:
    assert accepted("made=7").made == 7
    assert accepted("made[after]=7").made == Bounds(after=7)
    assert refused("name=x&made[after]=x")[1] == "made[after]"
    assert refused("name=x&made[before]=7")[1:] == ("made[before]", "parameter_unknown")
    assert refused("name=x&made=10")[1:] == ("made", "parameter_invalid_integer")
    assert refused("name=x&made[]=7")[1] == "made"
