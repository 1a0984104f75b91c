"""The document as one page of HTML: no script, and nothing that is fetched from anywhere."""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib import resources
from typing import Final

from streamgauge.api.openapi.document import PERMISSION, UNSUPPORTED, URL, Document
from streamgauge.api.openapi.error_responses import RESPONSES
from streamgauge.api.openapi.members import Member, Nesting, component_of, members, words
from streamgauge.api.openapi.schemas import COMPONENTS, Schema

STYLE: Final = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
# Only this very style is allowed, and nothing else at all.
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FORM: Final = "application/x-www-form-urlencoded"


def page(document: Document) -> str:
    """The whole page."""
    info = document["info"]
    title = f"{escape(info['title'])} API"
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title><style>{STYLE}</style></head><body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            f'<header><h1>{title} <span class="version">{escape(info["version"])}</span></h1></header>',
            f'<nav aria-label="Contents">{"".join(_contents(document))}</nav>',
            f'<main id="content"><section id="about">{_paragraphs(info["description"])}',
            f'<p>For programs: <a href="{URL}">{URL}</a>, OpenAPI {escape(document["openapi"])}.</p></section>',
            *(_tag_section(document, tag["name"]) for tag in document["tags"]),
            _objects(document),
            _errors(document),
            "</main></body></html>\n",
        )
    )


