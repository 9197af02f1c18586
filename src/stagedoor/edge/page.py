"""The OpenAPI document as a page to read. It is one file of HTML: it loads nothing, and runs nothing."""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_CODE: Final = re.compile(r"`([^`]+)`")
_REFERENCE: Final = "#/components/schemas/"
_LIMITS: Final = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", ""))
_FORMATS: Final = {"date": "date", "date-time": "instant (RFC 3339)"}
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

_CSS: Final = """
:root{color-scheme:light dark;--ink:#1c2024;--quiet:#60646c;--line:#d9dce1;--ground:#fff;--code:#f4f5f7;--link:#0b5fb4;--get:#0b6bcb;--post:#1f7a33;--put:#8f5300;--delete:#c0202f}
@media(prefers-color-scheme:dark){:root{--ink:#eceef1;--quiet:#a0a5ad;--line:#33373e;--ground:#14171a;--code:#1d2126;--link:#7cbcff;--get:#63b0ff;--post:#5ec97a;--put:#e0a14a;--delete:#ff7b86}}
*{box-sizing:border-box}html{scroll-padding-top:1rem}body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
a{color:var(--link)}a:focus-visible,summary:focus-visible,pre:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.page{display:grid;grid-template-columns:17rem minmax(0,1fr);max-width:80rem;margin:auto}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1.5rem 1rem;border-right:1px solid var(--line);font-size:.875rem}
nav a{display:block;color:inherit;text-decoration:none;padding:.15rem 0 .15rem .75rem}nav a:hover{text-decoration:underline}
nav .tag{margin:1rem 0 .1rem;padding-left:0;font-weight:600}
main{padding:1.5rem 2rem 6rem}h1{margin:.2rem 0;line-height:1.2}h2{margin:3rem 0 .5rem;padding-bottom:.25rem;border-bottom:1px solid var(--line);line-height:1.3}
article{padding:1.25rem 0 1.5rem;border-bottom:1px solid var(--line)}h3{margin:0 0 .25rem;font-size:1.05rem;line-height:1.35}
code,.line,pre{font-family:ui-monospace,SFMono-Regular,Menlo,monospace}code{font-size:.875em}
.line{font-weight:600;font-size:.9rem;overflow-wrap:anywhere}.GET{color:var(--get)}.POST{color:var(--post)}.PUT,.PATCH{color:var(--put)}.DELETE{color:var(--delete)}
pre{background:var(--code);padding:.75rem 1rem;border-radius:6px;overflow:auto;font-size:.8125rem;line-height:1.5;margin:.6rem 0}
p{margin:.35rem 0;max-width:48rem}.quiet{color:var(--quiet)}.small{font-size:.875rem}
.old{font-weight:400;font-size:.8rem;color:var(--quiet);border:1px solid var(--line);border-radius:999px;padding:.05rem .5rem;margin-left:.5rem;white-space:nowrap}
table{border-collapse:collapse;font-size:.875rem;width:100%;margin:.25rem 0}td,th{text-align:left;padding:.3rem .75rem .3rem 0;vertical-align:top;border-top:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--quiet);font-weight:600;border-top:0}td:first-child{width:34%}td:nth-child(2){white-space:nowrap}.two td:nth-child(2){white-space:normal}
summary{cursor:pointer;padding:.25rem 0;font-size:.875rem;width:max-content}
@media(max-width:50rem){.page{display:block}nav{position:static;height:auto;border:0;border-bottom:1px solid var(--line);padding:1rem;display:flex;flex-wrap:wrap;gap:.25rem .5rem}nav strong{width:100%}nav a:not(.tag){display:none}nav .tag{margin:0;padding:.2rem .6rem;border:1px solid var(--line);border-radius:999px;font-weight:400}main{padding:1rem 1rem 4rem}h2{margin-top:2rem}}
"""


def page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as a page."""
    tags: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    types: Mapping[str, Any] = document["components"]["schemas"]
    links, parts = [], []
    for tag, operations in tags.items():
        anchor = tag.replace(" ", "-")
        links.append(f'<a class=tag href="#{anchor}">{_text(tag)}</a>')
        parts.append(f'<h2 id="{anchor}">{_text(tag)}</h2>')
        for method, path, operation in operations:
            links.append(f'<a href="#{operation["operationId"]}">{_text(operation["summary"])}</a>')
            parts.append(_article(method, path, operation, types))
    links.append("<a class=tag href=#types>Types</a>")
    parts.append("<h2 id=types>Types</h2>")
    parts += [_type(name, types[name]) for name in sorted(types)]
    info = document["info"]
    about = "".join(f"<p>{_text(line)}</p>" for line in info["description"].split("\n\n"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Stagedoor API</title><style>{_CSS}</style></head><body><div class=page>"
        f'<nav aria-label="Operations"><strong>Stagedoor API</strong>{"".join(links)}</nav>'
        f"<main><h1>Stagedoor API</h1><p class=quiet>Version {_text(info['version'])}. As data:"
        f' <a href="/openapi.json">/openapi.json</a></p>{about}{"".join(parts)}</main></div></body></html>'
    )


def _article(method: str, path: str, operation: Mapping[str, Any], types: Mapping[str, Any]) -> str:
    old = " <span class=old>deprecated</span>" if operation.get("deprecated") else ""
    text = f"<p>{_text(operation['description'])}</p>" if "description" in operation else ""
    rows = [
        (parameter["name"], parameter["in"], parameter["schema"], parameter["required"])
        for parameter in operation.get("parameters", ())
    ]
    contents: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {})
    body: Mapping[str, Any] = next((content["schema"] for content in contents.values()), {})
    rows += [(name, "body", schema, needed) for name, schema, needed in _fields(body, types)]
    table = "".join(
        f"<tr><td>{_name(name, needed=needed)}<td>{place}<td>{_in_words(schema)}"
        for name, place, schema, needed in rows
    )
    fields = (
        f"<details><summary>What it takes</summary><table><tr><th>Name<th>In<th>What{table}</table></details>"
        if rows
        else ""
    )
    done, *refused = operation["responses"].items()
    return (
        f'<article id="{operation["operationId"]}"><h3>{_text(operation["summary"])}{old}</h3>'
        f"<p class=line><span class={method}>{method}</span> {_text(path)}</p>{text}"
        f"<pre tabindex=0>{html.escape(operation['x-codeSamples'][0]['source'])}</pre>{fields}"
        f"{_scope(operation)}<p class=small>Answers {done[0]}: {_answer(done[1])}."
        f" <span class=quiet>Refuses with {', '.join(status for status, _ in refused)}.</span></p></article>"
    )


def _scope(operation: Mapping[str, Any]) -> str:
    scopes = [scope for each in operation.get("security", ()) for needed in each.values() for scope in needed]
    return (
        f"<p class=small>Scope: {', '.join(f'<code>{_text(scope)}</code>' for scope in scopes)}.</p>" if scopes else ""
    )


def _type(name: str, schema: Mapping[str, Any]) -> str:
    text = f"<p>{_text(' '.join(schema['description'].split()))}</p>" if "description" in schema else ""
    table = "".join(
        f"<tr><td>{_name(field, needed=needed)}<td>{_in_words(each)}" for field, each, needed in _own_fields(schema)
    )
    shown = f"<table class=two><tr><th>Name<th>What{table}</table>" if table else f"<p>{_in_words(schema)}</p>"
    return f'<article id="type-{name}"><h3>{name}</h3>{text}{shown}</article>'


def _fields(schema: Mapping[str, Any], types: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    return _own_fields(types.get(schema.get("$ref", "").removeprefix(_REFERENCE), schema))


def _own_fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    for name, each in schema.get("properties", {}).items():
        yield name, each, name in schema.get("required", ())


def _name(name: str, *, needed: bool) -> str:
    return f"<code>{_HUMP.sub('<wbr>', html.escape(name))}</code>{' <span title=needed>*</span>' if needed else ''}"


def _answer(response: Mapping[str, Any]) -> str:
    """Say what a success has: of the envelope, the data."""
    said = []
    for kind, content in response.get("content", {}).items():
        schema = content["schema"]
        data = schema.get("properties", {}).get("data", schema)
        lines = f", lines of {_in_words(schema['x-lines-of'])}" if "x-lines-of" in schema else ""
        said.append(_in_words(data) if kind.endswith("/json") else f"{html.escape(kind)}{lines}")
    return " or ".join(said) or "nothing"


def _in_words(schema: Mapping[str, Any]) -> str:
    """Say in a few words what a value may be."""
    described = f"; {_text(schema['description'])}" if "description" in schema else ""
    return _kind(schema) + described


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(each) for each in schema["anyOf"])
    if "$ref" in schema:
        name = html.escape(str(schema["$ref"]).removeprefix(_REFERENCE))
        return f'<a href="#type-{name}">{name}</a>'
    if "enum" in schema:
        return ", ".join(f"<code>{html.escape(str(each))}</code>" for each in schema["enum"])
    kind = _FORMATS.get(schema.get("format", ""), str(schema.get("type", "anything")))
    if kind == "array":
        kind = f"list of {_in_words(schema.get('items', {}))}"
    elif kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        kind = f"map to {_in_words(schema['additionalProperties'])}"
    return kind + "".join(_limits(schema, *names) for names in _LIMITS)


def _limits(schema: Mapping[str, Any], least: str, most: str, unit: str) -> str:
    if least in schema and most in schema:
        return f", {schema[least]} to {schema[most]}{unit}"
    return "".join(
        f", at {word} {schema[key]}{unit}" for key, word in ((least, "least"), (most, "most")) if key in schema
    )


def _text(text: str) -> str:
    """Return a text as HTML; what stands between backticks is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