def _operations(document: Document, tag: str) -> Iterator[tuple[str, str, Schema]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _contents(document: Document) -> Iterator[str]:
    yield "<ul>"
    for tag in document["tags"]:
        yield f'<li><a href="#{_slug(tag["name"])}">{escape(tag["name"])}</a><ul>'
        for method, path, operation in _operations(document, tag["name"]):
            yield f'<li><a href="#{operation["operationId"]}">{_method(method)} {_path(path)}</a></li>'
        yield "</ul></li>"
    yield '<li><a href="#objects">Objects</a><ul>'
    for name in document["components"]["schemas"]:
        yield f'<li><a href="#{_object_id(name)}"><code>{_breakable(name)}</code></a></li>'
    yield '</ul></li><li><a href="#errors">Errors</a></li></ul>'


def _tag_section(document: Document, tag: str) -> str:
    articles = "".join(_article(document, *each) for each in _operations(document, tag))
    return f'<section aria-labelledby="{_slug(tag)}"><h2 id="{_slug(tag)}">{escape(tag)}</h2>{articles}</section>'


def _article(document: Document, method: str, path: str, operation: Schema) -> str:
    identifier = operation["operationId"]
    return "".join(
        (
            f'<article aria-labelledby="{identifier}"><h3 id="{identifier}">{escape(operation["summary"])}</h3>',
            f'<p class="call">{_method(method)} {_path(path)}</p>',
            _paragraphs(operation.get("description", "")),
            f'<p class="credential">{_credential(operation)}</p>',
            _table("Parameters", _parameters(document, operation)),
            _body(operation),
            _unsupported(operation),
            _responses(operation),
            "</article>",
        )
    )


def _credential(operation: Schema) -> str:
    schemes = {name for each in operation["security"] for name in each}
    if not schemes:
        return "No credential is asked for."
    if "sessionToken" in schemes:
        return "Credential: the token of a meter event session."
    return f"Credential: a secret key; a restricted key needs <code>{escape(operation[PERMISSION])}</code>."


def _parameters(document: Document, operation: Schema) -> Iterator[tuple[Member, str]]:
    for each in operation.get("parameters", ()):
        if "$ref" in each:
            each = document["components"]["parameters"][each["$ref"].rpartition("/")[2]]
        member = Member(each["name"], each["required"], words(each["schema"]), None)
        yield member, {"path": "in the path", "query": "in the query", "header": "a header"}[each["in"]]


def _body(operation: Schema) -> str:
    if "requestBody" not in operation:
        return ""
    ((media_type, content),) = operation["requestBody"]["content"].items()
    nesting = Nesting.BRACKETS if media_type == _FORM else Nesting.DOTS
    rows = [(each, "") for each in members(content["schema"], nesting)]
    if not rows:
        return "<p>The body is empty, or <code>{}</code>.</p>"
    return _table(f"Body, {'a form' if nesting is Nesting.BRACKETS else 'JSON'}", rows)


def _unsupported(operation: Schema) -> str:
    names = ", ".join(f"<code>{escape(name)}</code>" for name in operation.get(UNSUPPORTED, ()))
    return f"<p>Refused, because Streamgauge has no use for them: {names}.</p>" if names else ""


def _responses(operation: Schema) -> str:
    rows, errors = [], []
    for status, response in operation["responses"].items():
        if "$ref" in response:
            name = response["$ref"].removeprefix(RESPONSES)
            errors.append(f'<a href="#{_error_id(name)}">{escape(status)}</a>')
            continue
        ((media_type, content),) = response["content"].items()
        rows.append(f"<p>Answers {escape(status)}: {_answer(media_type, content['schema'])}.</p>")
    return "".join(rows) + f"<p>Errors: {', '.join(errors)}.</p>"


def _answer(media_type: str, schema: Schema) -> str:
    if not media_type.endswith("json"):
        return f"<code>{escape(media_type)}</code>"
    alternatives = schema.get("anyOf", [schema])
    return " or ".join(_answered_object(each) for each in alternatives)


def _answered_object(schema: Schema) -> str:
    if "$ref" in schema:
        return _object_link(component_of(schema))
    shown = [
        f"<code>{escape(name)}</code>" + (f", a list of {_object_link(component_of(each))}" if "items" in each else "")
        for name, each in schema.get("properties", {}).items()
    ]
    if shown:
        return "an object of " + "; ".join(shown)
    return "<code>{}</code>" if schema.get("maxProperties") == 0 else "a JSON object"


def _objects(document: Document) -> str:
    parts = ['<section aria-labelledby="objects"><h2 id="objects">Objects</h2>']
    for name, schema in document["components"]["schemas"].items():
        identifier = _object_id(name)
        parts.append(f'<article aria-labelledby="{identifier}"><h3 id="{identifier}"><code>{escape(name)}</code></h3>')
        parts.append(_paragraphs(schema.get("description", "")))
        rows = [(each, "" if each.is_required else "may be missing") for each in members(schema, Nesting.DOTS)]
        parts.append(_table("Members", rows, marks_required=False))
        parts.append("</article>")
    return "".join((*parts, "</section>"))


def _errors(document: Document) -> str:
    parts = ['<section aria-labelledby="errors"><h2 id="errors">Errors</h2>']
    parts.append('<div class="scroll"><table><caption>By version and status</caption><thead><tr>')
    parts.append('<th scope="col">Status</th><th scope="col">When</th><th scope="col">Body</th></tr></thead><tbody>')
    for name, response in document["components"]["responses"].items():
        version, _, status = name.partition(".")
        (content,) = response["content"].values()
        parts.append(f'<tr id="{_error_id(name)}"><th scope="row">{escape(version)} {escape(status)}</th>')
        parts.append(f"<td>{_text(response['description'])}</td>")
        parts.append(f"<td>{_object_link(component_of(content['schema']))}</td></tr>")
    return "".join((*parts, "</tbody></table></div></section>"))


def _table(caption: str, rows: Iterable[tuple[Member, str]], *, marks_required: bool = True) -> str:
    """Members, each with a remark that may be empty."""
    lines = []
    for member, remark in rows:
        need = ' <span class="required">required</span>' if marks_required and member.is_required else ""
        kind = _text(member.words)
        if member.component is not None:
            kind = kind.replace(escape(member.component), _object_link(member.component))
        told = f' <span class="remark">{escape(remark)}</span>' if remark else ""
        lines.append(f'<tr><th scope="row"><code>{_breakable(member.name)}</code>{need}</th><td>{kind}{told}</td></tr>')
    if not lines:
        return ""
    head = '<thead class="unseen"><tr><th scope="col">Name</th><th scope="col">Kind</th></tr></thead>'
    return f"<table><caption>{escape(caption)}</caption>{head}<tbody>{''.join(lines)}</tbody></table>"


def _paragraphs(prose: str) -> str:
    return "".join(f"<p>{_text(each)}</p>" for each in prose.split("\n\n") if each)


def _text(prose: str) -> str:
    """Escaped, with `code` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(prose))


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _path(path: str) -> str:
    return f"<code>{_breakable(path)}</code>"


def _breakable(name: str) -> str:
    """Long names break where a reader would, after a slash, a point, an underscore or a bracket."""
    return re.sub(r"([/._\[])(?=[^\s])", r"\1<wbr>", escape(name))


def _slug(tag: str) -> str:
    return tag.lower().replace(" ", "-")


def _object_id(name: str) -> str:
    return f"object-{name}"


def _error_id(name: str) -> str:
    return f"error-{name}"


def _object_link(name: str | None) -> str:
    assert name is not None, f"only what is in {COMPONENTS} has a place to link to"
    return f'<a href="#{_object_id(name)}"><code>{escape(name)}</code></a>'
